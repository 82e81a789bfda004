//! What to do after `init`, as commands in their order. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use super::answers::{ConsoleAnswers, InitAnswers, RelayAnswers};
use crate::args::DEFAULT_CONFIG;
use crate::args::init::{CollectorEndpoint, EndpointKind};
use crate::roles::role::Role;

/// How far this host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostProgress<'h> {
    /// Whether the units are installed.
    pub(super) has_units: bool,
    /// Whether the drop's host key is trusted.
    pub(super) is_drop_trusted: bool,
    /// The public half of the forwarder's key.
    pub(super) public_key: Option<&'h str>,
    /// The address at which others reach this host.
    pub(super) address: &'h str,
}

/// The steps, numbered.
pub(super) fn next_steps(
    file: &Path,
    roles: &BTreeSet<Role>,
    answers: &InitAnswers,
    progress: &HostProgress<'_>,
) -> String {
    let is_default = file == Path::new(DEFAULT_CONFIG);
    let named = if is_default {
        String::new()
    } else {
        format!(" -c {}", file.display())
    };
    let mut steps = Vec::new();
    if let Some(forwarder) = &answers.forwarder {
        let drop = &forwarder.drop;
        if let Some(key) = progress.public_key {
            steps.push(format!(
                "give this public key to the operator of {} for the user {}:\n{key}",
                drop.host, drop.user
            ));
        }
        if !progress.is_drop_trusted && forwarder.host_key.is_none() {
            steps.push(format!(
                "compare the host key's fingerprint with the one that the operator tells you, and keep it:\nlogferry trust edw{named}"
            ));
        }
    }
    steps.push(format!(
        "once more, until nothing is wrong:\nlogferry check --connect{named}"
    ));
    let units: Vec<_> = roles
        .iter()
        .map(|role| role.unit().trim_end_matches(".service"))
        .collect();
    steps.push(if is_default && progress.has_units {
        format!(
            "start it, now and at each boot:\nsystemctl enable --now {}",
            units.join(" ")
        )
    } else if is_default {
        "start it (the systemd units are not installed here: docs/install.md):\nlogferry run".to_owned()
    } else {
        format!("start it (systemd's units read {DEFAULT_CONFIG}):\nlogferry run{named}")
    });
    steps.extend(
        answers
            .console
            .as_ref()
            .map(|console| open_console(console, &named)),
    );
    steps.extend(answers.collector.iter().map(try_endpoint));
    steps.push(format!("see how it goes:\nlogferry status{named}"));
    if let (Some(relay), false) = (&answers.relay, roles.contains(&Role::Sender)) {
        steps.push(first_sender(relay, progress));
    }
    let mut text = "\nNext:\n".to_owned();
    for (number, step) in (1..).zip(steps) {
        let (what, command) = step.split_once('\n').unwrap_or((&step, ""));
        let _ = writeln!(text, "{number}. {what}\n     {command}");
    }
    text
}

/// The step on the hosts that are to send to this relay.
fn first_sender(relay: &RelayAnswers, progress: &HostProgress<'_>) -> String {
    let ip = relay.listen.ip();
    let host = if ip.is_unspecified() {
        progress.address.to_owned()
    } else {
        ip.to_string()
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let port = relay.listen.port();
    format!("on each nginx host:\nlogferry init sender --relay http://{host}:{port}")
}

/// `named`: the option that names the configuration.
fn open_console(console: &ConsoleAnswers, named: &str) -> String {
    let page = format!("http://{}/", console.listen);
    if console.open {
        format!("open the console, on this host:\n{page}")
    } else {
        format!("make a user of the console, whose page is {page}:\nlogferry console user add NAME{named}")
    }
}

/// The step that sends something to the collector.
fn try_endpoint(endpoint: &CollectorEndpoint) -> String {
    let mut address = endpoint.listen;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    match endpoint.kind {
        EndpointKind::Http => {
            format!("post a record to the collector:\ncurl --data-binary hello http://{address}/lines")
        }
        EndpointKind::Syslog => format!(
            "send a message to the collector:\nlogger --server {} --port {} --tcp hello",
            address.ip(),
            address.port()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::init::answers::{DropLogin, ForwarderAnswers};

    const PROGRESS: HostProgress<'static> = HostProgress {
        has_units: true,
        is_drop_trusted: false,
        public_key: Some("ssh-ed25519 AAAA logferry"),
        address: "192.0.2.10",
    };

    fn relay_host() -> InitAnswers {
        InitAnswers {
            relay: Some(RelayAnswers {
                listen: "0.0.0.0:5001".parse().unwrap(),
                sources: Vec::new(),
                metrics_port: 9102,
            }),
            forwarder: Some(ForwarderAnswers {
                drop: "ferry@drop:/in".parse().unwrap(),
                login: DropLogin::Key("/etc/logferry/id_ed25519".into()),
                host_key: None,
                known_hosts: "/etc/logferry/known_hosts".into(),
            }),
            ..InitAnswers::default()
        }
    }

    #[test]
    fn a_relay_host_is_led_from_its_key_to_the_first_sender() {
        let roles = BTreeSet::from([Role::Relay, Role::Forwarder]);
        assert_eq!(
            next_steps(Path::new(DEFAULT_CONFIG), &roles, &relay_host(), &PROGRESS),
            "\nNext:\n\
             1. give this public key to the operator of drop for the user ferry:\n     ssh-ed25519 AAAA logferry\n\
             2. compare the host key's fingerprint with the one that the operator tells you, and keep it:\n     logferry trust edw\n\
             3. once more, until nothing is wrong:\n     logferry check --connect\n\
             4. start it, now and at each boot:\n     systemctl enable --now logferry-relay logferry-forwarder\n\
             5. see how it goes:\n     logferry status\n\
             6. on each nginx host:\n     logferry init sender --relay http://192.0.2.10:5001\n"
        );
    }

    #[test]
    fn another_file_is_named_in_every_command_and_no_unit_is() {
        let roles = BTreeSet::from([Role::Sender]);
        let text = next_steps(
            Path::new("/tmp/l.yaml"),
            &roles,
            &InitAnswers::default(),
            &PROGRESS,
        );
        assert_eq!(text.matches(" -c /tmp/l.yaml\n").count(), 3, "{text}");
        assert!(!text.contains("systemctl"), "{text}");
    }

    #[test]
    fn console_and_collector_have_their_first_step() {
        let mut console = ConsoleAnswers {
            listen: "127.0.0.1:8080".parse().unwrap(),
            open: false,
        };
        let steps = |console: &ConsoleAnswers| {
            let answers = InitAnswers {
                console: Some(console.clone()),
                collector: ["http=0.0.0.0:5000", "syslog"]
                    .map(|endpoint| endpoint.parse().unwrap())
                    .to_vec(),
                ..InitAnswers::default()
            };
            next_steps(Path::new(DEFAULT_CONFIG), &BTreeSet::new(), &answers, &PROGRESS)
        };
        let text = steps(&console);
        for expected in [
            "whose page is http://127.0.0.1:8080/:\n     logferry console user add NAME\n",
            "     curl --data-binary hello http://127.0.0.1:5000/lines\n",
            "     logger --server 127.0.0.1 --port 514 --tcp hello\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        console.open = true;
        assert!(steps(&console).contains("open the console, on this host:\n     http://127.0.0.1:8080/\n"));
    }
}
