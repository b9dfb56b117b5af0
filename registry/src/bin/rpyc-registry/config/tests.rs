use std::io::Write;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn switches(values: &[(&str, &str)]) -> Switches {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), vec![value.into()]));
    Switches { config: None, values: values.collect() }
}

/// A file with this text, which is deleted when the value is dropped.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[track_caller]
fn errors(text: &str) -> String {
    let file = file(text);
    let switches = Switches { config: Some(file.path().to_owned()), ..Switches::default() };
    let error = resolve(switches, &Environment::default()).unwrap_err().to_string();
    error.replace(&file.path().display().to_string(), "FILE")
}

fn shown(resolved: &Resolved) -> String {
    let words = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    show(resolved).unwrap().iter().map(words).collect()
}

#[test]
fn a_switch_wins_over_the_environment_over_the_file_over_the_default() {
    let file = file("port = 1\ntimeout = 90\nmax-ttl = \"1h\"\n\nmax_rate = 5\nlisting = true\n");
    let variables = environment(&[
        ("RPYC_REGISTRY_CONFIG", file.path().to_str().unwrap()),
        ("RPYC_REGISTRY_PORT", "2"),
        ("RPYC_REGISTRY_TIMEOUT", "2m"),
        ("RPYC_REGISTRY_HOST", "10.0.0.1, ::1"),
        ("RPYC_REGISTRY_QUIET", ""),
        ("RPYC_REGISTRY", "clients.example"),
        ("HOME", "/"),
    ]);
    let resolved = resolve(switches(&[("port", "3")]), &variables).unwrap();
    assert_eq!(resolved.remarks, [""; 0]);
    let shown = shown(&resolved).replace(&file.path().display().to_string(), "FILE");
    for line in [
        "port = 3 # command line",
        "timeout = \"2m\" # $RPYC_REGISTRY_TIMEOUT",
        "max-ttl = \"1h\" # FILE:3",
        "max-rate = 5 # FILE:5",
        "listing = \"everyone\" # FILE:6",
        "host = [\"10.0.0.1\", \"::1\"] # $RPYC_REGISTRY_HOST",
        "quiet = false # default",
        "# logfile = # default: standard error",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}\n{shown}");
    }
}

#[test]
fn what_is_shown_sets_the_same() {
    // Set every setting to a value other than its default.
    let keys: Vec<_> = Switches::parser()
        .get_arguments()
        .filter_map(|it| it.get_long().map(str::to_owned))
        .collect();
    let text: String = keys.iter().map(|key| format!("{key} = {}\n", other(key))).collect();
    let (first, shown_first) = resolved_from(&text);
    assert_eq!(first.origins.len(), keys.len());
    let (_, shown_again) = resolved_from(&shown_first);
    assert_eq!(shown_first, shown_again);
    let default = shown(&resolve(Switches::default(), &Environment::default()).unwrap());
    for (line, default) in shown_first.lines().zip(default.lines()) {
        let value = |line: &str| line.split_once(" # ").map(|(value, _)| value.to_owned()).unwrap();
        assert_ne!(value(line), value(default), "a test value differs from the default");
    }
}

fn resolved_from(text: &str) -> (Resolved, String) {
    let file = file(text);
    let switches = Switches { config: Some(file.path().to_owned()), ..Switches::default() };
    let resolved = resolve(switches, &Environment::default()).unwrap();
    let shown = shown(&resolved).replace(&file.path().display().to_string(), "FILE");
    (resolved, shown)
}

/// A value that differs from the default.
fn other(key: &str) -> &'static str {
    match key {
        "mode" => "'udp'",
        "listing" => "'nobody'",
        "logfile" => "'/a \"file\"'",
        "host" => "['127.0.0.1']",
        "log-level" => "'debug'",
        "log-format" => "'json'",
        "operators" => "'none'",
        "operator-socket" => "'/run/o.sock'",
        "operator-group" => "'wheel'",
        "operator-from" => "['10.0.0.0/8', 'fd00::/8']",
        "timeout" | "min-ttl" => "'1m 30s'",
        "max-ttl" => "'3days'",
        "protect-share" => "'25%'",
        "store" => "'memory'",
        "state-dir" => "'/srv'",
        "addresses-from" => {
            "[{registrants = '10.1.0.0/16', addresses = '192.0.2.1/32'}, '10.2.0.9=192.0.2.2']"
        }
        "address-rule" => "[{from = '10.1.0.0/16', to = '192.0.2.1'}, '10.2.0.0/16=192.0.2.2']",
        "probe" => "[{kind = 'rpyc', service = 'PAY*', interval = '5s'}, 'tcp,failures=9']",
        "probe-allow" => "['10.0.0.0/8']",
        "failing" => "'hidden'",
        "ipv6" | "quiet" => "true",
        _ => "7",
    }
}

#[test]
fn each_invalid_setting_is_reported_with_its_line() {
    assert_eq!(
        errors("port = 18811\nmaxttl = '1h'\n\ntimeout = 'soon'\nnonsense = 1\n"),
        "FILE:2: unknown key \"maxttl\"; did you mean \"max-ttl\"?\n\
         FILE:4: invalid value 'soon' for '--timeout <DURATION>': expected number at 0; write seconds, \
         or units as in 90s or 4m\n\
         FILE:5: unknown key \"nonsense\"; the keys are the long switches of `rpyc-registry --help`"
    );
    let cases = [
        ("\n[table]\nx = 1\n", "FILE:2: unknown section [table]: write settings at the top"),
        ("[host]\nx = 1\n", "FILE:1: \"host\" takes a plain value"),
        ("since = 2020-01-01\n", "FILE:1: unknown key \"since\""),
        ("port = 1\n\nhost = [\n  '::1',\n  'x',\n]\n", "FILE:5: invalid value 'x'"),
        ("a b\n", "FILE:1: invalid TOML"),
        ("port = 1\nport = 2\n", "FILE:2: invalid TOML"),
        ("max_rate = 1\nmax-rate = 2\n", "FILE:2: \"max-rate\" is already set in FILE:1"),
        ("[[host]]\nfrom = 'a'\n", "FILE:1: \"host\" takes a plain value"),
        ("[[probe]]\nkind = 'tcp'\n[[probe]]\nkindd = 'tcp'\n", "FILE:4: unknown field `kindd`"),
        ("[[address_rule]]\nfrom = '10.0.0.0/8'\n", "FILE:1: missing field `to`"),
        ("address_rule = [{from = '10.0.0.0/8', to = '::1'}]\n", "FILE:1: "),
        ("port = [1, 2]\n", "FILE:1: "),
        ("config = 'x'\n", "FILE:1: unknown key"),
        ("help = true\n", "FILE:1: unknown key"),
        ("x = []\n", "FILE:1: unknown key"),
        ("timeout = soon\n", "FILE:1: invalid TOML"),
        ("host = ['::1', 'x'\nport = 1\n[server]\nport = 2\n", "FILE:2: invalid TOML"),
        ("[[probe]]\nkind = tcp\n", "FILE:2: invalid TOML"),
        ("port = 99999\n", "FILE:1: invalid value '99999'"),
        ("ipv6 = 'maybe'\n", "FILE:1: invalid value 'maybe'"),
        (
            "min-ttl = '2h'\nmax-ttl = '1h'\n",
            "min-ttl 2h (FILE:1) is longer than max-ttl 1h (FILE:2)",
        ),
        ("max-ttl = '1ms'\n", "min-ttl 1s (default) is longer than max-ttl 1ms (FILE:1)"),
    ];
    for (text, expected) in cases {
        let errors = errors(text);
        assert!(errors.starts_with(expected), "{text:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{text:?}: {errors}");
    }
    let several = "port = \ntimeout = 'soon'\na b c\n[server]\nlisting = 'perhaps'\n[[probe]]\nkind = 'ftp'\n";
    let errors = errors(several);
    let lines: Vec<_> = errors.lines().map(|line| line.split_once(": ").unwrap().0).collect();
    assert_eq!(lines, ["FILE:1", "FILE:2", "FILE:3", "FILE:4", "FILE:5", "FILE:7"], "{errors}");
    let nowhere = Switches { config: Some("/nonexistent/file".into()), ..Switches::default() };
    let error = resolve(nowhere, &Environment::default()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/file"), "{error}");
    let bad = environment(&[("RPYC_REGISTRY_MAX_RATE", "fast")]);
    let error = resolve(Switches::default(), &bad).unwrap_err().to_string();
    assert!(error.starts_with("$RPYC_REGISTRY_MAX_RATE: invalid value 'fast'"), "{error}");
}

#[test]
fn unknown_variables_are_ignored_with_a_remark() {
    // Kubernetes sets these in every pod if a service is named rpyc-registry.
    let kubernetes = environment(&[
        ("RPYC_REGISTRY_SERVICE_HOST", "10.96.0.7"),
        ("RPYC_REGISTRY_SERVICE_PORT", "18811"),
        ("RPYC_REGISTRY_PORT", "tcp://10.96.0.7:18811"),
        ("RPYC_REGISTRY_PORT_18811_TCP_PROTO", "tcp"),
    ]);
    let resolved = resolve(Switches::default(), &kubernetes).unwrap();
    assert_eq!(resolved.args.port, 18811);
    assert_eq!(resolved.remarks.len(), 1, "{:?}", resolved.remarks);
    let typo = environment(&[("RPYC_REGISTRY_MAXTTL", "1h")]);
    let resolved = resolve(Switches::default(), &typo).unwrap();
    assert_eq!(resolved.remarks, ["unknown variable RPYC_REGISTRY_MAXTTL (ignored)"]);
}
