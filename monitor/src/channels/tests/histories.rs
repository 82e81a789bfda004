//! Generated histories: incidents that begin and end, a channel that fails in every way, a monitor that dies at every step. In each
//! of them people believe in the end what is true, and are told of each incident once.
//!
//! `LOGFERRY_HISTORIES=10000` makes more than 40.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use logferry_http_client::HttpError;
use logferry_ledger::AlertEventKind;
use tokio::sync::Notify;

use super::super::alert_message::AlertMessage;
use super::super::channel_outbox::{ChannelOutbox, PassEnd};
use super::super::delivery::MessageTransport;
use super::event;
use crate::channel_error::ChannelError;
use crate::tests::settings::MonitoredHost as _;
use logferry_testkit::relay_host::RelayHost;

/// A small generator of numbers (xorshift), so that a seed names a history.
#[derive(Debug)]
struct HistoryDice(u64);

impl HistoryDice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What becomes of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Taken,
    NotTaken,
    /// It answers with an error and has kept the message, or not.
    ServerError {
        kept: bool,
    },
    /// The answer is missing, and it has the message, or not.
    NoAnswer {
        kept: bool,
    },
    /// The monitor dies meanwhile, and the other side has the message, or not.
    Crash {
        kept: bool,
    },
}

/// People at the end of a channel that can tell a repeat by its id.
#[derive(Debug, Default)]
struct People {
    messages: BTreeMap<String, AlertMessage>,
    /// What they believe of each incident: whether it is open.
    believed: BTreeMap<String, bool>,
    /// How often they were told that it is new.
    begun: BTreeMap<String, usize>,
    copies: usize,
}

impl People {
    fn read(&mut self, message: &AlertMessage) {
        if let Some(known) = self.messages.get(&message.id) {
            assert_eq!(known, message, "a repeat is the same");
            self.copies += 1;
            return;
        }
        self.messages.insert(message.id.clone(), message.clone());
        for item in &message.items {
            let incident = item.last.incident.clone();
            if item.is_new {
                *self.begun.entry(incident.clone()).or_default() += 1;
            }
            let is_open = item.until().is_none();
            let before = self.believed.insert(incident.clone(), is_open);
            assert!(!(before == Some(false) && is_open), "{incident} was over");
        }
    }
}

#[derive(Debug, Clone)]
struct FaultyTransport {
    next: Arc<Mutex<Attempt>>,
    people: Arc<Mutex<People>>,
    crash: Arc<Notify>,
}

impl MessageTransport for FaultyTransport {
    async fn deliver(&self, message: &AlertMessage) -> Result<(), ChannelError> {
        let attempt = *self.next.lock().expect("no panic");
        let (kept, error) = match attempt {
            Attempt::Taken => (true, None),
            Attempt::NotTaken => (false, Some(ChannelError::Start("absent".to_owned()))),
            Attempt::ServerError { kept } => (kept, Some(ChannelError::Ended("1".to_owned()))),
            Attempt::NoAnswer { kept } | Attempt::Crash { kept } => {
                let error = HttpError::TimedOut {
                    host: String::new(),
                    limit: std::time::Duration::ZERO,
                    was_sent: true,
                };
                (kept, Some(error.into()))
            }
        };
        if kept {
            self.people.lock().expect("no panic").read(message);
        }
        if matches!(attempt, Attempt::Crash { .. }) {
            self.crash.notify_one();
            std::future::pending::<()>().await;
        }
        error.map_or(Ok(()), Err)
    }
}

fn attempt(dice: &mut HistoryDice, lost_in_a_row: &mut u32) -> Attempt {
    // After three attempts without an answer a message counts as sent: the third must have arrived.
    let kept = dice.roll(2) == 0 || *lost_in_a_row >= 2;
    let attempt = match dice.roll(8) {
        0..3 => Attempt::Taken,
        3 | 4 => Attempt::NotTaken,
        5 => Attempt::ServerError {
            kept: dice.roll(2) == 0,
        },
        6 => Attempt::NoAnswer { kept },
        _ => Attempt::Crash { kept },
    };
    match attempt {
        Attempt::NoAnswer { kept: false } | Attempt::Crash { kept: false } => *lost_in_a_row += 1,
        Attempt::Taken => *lost_in_a_row = 0,
        _ => {}
    }
    attempt
}

async fn history(seed: u64) {
    let mut dice = HistoryDice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut host = RelayHost::new();
    let config = host.config(1);
    let transport = FaultyTransport {
        next: Arc::new(Mutex::new(Attempt::Taken)),
        people: Arc::default(),
        crash: Arc::default(),
    };
    let mut outbox = ChannelOutbox::new(&config, "chat", transport.clone());
    let mut open: BTreeMap<&str, i64> = BTreeMap::new();
    let mut truth: BTreeMap<String, bool> = BTreeMap::new();
    let mut lost_in_a_row = 0;
    for step in 0..30 {
        if dice.roll(2) == 0 {
            let subject = ["a", "b", "c"][usize::try_from(dice.roll(3)).expect("small")];
            let (kind, since) = match open.remove(subject) {
                None => (AlertEventKind::Began, step),
                Some(since) if dice.roll(4) == 0 => (AlertEventKind::Reminder, since),
                Some(since) => (AlertEventKind::Over, since),
            };
            if kind != AlertEventKind::Over {
                open.insert(subject, since);
            }
            let event = event(subject, kind, (since, step));
            truth.insert(event.incident.clone(), kind != AlertEventKind::Over);
            let queued = host
                .ledger
                .queue_alert_events(&[("chat".to_owned(), event)], Timestamp::now());
            queued.expect("queued");
        }
        *transport.next.lock().expect("no panic") = attempt(&mut dice, &mut lost_in_a_row);
        tokio::select! {
            passed = outbox.pass(Timestamp::MAX) => drop(passed.expect("the ledger works")),
            () = transport.crash.notified() => outbox = ChannelOutbox::new(&config, "chat", transport.clone()),
        }
    }
    *transport.next.lock().expect("no panic") = Attempt::Taken;
    while !matches!(
        outbox.pass(Timestamp::MAX).await.expect("the ledger works"),
        PassEnd::Idle
    ) {}
    let people = transport.people.lock().expect("no panic");
    assert_eq!(people.believed, truth, "seed {seed}: people believe what is true");
    for (incident, times) in &people.begun {
        assert_eq!(*times, 1, "seed {seed}: {incident}");
    }
}

#[tokio::test]
async fn in_every_history_people_are_told_all_and_nothing_twice() {
    let histories = std::env::var("LOGFERRY_HISTORIES").ok();
    let histories = histories.and_then(|number| number.parse().ok()).unwrap_or(40);
    for seed in 1..=histories {
        history(seed).await;
    }
}
