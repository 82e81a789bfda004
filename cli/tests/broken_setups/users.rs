//! Files that an ordinary user may not use. They belong to root, so these tests need root.

use logferry_test_servers::ran_as_root;

use crate::{FORWARDER, Host, RELAY, SENDER};

#[test]
fn the_log_belongs_to_another_user() {
    if ran_as_root("users::the_log_belongs_to_another_user") {
        return;
    }
    let host = Host::new();
    host.mode("access.log", 0o600);
    host.folder("state", 0o777);
    assert_eq!(
        host.check_as_nobody(&format!("{SENDER}  logs: [{{path: DIR/access.log}}]\n")),
        "✗ sender: DIR/access.log: user nobody may not read it: it belongs to root:root with mode 0600; let it (`setfacl -m u:nobody:r \
         DIR/access.log`), and for the files to come (`setfacl -m d:u:nobody:r DIR`)\n\
         exit code 1\n"
    );
}

#[test]
fn the_folder_of_the_logs_may_not_be_entered() {
    if ran_as_root("users::the_folder_of_the_logs_may_not_be_entered") {
        return;
    }
    let host = Host::new();
    host.folder("nginx", 0o700);
    host.folder("state", 0o777);
    let sender = |log| host.check_as_nobody(&format!("{SENDER}  logs: [{{path: '{log}', name: access}}]\n"));
    let told = |verb| {
        format!(
            "✗ sender: DIR/nginx: user nobody may not {verb} this folder: it belongs to root:root with mode 0700; let it in (`setfacl -m \
             u:nobody:rx,d:u:nobody:r DIR/nginx`)\n\
             exit code 1\n"
        )
    };
    assert_eq!(sender("DIR/nginx/access.log"), told("enter"));
    assert_eq!(sender("DIR/nginx/*.log"), told("list"));
}

#[test]
fn the_state_folder_belongs_to_root() {
    if ran_as_root("users::the_state_folder_belongs_to_root") {
        return;
    }
    let host = Host::new();
    host.folder("state", 0o755);
    assert_eq!(
        host.check_as_nobody(&format!("{SENDER}  logs: [{{path: DIR/access.log}}]\n")),
        "✗ sender: DIR/state (sender.state_dir) belongs to root:root (mode 0755), and user nobody may not write there; run `chown -R nobody:nogroup \
         DIR/state`\n\
         exit code 1\n"
    );
}

#[test]
fn a_command_of_root_has_left_a_lock() {
    if ran_as_root("users::a_command_of_root_has_left_a_lock") {
        return;
    }
    let host = Host::new();
    host.folder("relay", 0o777);
    host.write("relay/housekeeper.lock", "");
    assert_eq!(
        host.check_as_nobody("housekeeper:\n  data_dir: DIR/relay\n"),
        "✗ housekeeper: DIR/relay/housekeeper.lock belongs to root:root (mode 0600), and user nobody may not write it; run `chown nobody:nogroup \
         DIR/relay/housekeeper.lock`\n\
         exit code 1\n"
    );
}

#[test]
fn the_data_folder_may_not_be_made() {
    if ran_as_root("users::the_data_folder_may_not_be_made") {
        return;
    }
    assert_eq!(
        Host::new().check_as_nobody(RELAY),
        "✗ relay: DIR/relay (relay.data_dir) does not exist, and user nobody may not make it in DIR (Permission denied); run `install -d -o \
         nobody -g nogroup -m 0750 DIR/relay`\n\
         exit code 1\n"
    );
}

#[test]
fn keys_and_tokens_belong_to_root() {
    if ran_as_root("users::keys_and_tokens_belong_to_root") {
        return;
    }
    let host = Host::new();
    host.folder("relay", 0o777);
    host.folder("keys", 0o700);
    for name in ["key", "tokens", "keys/known_hosts"] {
        host.write(name, "x\n");
    }
    let forwarder = format!("{FORWARDER}      known_hosts: DIR/keys/known_hosts\n      key_file: DIR/key\n");
    assert_eq!(
        host.check_as_nobody(&forwarder),
        "✗ forwarder: destination edw: key_file DIR/key belongs to root:root (mode 0600), and user nobody may not read it; run `chown nobody \
         DIR/key`\n\
         ✗ forwarder: destination edw: known_hosts DIR/keys/known_hosts cannot be read: its folder DIR/keys belongs to root:root (mode 0700), and \
         user nobody may not enter it; run `setfacl -m u:nobody:x DIR/keys`\n\
         exit code 1\n"
    );
    assert_eq!(
        host.check_as_nobody(&format!("{RELAY}  tokens_file: DIR/tokens\n")),
        "logferry: DIR/logferry.yaml:5: relay.tokens_file: DIR/tokens belongs to root:root (mode 0600), and user nobody may not read \
         it; run `chown nobody DIR/tokens`\n\
         exit code 2\n"
    );
}

#[test]
fn the_configuration_belongs_to_root() {
    if ran_as_root("users::the_configuration_belongs_to_root") {
        return;
    }
    let host = Host::new();
    host.write("logferry.yaml", "");
    assert_eq!(
        host.run_as_nobody(&["check"]),
        "logferry: DIR/logferry.yaml: belongs to root:root (mode 0600), and the user nobody may not read it; run `sudo logferry \
         check -c DIR/logferry.yaml`\n\
         exit code 2\n"
    );
}

#[test]
fn the_indexers_folder_and_the_relays_belong_to_root() {
    if ran_as_root("users::the_indexers_folder_and_the_relays_belong_to_root") {
        return;
    }
    let host = Host::new();
    host.folder("relay", 0o700);
    host.folder("index", 0o755);
    assert_eq!(
        host.check_as_nobody("indexer:\n  data_dir: DIR/relay\n  store_dir: DIR/index\n"),
        "✗ indexer: DIR/index (indexer.store_dir) belongs to root:root (mode 0755), and user nobody may not write there; run `chown \
         -R nobody:nogroup DIR/index`\n\
         ✗ indexer: DIR/relay (indexer.data_dir) belongs to root:root (mode 0700), and user nobody may not read it; run `chgrp \
         -R nogroup DIR/relay` and `chmod -R g+rX DIR/relay`\n\
         exit code 1\n"
    );
}
