//! Links, and bytes that are not text.

use std::fs;
use std::os::unix::fs::symlink;

use crate::ShippingFixture;

impl ShippingFixture {
    /// Lets a link point to another file in one step, as deployment tools do.
    fn switch(&self, link: &str, target: &str) {
        symlink(target, self.path("new-link")).expect("a link");
        fs::rename(self.path("new-link"), self.path(link)).expect("a rename");
    }
}

#[tokio::test]
async fn a_switched_link_has_its_old_target_drained_and_its_new_target_followed() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = fixture.write("v1", 500);
    fixture.switch("access.log", "v1");
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("the first target", || relay.arrived("access") == expected)
        .await;
    for round in 0..5 {
        let (old, new) = (format!("v{}", round + 1), format!("v{}", round + 2));
        expected.extend(fixture.write(&old, 500));
        fixture.append(&new, b"");
        fixture.switch("access.log", &new);
        // Whoever has the old one open writes on for a moment.
        expected.extend(fixture.write(&old, 50));
        fixture
            .until("the old target", || relay.arrived("access") == expected)
            .await;
        expected.extend(fixture.write(&new, 500));
    }
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn a_glob_that_finds_a_link_and_its_target_ships_it_once() {
    let mut fixture = ShippingFixture::new().await;
    let glob = fixture.path("*.log").display().to_string();
    fixture.config.logs[0].rotated = logferry_config::RotatedNames::Globs(vec![format!("{glob}.*")]);
    fixture.config.logs[0].path = glob;
    fixture.switch("a-link.log", "target.log");
    let mut expected = fixture.write("target.log", 500);
    for _ in 0..3 {
        fixture.start();
        let relay = fixture.relay.clone();
        fixture
            .until("what there is", || relay.arrived("access") == expected)
            .await;
        expected.extend(fixture.write("target.log", 500));
        fixture
            .until("what came", || relay.arrived("access") == expected)
            .await;
        expected.extend(fixture.write("target.log", 10));
        fixture.expect("access", &expected).await;
        // The next sender finds it by the other name first.
        fs::remove_dir_all(&fixture.config.state_dir).expect("the state");
        fixture.switch("z-link.log", "target.log");
        let _ = fs::remove_file(fixture.path("a-link.log"));
    }
    fixture.end().await;
}

#[tokio::test]
async fn only_a_line_feed_ends_a_line_and_every_byte_passes_unchanged() {
    let mut fixture = ShippingFixture::new().await;
    let mut expected = Vec::new();
    // A file with a NUL byte in its first line is not taken for a log.
    for byte in (1..=u8::MAX).chain([0]) {
        expected.extend([b'a', byte, byte, b'z', b'\n']);
    }
    expected.extend(b"carriage return\r\nlone\rreturn\n\r\n\n\n\xff\xfe\xc3(\n");
    expected.extend(vec![0; 20_000]);
    expected.extend(b" after the hole\n");
    let (first, second) = expected.split_at(700);
    fixture.append("access.log", first);
    fixture.start();
    fixture.append("access.log", second);
    fixture.expect("access", &expected).await;
    fixture.end().await;
}
