//! A systemd of which packages think that it runs: it notes what they ask for.

use std::os::unix::fs::PermissionsExt;
use std::{fs, iter};

use crate::bare_root::BareRoot;

/// Units in `/running` are active. Every call goes to `/calls`. A reload does the first thing of the unit that it is to do, with the
/// variables of `/environment`.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >>/calls
case "$*" in
*is-active*) grep -qx "${*##* }" /running ;;
show*) grep ^ExecReload= "/usr/lib/systemd/system/${*##* }" ;;
reload*)
    command=$(sed -n '/^ExecReload=/{s///p;q}' "/usr/lib/systemd/system/${*##* }")
    env $(cat /environment) $command 2>/journal
    ;;
esac
"#;

/// Puts it into a system, with these units running.
pub(crate) fn fake(root: &BareRoot, running: &[&str]) {
    root.write("/usr/bin/systemctl", SYSTEMCTL);
    fs::set_permissions(root.path("/usr/bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    root.write(
        "/usr/bin/journalctl",
        "#!/bin/sh\n[ \"$1\" = --sync ] || cat /journal\n",
    );
    fs::set_permissions(
        root.path("/usr/bin/journalctl"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    root.write("/environment", "");
    fs::create_dir_all(root.path("/run/systemd/system")).unwrap();
    let units = running.iter().map(|role| format!("logferry-{role}.service\n"));
    root.write("/running", &units.collect::<String>());
    root.write("/calls", "");
}

/// The calls since the last question that change something.
pub(crate) fn calls(root: &BareRoot) -> Vec<String> {
    let text = root.read("/calls");
    root.write("/calls", "");
    let changes = text
        .lines()
        .filter(|call| !call.contains("is-active") && !call.starts_with("show "));
    changes.map(str::to_owned).collect()
}

/// That a call names this unit and no other one of logferry's.
pub(crate) fn names_only(call: &str, units: &[&str]) -> bool {
    let named = call.split(' ').filter(|word| word.ends_with(".service"));
    let expected = units.iter().map(|role| format!("logferry-{role}.service"));
    iter::zip(named.clone(), expected.clone()).all(|(named, expected)| named == expected)
        && named.count() == expected.count()
}
