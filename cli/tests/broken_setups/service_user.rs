//! `check` of root looks as the user of the installed unit, by starting itself again as that user.
//!
//! The units are mounted over those of this system, in a mount namespace of the command's own.

use std::process::Command;

use logferry_test_servers::ran_as_root;

use crate::{Host, RELAY, SENDER};

/// Where packages put their units.
const UNITS: &str = "/usr/lib/systemd/system";

/// What `check` of root prints on a host with this unit, which runs as `nobody`.
fn check_as_root(host: &Host, unit: &str, config: &str, mode: u32) -> String {
    host.folder("units", 0o755);
    host.write(&format!("units/{unit}"), "[Service]\nUser=nobody\n");
    host.write("logferry.yaml", &config.replace("DIR", &host.shown()));
    host.mode("logferry.yaml", mode);
    let (units, program) = (host.path("units"), host.program());
    let script = format!(
        "mount --bind {} {UNITS} && exec {} check \"$@\"",
        units.display(),
        program.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    host.output(&mut command)
}

#[test]
fn the_log_is_closed_to_the_user_of_the_unit() {
    if ran_as_root("service_user::the_log_is_closed_to_the_user_of_the_unit") {
        return;
    }
    let host = Host::new();
    host.mode("access.log", 0o600);
    host.folder("state", 0o755);
    let config = format!("{SENDER}  logs: [{{path: DIR/access.log}}]\n");
    assert_eq!(
        check_as_root(&host, "logferry-sender.service", &config, 0o644),
        "✗ sender: DIR/access.log: user nobody may not read it: it belongs to root:root with mode 0600; let it (`setfacl -m u:nobody:r \
         DIR/access.log`), and for the files to come (`setfacl -m d:u:nobody:r DIR`)\n\
         ✗ sender: DIR/state (sender.state_dir) belongs to root:root (mode 0755), and user nobody may not write there; run `chown -R nobody:nogroup \
         DIR/state`\n\
         exit code 1\n"
    );
}

#[test]
fn the_configuration_is_closed_to_the_user_of_the_unit() {
    if ran_as_root("service_user::the_configuration_is_closed_to_the_user_of_the_unit") {
        return;
    }
    assert_eq!(
        check_as_root(&Host::new(), "logferry-relay.service", RELAY, 0o600),
        "✗ relay: DIR/logferry.yaml: logferry-relay.service runs as user nobody, who may not read it; run `chgrp nobody DIR/logferry.yaml && \
         chmod 0640 DIR/logferry.yaml`\n\
         exit code 1\n"
    );
}

#[test]
fn the_tokens_are_closed_to_the_user_of_the_unit() {
    if ran_as_root("service_user::the_tokens_are_closed_to_the_user_of_the_unit") {
        return;
    }
    let host = Host::new();
    host.write("tokens", "0123456789abcdef0123456789abcdef *\n");
    let config = format!("{RELAY}  tokens_file: DIR/tokens\n");
    assert_eq!(
        check_as_root(&host, "logferry-relay.service", &config, 0o644),
        "! configuration: relay.tokens_file: without `tls`, tokens can be read on the network; set tls too\n\
         ✗ relay: logferry-relay.service runs as user nobody, for whom the configuration is not valid: DIR/logferry.yaml:5: \
         relay.tokens_file: DIR/tokens belongs to root:root (mode 0600), and user nobody may not read it; run `chown nobody \
         DIR/tokens`\n\
         exit code 1\n"
    );
}

#[test]
fn the_user_of_the_unit_does_not_exist_and_its_sandbox_refuses_the_folder() {
    if ran_as_root("service_user::the_user_of_the_unit_does_not_exist_and_its_sandbox_refuses_the_folder") {
        return;
    }
    let host = Host::new();
    host.folder("units", 0o755);
    let unit = include_str!("../../../deploy/systemd/logferry-relay.service");
    host.write(
        "units/logferry-relay.service",
        &unit.replace("User=logferry", "User=logferry-nobody-has"),
    );
    host.write(
        "logferry.yaml",
        &RELAY.replace("DIR/relay", "/srv/logferry-spool"),
    );
    let script = format!(
        "mount --bind {} {UNITS} && exec {} check \"$@\"",
        host.path("units").display(),
        host.program().display()
    );
    assert_eq!(
        host.output(Command::new("unshare").args(["--mount", "sh", "-c", &script, "sh"])),
        "✗ logferry-relay.service: keeps the role from its files:\n    \
         /srv/logferry-spool: may not be written (ProtectSystem=strict)\n    \
         write this with `systemctl edit logferry-relay.service`, and then run `systemctl restart logferry-relay.service`:\n    \
         [Unit]\n    RequiresMountsFor=/srv/logferry-spool\n    [Service]\n    ReadWritePaths=/srv/logferry-spool\n\
         ✗ relay: logferry-relay.service: there is no user logferry-nobody-has on this host; create it with `useradd --system --user-group \
         --no-create-home --shell /usr/sbin/nologin logferry-nobody-has`\n\
         exit code 1\n"
    );
}
