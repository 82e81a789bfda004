//! What `status` says of roles and their files.

use std::time::Duration;

use jiff::Timestamp;
use logferry_telemetry::{PresenceState, give_sign};

use logferry_inspection::status::{StatusScope, WatchedRole, status};
use logferry_testkit::relay_host::RelayHost;

use super::settings::{bare_scope, texts};

#[test]
fn files_that_a_role_cannot_use_are_told_by_the_role_or_else_by_the_caller() {
    let host = RelayHost::new();
    let data_dir = host.data_dir().to_owned();
    let roles = [WatchedRole {
        name: "forwarder",
        folder: &data_dir,
        is_configured: true,
        file_problems: vec!["seen by status".to_owned()],
    }];
    let scope = StatusScope {
        roles: &roles,
        ..bare_scope()
    };
    let look = || {
        let report = status(&data_dir, &scope, Timestamp::now()).expect("a status");
        (report.roles[0].problems.join(""), report.problems.len())
    };
    assert_eq!(look(), ("seen by status".to_owned(), 2), "it does not run");
    let sign = |problems: &[String]| {
        let now = Timestamp::now();
        give_sign(&data_dir, "forwarder", PresenceState::Running, now, problems).expect("written");
    };
    sign(&["seen by the role".to_owned()]);
    assert_eq!(look(), ("seen by the role".to_owned(), 1));
    sign(&[]);
    assert_eq!(look(), (String::new(), 0));
}

#[test]
fn a_single_pass_excuses_a_role_for_an_hour() {
    let host = RelayHost::new();
    let data_dir = host.data_dir().to_owned();
    let roles = [WatchedRole {
        name: "housekeeper",
        folder: &data_dir,
        is_configured: true,
        file_problems: Vec::new(),
    }];
    let scope = StatusScope {
        roles: &roles,
        ..bare_scope()
    };
    let passed = Timestamp::now();
    give_sign(&data_dir, "housekeeper", PresenceState::Once, passed, &[]).expect("written");
    let look = |after: Duration| {
        let report = status(&data_dir, &scope, Timestamp::now() + after).expect("a status");
        assert!(report.roles[0].once, "it is shown as by cron");
        (report.roles[0].is_missing, report.problems)
    };
    assert_eq!(look(Duration::from_mins(59)), (false, Vec::new()));
    let told = "the last pass of the housekeeper was 1 h 1 min ago: start it, or look at cron or its timer";
    let (is_missing, problems) = look(Duration::from_mins(61));
    assert_eq!((is_missing, texts(&problems)), (true, vec![told]));
}

#[test]
fn role_whose_section_was_removed_is_told_what_ends_the_problem_and_nothing_else() {
    let host = RelayHost::new();
    let data_dir = host.data_dir().to_owned();
    let roles = [WatchedRole {
        name: "forwarder",
        folder: &data_dir,
        is_configured: false,
        file_problems: Vec::new(),
    }];
    let scope = StatusScope {
        roles: &roles,
        ..bare_scope()
    };
    let later = || Timestamp::now() + Duration::from_mins(3);
    let problems = || status(&data_dir, &scope, later()).expect("a status").problems;
    for state in [PresenceState::Stopped, PresenceState::Running] {
        give_sign(&data_dir, "forwarder", state, Timestamp::now(), &[]).expect("written");
        let sign = data_dir.join("forwarder.alive");
        let told = format!(
            "the forwarder has no section any more, and last ran 3 min ago: put the section back, or remove {}",
            sign.display()
        );
        assert_eq!(texts(&problems()), [told]);
        std::fs::remove_file(sign).expect("removed");
        assert_eq!(problems(), []);
    }
}
