//! Compression, tokens, and the addresses of the relay.

mod relay_proxy;

use std::sync::Arc;

use logferry_config::ChunkCompression;
use logferry_protocol::resolve::LedgerId;
use tokio_util::sync::CancellationToken;

use self::relay_proxy::{ProxyMode, RelayProxy};
use super::fake_relay::FakeRelay;
use super::{ShippingFixture, fs};

const ONE: LedgerId = LedgerId::new(1);
const TWO: LedgerId = LedgerId::new(2);

impl ShippingFixture {
    /// Tells which ledger the fixture's relay is.
    fn is_ledger(&self, ledger: LedgerId) {
        self.relay.ledger.set(ledger).expect("once");
    }

    fn set_proxies(&mut self, proxies: &[&RelayProxy]) {
        let address = |proxy: &&RelayProxy| proxy.url().parse().expect("an address");
        self.config.relay = proxies.iter().map(address).collect();
    }

    async fn until_retries(&self, more: u64) {
        let metrics = self.metrics.clone();
        let enough = metrics.totals().retries + more;
        self.until("more retries", || metrics.totals().retries >= enough)
            .await;
    }
}

/// A second relay, of another ledger.
async fn another(fixture: &ShippingFixture) -> (Arc<FakeRelay>, std::net::SocketAddr) {
    let (relay, address) = FakeRelay::start(fixture.relay_stop.clone()).await;
    relay.ledger.set(TWO).expect("once");
    (relay, address)
}

#[tokio::test]
async fn compressed_chunks_arrive_as_they_were() {
    for (compression, name) in [(ChunkCompression::Zstd, "zstd"), (ChunkCompression::Gzip, "gzip")] {
        let mut fixture = ShippingFixture::new().await;
        fixture.config.compression = compression;
        let expected = fixture.write("access.log", 3000);
        fixture.start();
        fixture.expect("access", &expected).await;
        let encodings = fixture.relay.encodings.lock().expect("no panic").clone();
        assert_eq!(encodings.into_iter().collect::<Vec<_>>(), [name]);
        fixture.end().await;
    }
}

#[tokio::test]
async fn a_renewed_token_is_taken_up_without_a_restart() {
    let mut fixture = ShippingFixture::new().await;
    let path = fixture.path("token");
    fs::write(&path, "old\n").expect("room");
    fixture.config.token_file = Some(path.clone());
    *fixture.relay.token.lock().expect("no panic") = Some("old".into());
    let mut expected = fixture.write("access.log", 100);
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("the first lines", || relay.arrived("access") == expected)
        .await;
    *fixture.relay.token.lock().expect("no panic") = Some("new".into());
    expected.extend(fixture.write("access.log", 100));
    fixture.until_retries(2).await;
    fs::write(&path, "new\n").expect("room");
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn an_address_that_fails_in_the_middle_of_an_answer_doubles_nothing() {
    let mut fixture = ShippingFixture::new().await;
    fixture.is_ledger(ONE);
    let upstream = fixture.upstream();
    let (first, second) = (RelayProxy::open(upstream).await, RelayProxy::open(upstream).await);
    fixture.set_proxies(&[&first, &second]);
    let mut expected = fixture.write("access.log", 2000);
    fixture.start();
    let (mut from, mut to) = (&first, &second);
    for _ in 0..10 {
        from.set_mode(ProxyMode::DiesAnswering);
        let lines = fixture.write("access.log", 500);
        expected.extend(lines);
        let relay = fixture.relay.clone();
        fixture
            .until("the lines, and an answer through the other proxy", || {
                // The relay may have them all before the first proxy fails to answer.
                relay.arrived("access").len() == expected.len() && to.answers() > 0
            })
            .await;
        (from, to) = (to, from);
        to.set_mode(ProxyMode::Open);
        fixture.until_proxy_is_used(from, &mut expected).await;
    }
    fixture.expect("access", &expected).await;
    fixture.end().await;
}

#[tokio::test]
async fn two_relays_behind_one_list_never_get_the_same_line() {
    let mut fixture = ShippingFixture::new().await;
    fixture.is_ledger(ONE);
    let (other, other_address) = another(&fixture).await;
    let (first, second) = (
        RelayProxy::open(fixture.upstream()).await,
        RelayProxy::open(other_address).await,
    );
    fixture.set_proxies(&[&first, &second]);
    let mut expected = fixture.write("access.log", 2000);
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("what there is", || relay.arrived("access") == expected)
        .await;
    first.set_mode(ProxyMode::DiesAnswering);
    expected.extend(fixture.write("access.log", 2000));
    fixture.until_retries(20).await;
    // Nor after a restart, whose first answer is the other relay's.
    fixture.stop().await;
    fixture.start();
    fixture.until_retries(20).await;
    assert!(second.answers() > 0, "it was asked who it is");
    assert!(other.arrived("access").is_empty());
    assert!(other.heartbeats().is_empty());

    first.set_mode(ProxyMode::Open);
    fixture.expect("access", &expected).await;
    assert!(other.arrived("access").is_empty());
    fixture.end().await;
}

#[tokio::test]
async fn a_relay_that_was_replaced_in_its_place_gets_what_it_has_not() {
    let mut fixture = ShippingFixture::new().await;
    fixture.is_ledger(ONE);
    let (other, other_address) = another(&fixture).await;
    let (first, second) = (
        RelayProxy::open(fixture.upstream()).await,
        RelayProxy::open(fixture.upstream()).await,
    );
    fixture.set_proxies(&[&first, &second]);
    let mut expected = fixture.write("access.log", 1000);
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("what there is", || relay.arrived("access") == expected)
        .await;
    for proxy in [&first, &second] {
        proxy.set_upstream(other_address);
    }
    expected.extend(fixture.write("access.log", 1000));
    fixture
        .until("all at the new relay", || other.arrived("access") == expected)
        .await;
    fixture.end().await;
}

#[tokio::test]
async fn a_relay_whose_address_was_taken_out_of_the_list_is_given_up() {
    let mut fixture = ShippingFixture::new().await;
    fixture.is_ledger(ONE);
    let (other, other_address) = another(&fixture).await;
    let (first, second) = (
        RelayProxy::open(fixture.upstream()).await,
        RelayProxy::open(other_address).await,
    );
    fixture.set_proxies(&[&first]);
    let expected = fixture.write("access.log", 1000);
    fixture.start();
    let relay = fixture.relay.clone();
    fixture
        .until("what there is", || relay.arrived("access") == expected)
        .await;
    fixture.stop().await;
    fixture.set_proxies(&[&second]);
    fixture.start();
    // The new relay's ledger decides: it has nothing yet.
    fixture.until_heard(&other).await;
    let more = fixture.write("access.log", 10);
    let all = [expected, more].concat();
    fixture
        .until("all at the new relay", || other.arrived("access") == all)
        .await;
    fixture.end().await;
}

#[tokio::test]
async fn an_idle_sender_reports_to_a_relay_that_was_replaced() {
    let mut fixture = ShippingFixture::new().await;
    fixture.is_ledger(ONE);
    let (other, other_address) = another(&fixture).await;
    let proxy = RelayProxy::open(fixture.upstream()).await;
    fixture.set_proxies(&[&proxy]);
    fixture.start();
    let relay = fixture.relay.clone();
    fixture.until_heard(&relay).await;
    fixture.stop().await;
    proxy.set_upstream(other_address);
    fixture.start();
    fixture.until_heard(&other).await;
    fixture.end().await;
}

impl ShippingFixture {
    /// Where the fixture's own relay listens.
    fn upstream(&self) -> std::net::SocketAddr {
        let address = &self.config.relay[0];
        format!("{}:{}", address.host, address.port)
            .parse()
            .expect("an address")
    }

    async fn until_heard(&self, relay: &Arc<FakeRelay>) {
        self.until("a heartbeat", || !relay.heartbeats().is_empty()).await;
    }

    /// Writes lines until one of their answers came through `proxy`.
    async fn until_proxy_is_used(&mut self, proxy: &RelayProxy, expected: &mut Vec<u8>) {
        let before = proxy.answers();
        let deadline = std::time::Instant::now() + super::DEADLINE;
        while proxy.answers() == before {
            assert!(std::time::Instant::now() < deadline, "the proxy is not used");
            expected.extend(self.write("access.log", 1));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Stops what it serves when it is dropped.
struct StopOnDrop(CancellationToken);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
