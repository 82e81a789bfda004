//! Whatever the relay, the forwarder and the housekeeper do, and wherever the indexer crashes: each byte is in the store once,
//! in a line or a gap, and the numbers are those of the store.

use logferry_ledger::{Batch, BatchState};
use proptest::prelude::*;

use super::relay_host::{RelayHost, now};

#[derive(Debug, Clone)]
enum HostStep {
    /// Lines, the last one perhaps cut off, to one of the open batches.
    Write { batch: usize, lines: u8, cut: bool },
    /// The next step in a batch's life: sealed, delivered, compressed, deleted.
    Age { batch: usize },
    /// A round that fails at a call of the store, before or after it has done its work; `None`: it does not fail.
    Round { failure: Option<(u32, bool)> },
    /// Places are tidied up.
    Tidy,
}

fn step() -> impl Strategy<Value = HostStep> {
    prop_oneof![
        4 => (0..4_usize, 0..6_u8, any::<bool>()).prop_map(|(batch, lines, cut)| HostStep::Write { batch, lines, cut }),
        3 => (0..4_usize).prop_map(|batch| HostStep::Age { batch }),
        4 => proptest::option::weighted(0.7, (0..14_u32, any::<bool>())).prop_map(|failure| HostStep::Round { failure }),
        1 => Just(HostStep::Tidy),
    ]
}

pub(super) fn age(host: &mut RelayHost, batch: &Batch) {
    let row = host.ledger.batch(batch.id).expect("read").expect("there");
    match host.state(batch) {
        BatchState::Open if row.contents.bytes > 0 => host.seal(batch),
        BatchState::Ready => host.deliver(batch),
        BatchState::Sent if row.expired_at.is_some() => {}
        BatchState::Sent if row.compressed_at.is_none() => host.compress(batch),
        BatchState::Sent => host.expire(batch),
        BatchState::Open | BatchState::Failed => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn each_line_is_in_store_and_numbers_once_wherever_the_indexer_crashes(steps in proptest::collection::vec(step(), 1..24)) {
        let mut host = RelayHost::new("");
        let batches: Vec<_> = (0..4).map(|n| host.open(&format!("s{}", n % 2), &format!("b{n}"))).collect();
        // So that nothing has expired before the first look.
        host.index();
        let mut number = 0;
        for step in steps {
            match step {
                HostStep::Write { batch, lines, cut } if host.state(&batches[batch]) == BatchState::Open => {
                    let mut text = Vec::new();
                    for _ in 0..lines {
                        number += 1;
                        text.extend(format!("[21/Nov/2026:02:{}:03 +0000] {number}\n", 20 + number % 20).bytes());
                    }
                    if cut {
                        text.extend(b"cut");
                    }
                    host.write(&batches[batch], &text);
                }
                HostStep::Write { .. } => {}
                HostStep::Age { batch } => age(&mut host, &batches[batch]),
                HostStep::Round { failure } => {
                    host.store.lock().expect("no panic").failure = failure;
                    if let Ok(mut session) = host.session() {
                        // A failed round is a crash: nothing of the session is used again.
                        while session.round(now(), &|| false).is_ok_and(|round| round.has_more) {}
                    }
                    host.store.lock().expect("no panic").failure = None;
                }
                HostStep::Tidy => {
                    let mut session = host.session().expect("opened");
                    session.tidy(now(), true).expect("tidied");
                }
            }
        }
        for batch in &batches {
            if host.state(batch) == BatchState::Open && !host.written[&batch.name()].is_empty() {
                host.seal(batch);
            }
        }
        host.index();
        host.assert_whole();
    }
}
