//! The README's way from the package to delivered lines, under a real systemd: `tests/systemd/walk.sh`.

use std::path::Path;
use std::process::Command;

use crate::build::{self, NEW, OLD};

/// Two containers are booted, set up by the commands of the documents, upgraded and booted again. The script says what else it
/// needs than this test's other packages: systemd-nspawn and ip.
#[test]
fn readme_leads_from_the_package_to_delivered_lines_on_a_real_systemd() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/systemd/walk.sh");
    // One at a time: the Debian that it boots is made once for this build folder.
    let _lock = build::lock("systemd.lock");
    let walk = Command::new(script)
        .args([build::deb(OLD), build::deb(NEW)])
        .arg(Path::new(build::WORK).join("systemd"))
        .output()
        .unwrap();
    let text = crate::bare_root::printed(&walk);
    assert!(walk.status.success(), "{text}");
    assert!(text.contains("all is well"), "{text}");
}
