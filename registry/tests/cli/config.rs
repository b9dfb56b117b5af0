//! The configuration file, the environment, and `check-config`.

use super::daemon::{Daemon, check, command};

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_daemon_is_set_up_by_its_file() {
    let file = file("mode = 'tcp'\nhost = '127.0.0.1'\nlisting = false\nmax-names = 1\n");
    let path = file.path().to_str().unwrap();
    let daemon = Daemon::with_listeners(&["serve", "--config", path], 1);
    assert!(daemon.urls()[0].starts_with("tcp://127.0.0.1:"), "{:?}", daemon.urls());
    let registry = format!("tcp://{}", daemon.registry());
    check(&["list", "--registry", &registry], 1);
    check(&["register", "A", "--port", "1", "--once", "--registry", &registry], 0);
    check(&["register", "A", "B", "--port", "2", "--once", "--registry", &registry], 1);
    // A switch wins, before or after the verb.
    for args in [&["--config", path, "-m", "udp"][..], &["-mudp", "serve", "--config", path]] {
        let daemon = Daemon::with_listeners(args, 1);
        assert!(daemon.urls()[0].starts_with("udp://127.0.0.1:"), "{:?}", daemon.urls());
    }
}

#[test]
fn check_config_prints_a_file_that_sets_the_same_and_ends_with_2_if_something_is_wrong() {
    let (first, _) = check(&["check-config", "--listing", "-t", "2m", "--host", "::1"], 0);
    for line in ["listing = \"everyone\"", "timeout = \"2m\"", "host = [\"::1\"]"] {
        let told = first.lines().find(|it| it.starts_with(line));
        assert!(told.is_some_and(|told| told.ends_with("# command line")), "{line}: {first}");
    }
    let first_file = file(&first);
    let path = first_file.path().to_str().unwrap();
    let (again, _) = check(&["check-config", "--config", path], 0);
    let values = |shown: &str| {
        let value = |line: &str| line.split_once("  # ").unwrap().0.trim_end().to_owned();
        shown.lines().map(value).collect::<Vec<_>>()
    };
    assert_eq!(values(&first), values(&again));
    assert!(again.contains(&format!("# {path}:")), "{again}");

    let wrong = file("port = 1\ntime-out = 5\nmax-rate = 'x'\n");
    let path = wrong.path().to_str().unwrap();
    for verb in ["check-config", "serve"] {
        let (_, error) = check(&[verb, "--config", path], 2);
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 2, "{error}");
        assert!(lines[0].contains(&format!("{path}:2: ")), "{error}");
        assert!(lines[0].contains("time-out") && lines[0].contains("\"timeout\""), "{error}");
        assert!(lines[1].contains(&format!("{path}:3: ")), "{error}");
    }
    check(&["check-config", "--config", "/nonexistent"], 2);
    check(&["check-config", "--registry", "x"], 2);
    check(&["--config", path, "list"], 2);
}

#[test]
fn check_config_reports_the_faults_of_all_sources_at_once() {
    let wrong = file(
        "[server]\nport = 99999\n\n[[probe]]\nkind = 'tcp'\ninterval = 'soon'\n\n[x]\nhost = [\n'::1',\n'nowhere']\n",
    );
    let path = wrong.path().to_str().unwrap();
    let args = ["check-config", "--config", path, "--max-ttl", "x", "-p", "port"];
    let output = command(&args).env("RPYC_REGISTRY_MAX_RATE", "fast").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    let starts = [
        format!("{path}:1: unknown section [server]"),
        format!("{path}:2: invalid value '99999'"),
        format!("{path}:6: "),
        format!("{path}:8: unknown section [x]"),
        format!("{path}:11: invalid value 'nowhere'"),
        "$RPYC_REGISTRY_MAX_RATE: invalid value 'fast'".to_owned(),
        "command line: invalid value 'x' for '--max-ttl".to_owned(),
        "command line: invalid value 'port' for '--port".to_owned(),
    ];
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines.len(), starts.len(), "{errors}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(&format!("rpyc-registry: {start}")), "{start}\n{errors}");
    }
    // One fault alone is reported as for every command.
    let (_, error) = check(&["check-config", "-p", "port"], 2);
    assert!(error.starts_with("error: invalid value 'port'"), "{error}");
}

#[test]
fn the_environment_sets_what_no_switch_does() {
    let mut daemon = command(&["check-config", "-p", "7"]);
    let variables = [("RPYC_REGISTRY_PORT", "8"), ("RPYC_REGISTRY_MAX_TTL", "90s")];
    let output = daemon.envs(variables).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("port").starts_with("port = 7 "), "{shown}");
    assert!(line("max-ttl").starts_with("max-ttl = \"1m 30s\""), "{shown}");
    assert!(line("max-ttl").ends_with("# $RPYC_REGISTRY_MAX_TTL"), "{shown}");
    // Clients ignore the daemon's variables.
    let mut client = command(&["list", "--timeout", "1ms", "--registry", "127.0.0.1:9"]);
    let output = client.envs(variables).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
