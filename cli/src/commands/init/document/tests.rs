//! What is written is read back as what was answered.

use super::*;
use crate::args::init::{MailHost, SftpDrop};

fn answers() -> InitAnswers {
    let format = "log_format shop '$time_iso8601 '\n\t\t'\"$request\" $status'";
    InitAnswers {
        state: None,
        sender: Some(SenderAnswers {
            relay: "http://192.0.2.10:5001".to_owned(),
            logs: vec![
                LogAnswer {
                    path: "/var/log/nginx/access.log".to_owned(),
                    name: "access".to_owned(),
                    format: None,
                },
                LogAnswer {
                    path: "/var/log/nginx/shop #1: *.log".to_owned(),
                    name: "shop".to_owned(),
                    format: Some(format.to_owned()),
                },
            ],
        }),
        relay: Some(RelayAnswers {
            listen: "[::]:5001".parse().unwrap(),
            sources: vec!["198.51.100.1-198.51.100.5".to_owned(), "2001:db8::/64".to_owned()],
            metrics_port: 9104,
        }),
        forwarder: Some(ForwarderAnswers {
            drop: SftpDrop {
                user: "on".to_owned(),
                host: "2001:db8::1".to_owned(),
                port: 2222,
                directory: "/in/{source}".to_owned(),
            },
            login: DropLogin::Key("/etc/logferry/id_ed25519".into()),
            host_key: None,
            known_hosts: "/etc/logferry/known_hosts".into(),
        }),
        monitor: Some(MonitorAnswers {
            smtp: MailHost {
                host: "mail.example.com".to_owned(),
                port: 587,
            },
            from: "logferry@relay".to_owned(),
            to: vec!["ops@example.com".to_owned(), "b@example.com".to_owned()],
            metrics_port: 9105,
        }),
        housekeeper: true,
        indexer: true,
        collector: ["http", "syslog"]
            .map(|endpoint| endpoint.parse().unwrap())
            .to_vec(),
        console: Some(ConsoleAnswers {
            listen: "127.0.0.1:8080".parse().unwrap(),
            open: true,
        }),
    }
}

#[test]
fn a_document_of_all_roles_is_read_back_as_what_was_answered() {
    let text = document(Path::new("/etc/logferry/logferry.yaml"), &answers());
    let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None);
    let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(config.warnings, [""; 0], "{text}");
    let sender = config.sender.unwrap();
    assert_eq!(sender.relay[0].to_string(), "http://192.0.2.10:5001");
    assert_eq!(sender.logs[1].path, "/var/log/nginx/shop #1: *.log");
    let relay = config.relay.unwrap();
    assert_eq!(relay.groups[0].listen.to_string(), "[::]:5001");
    assert_eq!(relay.metrics.unwrap().port(), 9104);
    assert_ne!(
        relay.batch.formats.of(&"shop".parse().unwrap()),
        &Format::default()
    );
    let destination = &config.forwarder.unwrap().destinations[0];
    assert_eq!(
        (&*destination.user, &*destination.host, destination.port),
        ("on", "2001:db8::1", 2222)
    );
    let monitor = config.monitor.unwrap();
    assert_eq!(
        (&*monitor.smtp.host, monitor.smtp.port, monitor.smtp.to.len()),
        ("mail.example.com", 587, 2)
    );
    assert!(config.housekeeper.is_some() && config.indexer.is_some());
    assert!(config.console.unwrap().open);
    let collector = config.collector.unwrap();
    assert_eq!(collector.sources.len(), 2);
    assert_eq!(sender.captures, Some(collector.state_dir));
}

#[test]
fn a_folder_for_state_is_that_of_every_role_alone_too() {
    let all = InitAnswers {
        state: Some("/srv/logferry".into()),
        ..answers()
    };
    for answers in [
        all.clone(),
        InitAnswers {
            sender: None,
            relay: None,
            indexer: false,
            ..all.clone()
        },
        InitAnswers {
            sender: None,
            relay: None,
            forwarder: None,
            monitor: None,
            housekeeper: false,
            ..all.clone()
        },
        InitAnswers {
            console: all.console.clone(),
            state: all.state.clone(),
            ..InitAnswers::default()
        },
    ] {
        let text = document(Path::new("c.yaml"), &answers);
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None);
        let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
        for (role, folder) in config.data_dirs() {
            assert_eq!(folder, Path::new("/srv/logferry/relay"), "{role}: {text}");
        }
        let stores = config
            .indexer
            .iter()
            .map(|it| &it.store_dir)
            .chain(config.monitor.iter().map(|it| &it.store_dir))
            .chain(config.console.iter().map(|it| &it.store_dir));
        for store in stores {
            assert_eq!(store, Path::new("/srv/logferry/index"), "{text}");
        }
    }
}

#[test]
fn a_sender_alone_has_its_formats_as_a_comment_for_the_middle_host() {
    let answers = InitAnswers {
        sender: answers().sender,
        ..InitAnswers::default()
    };
    let text = document(Path::new("c.yaml"), &answers);
    assert!(
        text.contains("\n# formats:\n#   shop: |\n#     log_format shop '$time_iso8601 '\n"),
        "{text}"
    );
    let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None).unwrap();
    assert!(config.relay.is_none() && config.sender.is_some());
}

#[test]
fn a_value_that_yaml_would_read_as_something_else_is_quoted() {
    for (text, expected) in [
        ("/var/log/a.log", "/var/log/a.log"),
        ("drop.example.com", "drop.example.com"),
        ("192.0.2.1", "\"192.0.2.1\""),
        ("on", "\"on\""),
        ("*.log", "\"*.log\""),
        ("a: b", "\"a: b\""),
        ("", "\"\""),
    ] {
        assert_eq!(scalar(text), expected);
    }
}

#[test]
fn a_collector_and_its_sender_find_each_other_together_and_apart() {
    let all = answers();
    let together = InitAnswers {
        sender: Some(SenderAnswers {
            logs: Vec::new(),
            ..all.sender.clone().unwrap()
        }),
        collector: all.collector.clone(),
        state: Some("/srv/logferry".into()),
        ..InitAnswers::default()
    };
    let alone = InitAnswers {
        sender: None,
        ..together.clone()
    };
    for answers in [together, alone] {
        let text = document(Path::new("c.yaml"), &answers);
        let config = logferry_config::parse(&text, Path::new("c.yaml"), &|_| None);
        let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let collector = config.collector.unwrap();
        assert_eq!(
            collector.sender_state_dir,
            Path::new("/srv/logferry/sender"),
            "{text}"
        );
        if let Some(sender) = config.sender {
            assert_eq!(sender.captures.as_deref(), Some(&*collector.state_dir), "{text}");
            assert_eq!(sender.state_dir, collector.sender_state_dir, "{text}");
        }
    }
}
