//! The switches of `rpyc_registry`, so that existing init scripts keep working.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use rpyc_tests::process::Process;
use rpyc_tests::{
    Daemon, PATIENCE, Reference, Registrar, Scratch, Transport, Via, daemon, eventually,
    lasting_port, python,
};
use serde_json::{Value, json};

/// The names that a daemon with these arguments lists to a local program, or RPyC's error.
///
/// A quiet daemon does not print its port, so it gets one.
fn list(arguments: &[&str]) -> Result<Value, String> {
    let (port, state) = (lasting_port(), Scratch::new());
    let mut command = Command::new(daemon::executable());
    command.args(["--port", &port.to_string()]).args(arguments);
    command.env("STATE_DIRECTORY", state.path());
    let _daemon = Process::start("rpyc-registry", command);
    let via = Via::Udp((Ipv4Addr::LOCALHOST, port).into());
    let mut client = Registrar::start(Reference::Rpyc6, via);
    eventually("registered", PATIENCE, || client.register(&["PAYROLL"], 20_001).then_some(()));
    client.list(None).map_err(|raised| raised.class)
}

#[test]
fn listing_takes_a_value_or_none_and_false_means_false() {
    let names = Ok(json!(["PAYROLL"]));
    let forbidden = Err("ForbiddenError".to_owned());
    for (arguments, expected) in [
        (&[][..], &names),
        (&["--listing"], &names),
        (&["-l"], &names),
        (&["--listing", "true"], &names),
        (&["-l", "True"], &names),
        (&["--listing=false"], &forbidden),
        (&["-l", "false"], &forbidden),
        (&["-l", ""], &forbidden),
        (&["--listing="], &forbidden),
    ] {
        assert_eq!(&list(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn a_mode_is_one_transport() {
    for (arguments, transport) in [
        (["-m", "UDP"], Transport::Udp),
        (["--mode", "UDP"], Transport::Udp),
        (["-m", "TCP"], Transport::Tcp),
    ] {
        let registry = Daemon::start(&arguments);
        let transports: Vec<_> = registry.listeners().iter().map(|it| it.transport).collect();
        assert_eq!(transports, [transport], "{arguments:?}");

        let address = registry.address(transport);
        let via = match transport {
            Transport::Udp => Via::Udp(address),
            Transport::Tcp => Via::Tcp(address),
        };
        let mut client = Registrar::start(Reference::Rpyc6, via);
        assert!(client.register(&["PAYROLL"], 20_001));
        assert_eq!(client.query("payroll"), json!([["127.0.0.1", 20_001]]));
    }
}

#[test]
fn a_timeout_is_in_seconds() {
    let registry = Daemon::start(&["-t", "1"]);
    let mut client = Registrar::start(Reference::Rpyc6, Via::Udp(registry.address(Transport::Udp)));
    assert!(client.register(&["PAYROLL"], 20_001));
    eventually("the server expires", Duration::from_secs(1) + PATIENCE, || {
        (client.query("payroll") == json!([])).then_some(())
    });
}

#[test]
fn the_command_line_of_an_init_script_is_understood() {
    let scratch = Scratch::new();
    let log = scratch.path().join("registry.log");
    let log = log.to_str().unwrap();
    let quiet = ["--ipv6", "--quiet", "true", "--timeout", "240", "--listing", "true"];
    let arguments = [&quiet[..], &["--logfile", log]].concat();
    assert_eq!(list(&arguments), Ok(json!(["PAYROLL"])));
    assert_eq!(list(&["-6", "-q", "-t", "4m", "-l", "--logfile", log]), Ok(json!(["PAYROLL"])));
}

#[test]
fn sigterm_ends_it_cleanly() {
    let registry = Daemon::start(&[]);
    let status = registry.terminate();
    assert!(status.success(), "{status}");
}

/// Prints the settings that RPyC's own command line reads from each list of arguments. For a list
/// that it rejects, prints `null`.
const AS_RPYC: &str = r#"
import contextlib, io, json, sys
from rpyc.cli.rpyc_registry import RegistryServer

class Parsed(RegistryServer):
    def main(self):
        Parsed.seen = {
            "mode": self.mode.lower(), "ipv6": self.ipv6, "port": self.port,
            "timeout": self.pruning_timeout, "listing": self.allow_listing,
            "quiet": bool(self.quiet), "logfile": self.logfile or None,
        }

answers = []
for arguments in json.loads(sys.argv[1]):
    Parsed.seen = None
    with contextlib.redirect_stdout(io.StringIO()):
        Parsed.run(["rpyc_registry"] + arguments, exit=False)
    answers.append(Parsed.seen)
print(json.dumps(answers))
"#;

/// The settings that the daemon reads from `arguments`, in the same form.
fn as_ours(arguments: &[&str]) -> Value {
    let mut command = Command::new(daemon::executable());
    command.arg("check-config").args(arguments);
    let output = command.output().unwrap();
    if !output.status.success() {
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        return Value::Null;
    }
    let shown = String::from_utf8(output.stdout).unwrap();
    let get = |key: &str| {
        let line = shown.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")));
        line.map(|line| line.split("  #").next().unwrap().trim().trim_matches('"'))
    };
    let timeout = get("timeout").unwrap();
    let timeout = timeout.replace("4m", "240").trim_end_matches('s').parse::<u64>().unwrap();
    json!({
        // The daemon serves both by default.
        "mode": get("mode").unwrap().replace("both", "udp"),
        "ipv6": get("ipv6") == Some("true"),
        "port": get("port").unwrap().parse::<u16>().unwrap(),
        "timeout": timeout,
        "listing": get("listing") == Some("everyone"),
        "quiet": get("quiet") == Some("true"),
        "logfile": get("logfile").filter(|path| !path.is_empty()),
    })
}

with_each_version! {
    what_rpycs_command_line_takes_is_taken_alike,
}

fn what_rpycs_command_line_takes_is_taken_alike(reference: Reference) {
    let alike: &[&[&str]] = &[
        &[],
        &["-l", ""],
        &["-l", "1"],
        &["-lTrue"],
        &["-l=True"],
        &["--listing", "yes"],
        &["--listing=on"],
        &["-q", ""],
        &["-q", "1"],
        &["-q", "errors"],
        &["--quiet=yes"],
        &["-6"],
        &["-6l", "1"],
        &["-6", "-q", "x", "-l", ""],
        &["-m", "udp"],
        &["-m", "Tcp"],
        &["-mTCP"],
        &["--mode=UDP"],
        &["-m", ""],
        &["-m", " UDP"],
        &["-p", "5"],
        &["-p5"],
        &["-p", "+5"],
        &["-p", " 5 "],
        &["-p", "0"],
        &["-p", ""],
        &["-p", "0x10"],
        &["-p", "-1"],
        &["-p", "70000"],
        &["-t", "24"],
        &["-t", " 24 "],
        &["-t", "+24"],
        &["-t", ""],
        &["--logfile", ""],
        &["--logfile", "-"],
        &["--logfile", "/tmp/registry log"],
        &["-l", "1", "-l", "1"],
        &["--list", "1"],
        &["somewhere"],
    ];
    // Arguments that the daemon reads by their plain meaning, accepts beyond RPyC, or rejects.
    let ours: &[(&[&str], Value)] = &[
        (&["-l"], json!({"listing": true})),
        (&["-l", "false"], json!({"listing": false})),
        (&["-l", "0"], json!({"listing": false})),
        // The text could be a misspelt "nobody".
        (&["-l", "nobdy"], Value::Null),
        (&["-q"], json!({"quiet": true})),
        (&["-q", "false"], json!({"quiet": false})),
        // In RPyC's registry, every registration would expire at once.
        (&["-t", "0"], Value::Null),
        (&["-t", "-5"], Value::Null),
    ];
    let of_rpyc = json!(alike).to_string();
    let of_rpyc = python::run(reference, None, AS_RPYC, &[&of_rpyc]);
    for (arguments, expected) in alike.iter().zip(of_rpyc.as_array().unwrap()) {
        assert_eq!(&as_ours(arguments), expected, "{arguments:?}");
    }
    for (arguments, expected) in ours {
        let found = as_ours(arguments);
        match expected.as_object() {
            None => assert_eq!(found, Value::Null, "{arguments:?}"),
            Some(expected) => {
                for (key, value) in expected {
                    assert_eq!(&found[key], value, "{arguments:?}");
                }
            }
        }
    }
}

/// Operators start RPyC's registry once for each transport.
#[test]
fn a_process_for_each_transport_is_told_that_one_serves_both() {
    let of_udp = Daemon::start(&["-m", "udp"]);
    let mut command = Command::new(daemon::executable());
    command.args(["-m", "tcp", "-p", "0"]).env("STATE_DIRECTORY", of_udp.state());
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for expected in [
        format!("in use by process {}", of_udp.pid()).as_str(),
        "one process serves both UDP and TCP",
        "without --mode (-m)",
        "--state-dir DIR",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }

    // The advice in the message works.
    let state = Scratch::new();
    let of_tcp = Daemon::start(&["-m", "tcp", "--state-dir", state.path().to_str().unwrap()]);
    assert_eq!(of_tcp.listeners().len(), 1);
}
