//! Logs and folders that are not where, or what, the configuration says.

use std::os::unix::fs::symlink;

use crate::{Host, RELAY, SENDER};

fn sender(log: &str) -> String {
    format!("{SENDER}  logs: [{{path: '{log}', name: access}}]\n")
}

#[test]
fn a_log_is_misspelt() {
    assert_eq!(
        Host::new().check(&sender("DIR/acces.log")),
        "✗ sender: DIR/acces.log: there is no such file yet; it is shipped once it is there; is DIR/access.log meant?\n\
         exit code 1\n"
    );
}

#[test]
fn a_folder_of_a_log_is_misspelt() {
    let host = Host::new();
    host.folder("nginx", 0o755);
    assert_eq!(
        host.check(&sender("DIR/ngnix/access.log")),
        "✗ sender: DIR/ngnix/access.log: the folder DIR/ngnix does not exist; DIR/nginx has a similar name; correct the path, or make the \
         folder\n\
         exit code 1\n"
    );
}

#[test]
fn a_log_is_a_folder() {
    let host = Host::new();
    host.folder("nginx", 0o755);
    assert_eq!(
        host.check(&sender("DIR/nginx")),
        "✗ sender: DIR/nginx: is a folder; write DIR/nginx/*.log for the logs in it\n\
         exit code 1\n"
    );
}

#[test]
fn a_log_leads_to_a_device_as_in_a_container() {
    let host = Host::new();
    symlink("/dev/null", host.path("out.log")).unwrap();
    assert_eq!(
        host.check(&sender("DIR/out.log")),
        "✗ sender: DIR/out.log: is a character device (it links to /dev/null), and what was written to it cannot be read again; let the web \
         server write this log to a regular file\n\
         exit code 1\n"
    );
}

#[test]
fn a_glob_finds_no_file() {
    assert_eq!(
        Host::new().check(&sender("DIR/*.err")),
        "✗ sender: DIR/*.err: no file matches; correct the pattern, unless its files come later: each is shipped once it is there\n\
         exit code 1\n"
    );
}

#[test]
fn a_link_to_a_log_leads_nowhere() {
    let host = Host::new();
    symlink("/nonexistent/access.log", host.path("out.log")).unwrap();
    assert_eq!(
        host.check(&sender("DIR/out.log")),
        "✗ sender: DIR/out.log: links to /nonexistent/access.log, and there is no such file; correct the link, unless the file comes later: it \
         is shipped once it is there\n\
         exit code 1\n"
    );
}

#[test]
fn the_state_folder_is_a_file() {
    let host = Host::new();
    host.write("state", "");
    assert_eq!(
        host.check(&sender("DIR/access.log")),
        "✗ sender: DIR/state (sender.state_dir) is a file, and has to be a folder; move the file away, or set another folder\n\
         exit code 1\n"
    );
}

#[test]
fn two_logs_find_one_file_and_a_copy_lies_beside_it() {
    let host = Host::new();
    host.write("access.log.bak", "line\n");
    let config = sender("DIR/access.log").replace("}]", "}, {path: 'DIR/*.log', name: all}]");
    assert_eq!(
        host.check(&config),
        "! sender: DIR/access.log.bak: is left alone, as rotation does not make such a name; if its lines are wanted, `logferry backfill` ships \
         them\n\
         ! sender: DIR/access.log: logs `access` and `all` both find this file; `access` ships it, because it stands first, and \
         `all` leaves it alone\n\
         exit code 0\n"
    );
}

#[test]
fn the_disk_of_the_relay_has_less_free_space_than_it_needs() {
    let host = Host::new();
    host.folder("relay", 0o755);
    let said = host.check(&format!("{RELAY}  limits: {{min_free_disk: 1000000GiB}}\n"));
    let (before, rest) = said.split_once("has ").expect(&said);
    let (_, after) = rest.split_once(" free").expect(&said);
    assert_eq!(
        format!("{before}has N free{after}"),
        "✗ disk of DIR/relay: has N free, less than relay.limits.min_free_disk (976.5 TiB): the relay takes no lines; make space \
         there\n\
         exit code 1\n"
    );
}
