//! Messages about mistakes in the configuration and on the command line.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::support::logferry;
use crate::support::test_folder::{TestFolder, free_port};

const SENDER: &str =
    "sender:\n  relay: http://192.0.2.10:5001\n  logs: [{path: /app/log/nginx/access.log}]\n";

/// The exit code and stderr.
fn run(file: &Path, arguments: &[&str]) -> (i32, String) {
    let output = logferry().args(arguments).arg("-c").arg(file).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("not killed"), stderr)
}

#[test]
fn configuration_error_is_reported_with_file_line_and_key() {
    let test_folder = TestFolder::new("bad-config");
    for (text, line, parts) in [
        (
            SENDER.replace("relay:", "rely:"),
            Some(2),
            &["rely", "did you mean `relay`"][..],
        ),
        (
            format!("{SENDER}  in_flight: 100\n"),
            Some(4),
            &["sender.in_flight", "100", "64"],
        ),
        (
            format!("{SENDER}  retry: {{max: soon}}\n"),
            Some(4),
            &["sender.retry.max", "soon", "30s"],
        ),
        (
            SENDER.replace("http:", "ftp:"),
            Some(2),
            &["sender.relay", "http://192.0.2.10:5001"],
        ),
        (
            format!("{SENDER}  tls: {{ca_file: /nowhere}}\n"),
            Some(4),
            &["sender.tls.ca_file", "/nowhere cannot be read", "check its path"],
        ),
        ("sender: [\n".to_owned(), None, &[]),
        (String::new(), None, &["sender"]),
    ] {
        let file = test_folder.write("mistaken.yaml", &text);
        for command in ["sender", "check", "run"] {
            let (code, stderr) = run(&file, &[command]);
            assert_eq!(code, 2, "{command} with {text}: {stderr}");
            let place = match line {
                Some(line) => format!("{}:{line}: ", file.display()),
                None => file.display().to_string(),
            };
            for part in [&[&*place], parts].concat() {
                assert!(stderr.contains(part), "no {part:?} in {stderr:?}");
            }
        }
    }
}

#[test]
fn all_configuration_errors_are_reported_together() {
    let test_folder = TestFolder::new("bad-configs");
    let text = format!("{SENDER}  in_flight: 0\n  local_address: here\n");
    let (code, stderr) = run(&test_folder.write("mistaken.yaml", &text), &["check"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains(":4: sender.in_flight") && stderr.contains(":5: sender.local_address"),
        "{stderr}"
    );
}

#[test]
fn missing_configuration_or_section_is_reported() {
    let test_folder = TestFolder::new("no-config");
    let (code, stderr) = run(&test_folder.path("nowhere.yaml"), &["sender"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("nowhere.yaml"), "{stderr}");
    let (code, stderr) = run(&test_folder.write("sender.yaml", SENDER), &["relay"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("sender.yaml") && stderr.contains("relay"),
        "{stderr}"
    );
    let (code, stderr) = run(&test_folder.write("sender.yaml", SENDER), &["relais"]);
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn busy_port_is_reported_with_the_failed_operation() {
    let test_folder = TestFolder::new("taken");
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let address = holder.local_addr().unwrap();
    let text = format!(
        "relay:\n  data_dir: {:?}\n  groups: [{{name: web-1, listen: {address:?}}}]\n  metrics: null\n",
        test_folder.path("relay"),
        address = address.to_string(),
    );
    let (code, stderr) = run(&test_folder.write("relay.yaml", &text), &["relay"]);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains(&address.to_string()) && stderr.contains("web-1"),
        "{stderr}"
    );
}
