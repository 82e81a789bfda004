//! Whatever the server answers: each document is in its index once, or refused once.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    max: Duration::from_mins(1),
};

/// What the server does with a request.
#[derive(Debug, Clone)]
enum ServerAct {
    /// It stores all that it wants, and each document whose number has this remainder (of 4) gets the status instead.
    BulkAnswer { busy: Option<(usize, u16)> },
    /// It stores all, and its answer is lost or not readable.
    LoseAnswer,
    /// It answers for other documents.
    AnswerForOthers,
    /// It takes nothing.
    Refuse(u16),
    /// It takes nothing, and says that the request is too large. So may a proxy before it, at any time.
    CallTooLarge,
}

fn act() -> impl Strategy<Value = ServerAct> {
    let busy = (
        0..4_usize,
        prop_oneof![Just(429_u16), Just(503), Just(403), Just(404)],
    );
    prop_oneof![
        3 => proptest::option::of(busy).prop_map(|busy| ServerAct::BulkAnswer { busy }),
        2 => Just(ServerAct::LoseAnswer),
        1 => Just(ServerAct::AnswerForOthers),
        2 => prop_oneof![Just(429_u16), Just(503), Just(401), Just(400), Just(301)].prop_map(ServerAct::Refuse),
        1 => Just(ServerAct::CallTooLarge),
    ]
}

/// The server: an index, and what it does not want.
struct ServerModel {
    index: BTreeSet<String>,
    unwanted: Vec<bool>,
    sizes: Vec<usize>,
    max_bytes: usize,
    /// Documents that were called too large alone.
    called_too_large: BTreeSet<usize>,
}

impl ServerModel {
    fn item(&mut self, number: usize, busy: Option<(usize, u16)>) -> ItemAnswer {
        let id = format!("id{number}");
        let status = match busy {
            Some((remainder, status)) if number % 4 == remainder => status,
            _ if self.unwanted[number] => 400,
            _ if self.index.insert(id.clone()) => 201,
            _ => 409,
        };
        ItemAnswer {
            id,
            status,
            kind: "some_exception".to_owned(),
            reason: "because".to_owned(),
        }
    }

    fn answer(&mut self, sent: &[usize], act: &ServerAct) -> BulkAnswer {
        let bytes = sent.iter().map(|number| self.sizes[*number]).sum::<usize>();
        if bytes > self.max_bytes || matches!(act, ServerAct::CallTooLarge) {
            if let [number] = sent {
                self.called_too_large.insert(*number);
            }
            return BulkAnswer::Refused {
                status: 413,
                retry_after: None,
                reason: String::new(),
            };
        }
        match act {
            ServerAct::CallTooLarge => unreachable!("answered above"),
            ServerAct::Refuse(status) => BulkAnswer::Refused {
                status: *status,
                retry_after: Some(Duration::from_secs(7)),
                reason: "busy".to_owned(),
            },
            ServerAct::BulkAnswer { busy } => {
                BulkAnswer::Items(sent.iter().map(|number| self.item(*number, *busy)).collect())
            }
            ServerAct::LoseAnswer | ServerAct::AnswerForOthers => {
                let mut items: Vec<_> = sent.iter().map(|number| self.item(*number, None)).collect();
                if matches!(act, ServerAct::LoseAnswer) {
                    return BulkAnswer::Lost {
                        reason: "it broke".to_owned(),
                    };
                }
                items.rotate_left(1);
                items.truncate(sent.len() - usize::from(sent.len() == 1));
                BulkAnswer::Items(items)
            }
        }
    }
}

proptest! {
    #[test]
    fn each_document_is_in_the_index_once_or_refused_once(
        documents in proptest::collection::vec((1..100_usize, proptest::bool::weighted(0.1)), 1..40),
        acts in proptest::collection::vec(act(), 0..20),
        max_bytes in 20..2000_usize,
        server_max in 20..2000_usize,
    ) {
        let mut server = ServerModel {
            index: BTreeSet::new(),
            unwanted: documents.iter().map(|(_, unwanted)| *unwanted).collect(),
            sizes: documents.iter().map(|(size, _)| *size).collect(),
            max_bytes: server_max,
            called_too_large: BTreeSet::new(),
        };
        let mut delivery = BulkDelivery::new(max_bytes, BACKOFF);
        for (number, (size, _)) in documents.iter().enumerate() {
            delivery.add(format!("id{number}"), *size);
        }
        let mut acts = acts.into_iter();
        let mut steps = 0;
        loop {
            steps += 1;
            prop_assert!(steps < 1000, "it does not end");
            match delivery.step() {
                BulkStep::Done => break,
                BulkStep::Wait { time, reason } => {
                    prop_assert!(time >= BACKOFF.initial && !reason.is_empty());
                    delivery.waited();
                }
                BulkStep::Ask(number) => {
                    let answer = match acts.next() {
                        Some(ServerAct::LoseAnswer) => DocumentAnswer::Lost { reason: "it broke".to_owned() },
                        _ if server.index.contains(&format!("id{number}")) => DocumentAnswer::There,
                        _ => DocumentAnswer::Absent,
                    };
                    delivery.asked(answer);
                }
                BulkStep::Send(sent) => {
                    let bytes: usize = sent.iter().map(|number| documents[*number].0).sum();
                    prop_assert!(sent.len() == 1 || bytes <= max_bytes);
                    let act = acts.next().unwrap_or(ServerAct::BulkAnswer { busy: None });
                    let answer = server.answer(&sent, &act);
                    delivery.answered(answer);
                }
            }
        }
        let counts = delivery.take_counts();
        let refused: BTreeSet<_> = counts.refused.iter().map(|item| item.number).collect();
        prop_assert_eq!(refused.len(), counts.refused.len(), "refused once");
        for (number, (size, unwanted)) in documents.iter().enumerate() {
            let is_refused = refused.contains(&number);
            prop_assert_eq!(server.index.contains(&format!("id{number}")), !is_refused);
            prop_assert!(is_refused || !*unwanted && *size <= server_max);
            prop_assert!(!is_refused || *unwanted || server.called_too_large.contains(&number));
        }
        prop_assert_eq!(counts.stored + counts.repeated, server.index.len() as u64);
        prop_assert_eq!(delivery.step(), BulkStep::Done);
    }
}

fn delivery(documents: usize) -> BulkDelivery {
    let mut delivery = BulkDelivery::new(1000, BACKOFF);
    for number in 0..documents {
        delivery.add(number.to_string(), 10);
    }
    delivery
}

fn items(statuses: &[(usize, u16, &str)]) -> BulkAnswer {
    let item = |(id, status, kind): &(usize, u16, &str)| ItemAnswer {
        id: id.to_string(),
        status: *status,
        kind: (*kind).to_owned(),
        reason: "why".to_owned(),
    };
    BulkAnswer::Items(statuses.iter().map(item).collect())
}

#[test]
fn only_what_is_busy_is_sent_again_and_what_is_refused_is_set_aside() {
    let mut delivery = delivery(5);
    assert_eq!(delivery.step(), BulkStep::Send(vec![0, 1, 2, 3, 4]));
    delivery.answered(items(&[
        (0, 201, ""),
        (1, 429, "es_rejected_execution_exception"),
        (2, 400, "mapper_parsing_exception"),
        (3, 409, "version_conflict_engine_exception"),
        (4, 400, "index_closed_exception"),
    ]));
    let BulkStep::Wait { time, reason } = delivery.step() else {
        panic!("it waits")
    };
    assert_eq!(time, BACKOFF.initial);
    assert_eq!(reason, "it answers to documents with status 429: why");
    delivery.waited();
    assert_eq!(delivery.step(), BulkStep::Send(vec![1, 4]));
    delivery.answered(items(&[(1, 201, ""), (4, 201, "")]));
    assert_eq!(delivery.step(), BulkStep::Done);
    let counts = delivery.take_counts();
    assert_eq!((counts.stored, counts.repeated), (3, 1));
    let refused = RefusedItem {
        number: 2,
        status: 400,
        reason: "why".to_owned(),
    };
    assert_eq!(counts.refused, [refused]);
}

#[test]
fn waits_grow_while_nothing_is_taken_and_a_server_may_ask_for_longer_ones() {
    let mut delivery = delivery(1);
    let mut wait_after = |retry_after: Option<u64>| {
        assert_eq!(delivery.step(), BulkStep::Send(vec![0]));
        delivery.answered(BulkAnswer::Refused {
            status: 429,
            retry_after: retry_after.map(Duration::from_secs),
            reason: "busy".to_owned(),
        });
        let BulkStep::Wait { time, .. } = delivery.step() else {
            panic!("it waits")
        };
        delivery.waited();
        time.as_secs()
    };
    let waits = [None, None, None, Some(30), Some(86_400)].map(&mut wait_after);
    assert_eq!(waits, [1, 2, 4, 30, 300]);
}

#[test]
fn document_that_is_too_large_alone_is_refused_only_if_the_index_has_not_got_it() {
    let too_large = || BulkAnswer::Refused {
        status: 413,
        retry_after: None,
        reason: String::new(),
    };
    let lost = || DocumentAnswer::Lost {
        reason: "status 503".to_owned(),
    };
    for (answer, repeated, told) in [
        (DocumentAnswer::There, 1, None),
        (DocumentAnswer::Absent, 0, Some("is too large for the server")),
        (DocumentAnswer::Forbidden, 0, Some("may not read")),
    ] {
        let mut delivery = delivery(1);
        assert_eq!(delivery.step(), BulkStep::Send(vec![0]));
        delivery.answered(BulkAnswer::Lost {
            reason: "it broke".to_owned(),
        });
        delivery.waited();
        assert_eq!(delivery.step(), BulkStep::Send(vec![0]));
        delivery.answered(too_large());
        assert_eq!(delivery.step(), BulkStep::Ask(0));
        delivery.asked(lost());
        assert!(
            matches!(delivery.step(), BulkStep::Wait { .. }),
            "nothing is decided"
        );
        delivery.waited();
        assert_eq!(delivery.step(), BulkStep::Ask(0));
        delivery.asked(answer);
        assert_eq!(delivery.step(), BulkStep::Done);
        let counts = delivery.take_counts();
        assert_eq!(counts.repeated, repeated);
        let reason = counts.refused.first().map(|item| item.reason.as_str());
        assert_eq!(reason.is_some(), told.is_some(), "{reason:?}");
        assert!(told.is_none_or(|told| reason.is_some_and(|reason| reason.contains(told))));
    }
}
