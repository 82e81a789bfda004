//! What keeps a role from its files is told with the path, the reason and the remedy.
#![expect(clippy::disallowed_methods, reason = "tests lay out files")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use logferry_config::Config;

use super::*;

const UNIT: &str = include_str!("../../../deploy/systemd/logferry-sender.service");

fn config(dir: &Path, logs: &str) -> Config {
    let file = dir.join("logferry.yaml");
    let dir = dir.display();
    let text = format!("sender:\n  relay: http://127.0.0.1:1\n  state_dir: {dir}/state\n  logs: [{logs}]\n");
    fs::write(&file, text).unwrap();
    logferry_config::load(&file).unwrap()
}

fn findings(config: &Config) -> Vec<String> {
    let found = look::findings(Role::Sender, config, None);
    found.into_iter().map(|finding| finding.text).collect()
}

#[test]
fn a_misspelt_log_path_is_named_with_the_name_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("access.log"), "line\n").unwrap();
    let shown = dir.path().display();
    let config = config(dir.path(), &format!("{{path: {shown}/acces.log}}"));
    assert_eq!(
        findings(&config),
        [format!(
            "{shown}/acces.log: there is no such file yet; it is shipped once it is there; is {shown}/access.log meant?"
        )]
    );
}

#[test]
fn a_log_that_is_there_has_no_finding() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("access.log"), "line\n").unwrap();
    let config = config(
        dir.path(),
        &format!("{{path: {}/access.log}}", dir.path().display()),
    );
    assert_eq!(findings(&config), [""; 0]);
}

#[test]
fn a_state_folder_that_is_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("state"), "").unwrap();
    fs::write(dir.path().join("a.log"), "").unwrap();
    let shown = dir.path().display();
    let config = config(dir.path(), &format!("{{path: {shown}/a.log}}"));
    assert_eq!(
        findings(&config),
        [format!(
            "{shown}/state (sender.state_dir) is a file, and has to be a folder; move the file away, or set another folder"
        )]
    );
}

#[test]
fn the_identity_of_the_shipped_unit_has_its_groups() {
    let unit = UnitFile::of("logferry-sender.service", [UNIT.to_owned()]);
    assert_eq!(
        (unit.user.as_str(), unit.group.as_str(), unit.groups.as_slice()),
        ("logferry", "logferry", &["adm".to_owned()][..])
    );
    let drop_in = "[Service]\nSupplementaryGroups=\nSupplementaryGroups=nginx www-data\n";
    let unit = UnitFile::of("x.service", [UNIT.to_owned(), drop_in.to_owned()]);
    assert_eq!(unit.groups, ["nginx", "www-data"]);
}

#[test]
fn a_user_that_does_not_exist_is_named_with_the_command_that_makes_it() {
    let unit = UnitFile::of("x.service", ["[Service]\nUser=nobody-has-this-name\n".to_owned()]);
    let problem = ServiceIdentity::of(&unit).unwrap_err();
    assert!(
        problem.starts_with(
            "x.service: there is no user nobody-has-this-name on this host; create it with `useradd"
        ),
        "{problem}"
    );
}

#[test]
fn units_with_a_role_of_the_configuration_are_looked_at_as_their_user() {
    let (dir, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = root.path().join("etc/systemd/system");
    fs::create_dir_all(&folder).unwrap();
    let secret = dir.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    let user = User::from_uid(Uid::effective()).unwrap().unwrap().name;
    fs::write(
        folder.join("logferry-sender.service"),
        format!("[Service]\nUser={user}\n"),
    )
    .unwrap();
    let config = config(dir.path(), &format!("{{path: {}/none.log}}", secret.display()));
    let looked = look(&dir.path().join("logferry.yaml"), &config, root.path());
    assert_eq!(looked.note, None, "it is this user");
    assert_eq!(looked.findings.len(), 1, "{looked:?}");
    fs::write(
        folder.join("logferry-sender.service"),
        "[Service]\nUser=no-such-user\n",
    )
    .unwrap();
    let looked = look(&dir.path().join("logferry.yaml"), &config, root.path());
    assert!(
        looked.findings[0].text.contains("there is no user no-such-user"),
        "{looked:?}"
    );
}

#[test]
fn role_whose_unit_is_not_enabled_yet_is_looked_at_as_that_units_user() {
    let (dir, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = root.path().join("etc/systemd/system");
    fs::create_dir_all(folder.join("multi-user.target.wants")).unwrap();
    let user = User::from_uid(Uid::effective()).unwrap().unwrap().name;
    for (role, user) in [("relay", user.as_str()), ("forwarder", "no-such-user")] {
        let unit = format!("logferry-{role}.service");
        fs::write(folder.join(unit), format!("[Service]\nUser={user}\n")).unwrap();
    }
    fs::write(folder.join("multi-user.target.wants/logferry-relay.service"), "").unwrap();
    let file = dir.path().join("logferry.yaml");
    let (data, key) = (dir.path().join("data"), dir.path().join("key"));
    fs::write(&key, "no key of this user").unwrap();
    let text = format!(
        "relay:\n  data_dir: {}\n  groups: [{{name: a, listen: '127.0.0.1:0'}}]\nforwarder:\n  destinations: [{{name: d, \
         host: h, user: u, directory: d, key_file: {}}}]\n",
        data.display(),
        key.display()
    );
    fs::write(&file, text).unwrap();
    let looked = look(&file, &logferry_config::load(&file).unwrap(), root.path());
    let of_forwarder: Vec<_> = looked
        .findings
        .iter()
        .filter(|finding| finding.about == "forwarder")
        .collect();
    assert!(
        matches!(of_forwarder[..], [finding] if finding.text.contains("there is no user no-such-user")),
        "{looked:?}"
    );
    assert!(
        looked.users.iter().all(|(role, _)| *role == Role::Relay),
        "{looked:?}"
    );
}
