//! What else a file system has in store: links, and bytes that are no text.

use std::fs;
use std::os::unix::fs::symlink;

use crate::Site;

impl Site {
    /// Lets a link point to another file in one step, as deployment tools do.
    fn switch(&self, link: &str, target: &str) {
        symlink(target, self.path("new-link")).expect("a link");
        fs::rename(self.path("new-link"), self.path(link)).expect("a rename");
    }
}

#[tokio::test]
async fn a_link_that_is_switched_has_its_old_target_drained_and_the_new_one_followed() {
    let mut site = Site::new().await;
    let mut expected = site.write("v1", 500);
    site.switch("access.log", "v1");
    site.start();
    let relay = site.relay.clone();
    site.until("the first target", || relay.arrived("access") == expected)
        .await;
    for round in 0..5 {
        let (old, new) = (format!("v{}", round + 1), format!("v{}", round + 2));
        expected.extend(site.write(&old, 500));
        site.append(&new, b"");
        site.switch("access.log", &new);
        // Whoever has the old one open writes on for a moment.
        expected.extend(site.write(&old, 50));
        site.until("the old target", || relay.arrived("access") == expected)
            .await;
        expected.extend(site.write(&new, 500));
    }
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_glob_that_finds_a_link_and_its_target_ships_it_once() {
    let mut site = Site::new().await;
    let glob = site.path("*.log").display().to_string();
    site.config.logs[0].rotated = vec![format!("{glob}.*")];
    site.config.logs[0].path = glob;
    site.switch("a-link.log", "target.log");
    let mut expected = site.write("target.log", 500);
    for _ in 0..3 {
        site.start();
        let relay = site.relay.clone();
        site.until("what there is", || relay.arrived("access") == expected)
            .await;
        expected.extend(site.write("target.log", 500));
        site.until("what came", || relay.arrived("access") == expected)
            .await;
        expected.extend(site.write("target.log", 10));
        site.expect("access", &expected).await;
        // The next sender finds it by the other name first.
        fs::remove_dir_all(&site.config.state_dir).expect("the state");
        site.switch("z-link.log", "target.log");
        let _ = fs::remove_file(site.path("a-link.log"));
    }
    site.end().await;
}

#[tokio::test]
async fn only_a_line_feed_ends_a_line_and_every_byte_passes_unchanged() {
    let mut site = Site::new().await;
    let mut expected = Vec::new();
    for byte in 0..=u8::MAX {
        expected.extend([b'a', byte, byte, b'z', b'\n']);
    }
    expected.extend(b"carriage return\r\nlone\rreturn\n\r\n\n\n\xff\xfe\xc3(\n");
    expected.extend(vec![0; 20_000]);
    expected.extend(b" after the hole\n");
    let (first, second) = expected.split_at(700);
    site.append("access.log", first);
    site.start();
    site.append("access.log", second);
    site.expect("access", &expected).await;
    site.end().await;
}
