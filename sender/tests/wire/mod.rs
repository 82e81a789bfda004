//! What goes over the wire, and at which of the relay's doors.

mod door;

use std::sync::Arc;

use logferry_config::Compression;
use logferry_protocol::resolve::LedgerId;
use tokio_util::sync::CancellationToken;

use self::door::{Door, Manner};
use super::relay::Relay;
use super::{Site, fs};

const ONE: LedgerId = LedgerId::new(1);
const TWO: LedgerId = LedgerId::new(2);

impl Site {
    /// Tells which ledger the site's relay is.
    fn is_ledger(&self, ledger: LedgerId) {
        self.relay.ledger.set(ledger).expect("once");
    }

    fn set_doors(&mut self, doors: &[&Door]) {
        let address = |door: &&Door| door.url().parse().expect("an address");
        self.config.relay = doors.iter().map(address).collect();
    }

    async fn until_retries(&self, more: u64) {
        let metrics = self.metrics.clone();
        let enough = metrics.totals().retries + more;
        self.until("more retries", || metrics.totals().retries >= enough)
            .await;
    }
}

/// A second relay, of another ledger.
async fn another(site: &Site) -> (Arc<Relay>, std::net::SocketAddr) {
    let (relay, address) = Relay::start(site.relay_stop.clone()).await;
    relay.ledger.set(TWO).expect("once");
    (relay, address)
}

#[tokio::test]
async fn compressed_chunks_arrive_as_they_were() {
    for (compression, name) in [(Compression::Zstd, "zstd"), (Compression::Gzip, "gzip")] {
        let mut site = Site::new().await;
        site.config.compression = compression;
        let expected = site.write("access.log", 3000);
        site.start();
        site.expect("access", &expected).await;
        let encodings = site.relay.encodings.lock().expect("no panic").clone();
        assert_eq!(encodings.into_iter().collect::<Vec<_>>(), [name]);
        site.end().await;
    }
}

#[tokio::test]
async fn a_renewed_token_is_taken_up_without_a_restart() {
    let mut site = Site::new().await;
    let path = site.path("token");
    fs::write(&path, "old\n").expect("room");
    site.config.token_file = Some(path.clone());
    *site.relay.token.lock().expect("no panic") = Some("old".into());
    let mut expected = site.write("access.log", 100);
    site.start();
    let relay = site.relay.clone();
    site.until("the first lines", || relay.arrived("access") == expected)
        .await;
    *site.relay.token.lock().expect("no panic") = Some("new".into());
    expected.extend(site.write("access.log", 100));
    site.until_retries(2).await;
    fs::write(&path, "new\n").expect("room");
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn a_door_that_dies_in_the_middle_of_an_answer_doubles_nothing() {
    let mut site = Site::new().await;
    site.is_ledger(ONE);
    let upstream = site.upstream();
    let (first, second) = (Door::open(upstream).await, Door::open(upstream).await);
    site.set_doors(&[&first, &second]);
    let mut expected = site.write("access.log", 2000);
    site.start();
    let (mut from, mut to) = (&first, &second);
    for _ in 0..10 {
        from.is_now(Manner::DiesAnswering);
        let lines = site.write("access.log", 500);
        expected.extend(lines);
        let relay = site.relay.clone();
        site.until("the lines through the other door", || {
            relay.arrived("access").len() == expected.len()
        })
        .await;
        assert!(to.answers() > 0);
        (from, to) = (to, from);
        to.is_now(Manner::Open);
        site.until_door_is_used(from, &mut expected).await;
    }
    site.expect("access", &expected).await;
    site.end().await;
}

#[tokio::test]
async fn two_relays_behind_one_list_never_get_the_same_line() {
    let mut site = Site::new().await;
    site.is_ledger(ONE);
    let (other, other_address) = another(&site).await;
    let (first, second) = (Door::open(site.upstream()).await, Door::open(other_address).await);
    site.set_doors(&[&first, &second]);
    let mut expected = site.write("access.log", 2000);
    site.start();
    let relay = site.relay.clone();
    site.until("what there is", || relay.arrived("access") == expected)
        .await;
    first.is_now(Manner::DiesAnswering);
    expected.extend(site.write("access.log", 2000));
    site.until_retries(20).await;
    // Nor after a restart, whose first answer is the other relay's.
    site.stop().await;
    site.start();
    site.until_retries(20).await;
    assert!(second.answers() > 0, "it was asked who it is");
    assert!(other.arrived("access").is_empty());
    assert!(other.heartbeats().is_empty());

    first.is_now(Manner::Open);
    site.expect("access", &expected).await;
    assert!(other.arrived("access").is_empty());
    site.end().await;
}

#[tokio::test]
async fn a_relay_that_was_replaced_in_its_place_gets_what_it_has_not() {
    let mut site = Site::new().await;
    site.is_ledger(ONE);
    let (other, other_address) = another(&site).await;
    let (first, second) = (
        Door::open(site.upstream()).await,
        Door::open(site.upstream()).await,
    );
    site.set_doors(&[&first, &second]);
    let mut expected = site.write("access.log", 1000);
    site.start();
    let relay = site.relay.clone();
    site.until("what there is", || relay.arrived("access") == expected)
        .await;
    for door in [&first, &second] {
        door.leads_to(other_address);
    }
    expected.extend(site.write("access.log", 1000));
    site.until("all at the new relay", || other.arrived("access") == expected)
        .await;
    site.end().await;
}

#[tokio::test]
async fn a_relay_whose_address_was_taken_out_of_the_list_is_given_up() {
    let mut site = Site::new().await;
    site.is_ledger(ONE);
    let (other, other_address) = another(&site).await;
    let (first, second) = (Door::open(site.upstream()).await, Door::open(other_address).await);
    site.set_doors(&[&first]);
    let expected = site.write("access.log", 1000);
    site.start();
    let relay = site.relay.clone();
    site.until("what there is", || relay.arrived("access") == expected)
        .await;
    site.stop().await;
    site.set_doors(&[&second]);
    site.start();
    // The new relay's ledger decides: it has nothing yet.
    site.until_heard(&other).await;
    let more = site.write("access.log", 10);
    let all = [expected, more].concat();
    site.until("all at the new relay", || other.arrived("access") == all)
        .await;
    site.end().await;
}

#[tokio::test]
async fn an_idle_sender_reports_to_a_relay_that_was_replaced() {
    let mut site = Site::new().await;
    site.is_ledger(ONE);
    let (other, other_address) = another(&site).await;
    let door = Door::open(site.upstream()).await;
    site.set_doors(&[&door]);
    site.start();
    let relay = site.relay.clone();
    site.until_heard(&relay).await;
    site.stop().await;
    door.leads_to(other_address);
    site.start();
    site.until_heard(&other).await;
    site.end().await;
}

impl Site {
    /// Where the site's own relay listens.
    fn upstream(&self) -> std::net::SocketAddr {
        let address = &self.config.relay[0];
        format!("{}:{}", address.host, address.port)
            .parse()
            .expect("an address")
    }

    async fn until_heard(&self, relay: &Arc<Relay>) {
        self.until("a heartbeat", || !relay.heartbeats().is_empty()).await;
    }

    /// Writes lines until one of their answers came through `door`.
    async fn until_door_is_used(&mut self, door: &Door, expected: &mut Vec<u8>) {
        let before = door.answers();
        let deadline = std::time::Instant::now() + super::DEADLINE;
        while door.answers() == before {
            assert!(std::time::Instant::now() < deadline, "the door is not used");
            expected.extend(self.write("access.log", 1));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Stops what it serves when it is dropped.
struct Stop(CancellationToken);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
