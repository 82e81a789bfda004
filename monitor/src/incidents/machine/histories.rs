//! Generated histories: sources that flap, reports that fail to come, silences, restarts, clocks that are set, over days. What
//! people are told must be right in every one of them.
//!
//! `LOGFERRY_HISTORIES=100000` makes more than 10,000.

use std::collections::BTreeMap;

use super::tests::{at, condition};
use super::*;
use crate::incidents::condition::Severity;

/// What a ledger would have.
#[derive(Debug, Default, Clone)]
pub(super) struct Remembered {
    pub(super) incidents: Vec<Incident>,
    pub(super) silences: Vec<Silence>,
}

impl Remembered {
    /// One look, and what it leaves. The monitor may die before the record: then nothing is changed, and nothing told.
    pub(super) fn look(&mut self, observed: &Observation, hold: AlertHold, now: Timestamp) -> LookOutcome {
        let outcome = advance(&self.incidents, &self.silences, observed, hold, now);
        for update in &outcome.updates {
            let new = &update.incident;
            let is_same = |it: &Incident| {
                it.closed_at.is_none() && (&it.rule, &it.subject) == (&new.rule, &new.subject)
            };
            self.incidents.retain(|it| !is_same(it));
            if !update.is_dropped {
                self.incidents.push(new.clone());
            }
        }
        self.incidents.retain(|it| {
            it.closed_at
                .is_none_or(|closed| age(closed, now) <= RELAPSE_WINDOW)
        });
        outcome
    }
}

/// A small generator of numbers (xorshift), so that a seed names a history.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// What people believe, by the mails that they got.
#[derive(Debug, Default)]
struct MailReader {
    /// The severity of what they hold for open.
    open: BTreeMap<String, Severity>,
}

impl MailReader {
    fn read(&mut self, news: &News) -> Result<(), String> {
        let (subject, severity) = (news.incident.subject.clone(), news.incident.severity);
        let before = self.open.get(&subject).copied();
        let is_right = match news.kind {
            NewsKind::Opened => before.is_none(),
            NewsKind::Worse => before.is_some_and(|before| before < severity),
            NewsKind::StillOpen | NewsKind::Over => before.is_some(),
        };
        if !is_right {
            return Err(format!(
                "told {:?} of {subject} while they believed {before:?}",
                news.kind
            ));
        }
        match news.kind {
            NewsKind::Over => drop(self.open.remove(&subject)),
            NewsKind::Opened | NewsKind::Worse => drop(self.open.insert(subject, severity)),
            NewsKind::StillOpen => {}
        }
        Ok(())
    }
}

const SUBJECTS: [&str; 4] = ["a", "b", "c", "d"];

/// The truth at one look, as a history goes on.
struct TrueState {
    wrong: [Option<Severity>; 4],
    hidden: [bool; 4],
}

impl TrueState {
    fn go_on(&mut self, dice: &mut Dice) {
        for (wrong, hidden) in self.wrong.iter_mut().zip(&mut self.hidden) {
            if dice.one_in(4) {
                *wrong = match dice.roll(3) {
                    0 => None,
                    1 => Some(Severity::Warning),
                    _ => Some(Severity::Critical),
                };
            }
            if dice.one_in(10) {
                *hidden = !*hidden;
            }
        }
    }

    fn observed(&self) -> Observation {
        let mut observed = Observation::default();
        for ((subject, wrong), hidden) in SUBJECTS.iter().zip(self.wrong).zip(self.hidden) {
            if hidden {
                observed.unjudged.push(Unjudged {
                    rule: None,
                    subject: Some((*subject).to_owned()),
                });
            } else {
                observed
                    .conditions
                    .extend(wrong.map(|severity| condition(subject, severity)));
            }
        }
        observed
    }
}

/// Runs one history; an error names what was told wrongly.
fn run(seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let hold = AlertHold {
        firing: Duration::from_secs(dice.roll(3) * 90),
        clear: Duration::from_secs(dice.roll(3) * 120),
    };
    let (mut memory, mut reader) = (Remembered::default(), MailReader::default());
    let mut world = TrueState {
        wrong: [None; 4],
        hidden: [false; 4],
    };
    let mut second = 0_i64;
    for _ in 0..100 {
        second += 10 + i64::try_from(dice.roll(110)).unwrap_or(0);
        if dice.one_in(40) {
            // The host sleeps, or its clock is set forward, or back by less.
            second += i64::try_from(dice.roll(200_000)).unwrap_or(0) - 20_000;
        }
        world.go_on(&mut dice);
        if dice.one_in(15) {
            let subject = SUBJECTS[usize::try_from(dice.roll(4)).unwrap_or(0)].to_owned();
            memory.silences.retain(|it| it.subject != subject);
            memory.silences.push(Silence {
                subject,
                since: at(second),
                until: at(second + i64::try_from(dice.roll(3000)).unwrap_or(0)),
                why: String::new(),
            });
        }
        if dice.one_in(12) {
            // It dies before the transaction: what it wanted to tell is not told.
            memory.clone().look(&world.observed(), hold, at(second));
            second += 1;
        }
        let outcome = memory.look(&world.observed(), hold, at(second));
        for news in &outcome.news {
            reader
                .read(news)
                .map_err(|error| format!("seed {seed}: {error}"))?;
        }
        compare(&memory, &reader, at(second)).map_err(|error| format!("seed {seed}: {error}"))?;
    }
    settle(memory, reader, hold, second).map_err(|error| format!("seed {seed}: {error}"))
}

/// Readers hold for open what is seen and was not silenced, and nothing else.
fn compare(memory: &Remembered, reader: &MailReader, now: Timestamp) -> Result<(), String> {
    let open = memory.incidents.iter().filter(|it| it.is_open());
    let open: BTreeMap<_, _> = open.map(|it| (it.subject.as_str(), it)).collect();
    for subject in SUBJECTS {
        let is_silenced = memory.silences.iter().any(|it| it.holds_for(subject, now));
        match (open.get(subject), reader.open.get(subject)) {
            (None, Some(_)) => return Err(format!("{subject} is over, and nobody was told")),
            (Some(it), None) if !is_silenced && it.gone_since.is_none() => {
                return Err(format!("nobody was told of {subject}: {it:?}"));
            }
            (Some(it), Some(severity))
                if it.severity > *severity && !is_silenced && it.gone_since.is_none() =>
            {
                return Err(format!("nobody was told that {subject} is worse"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// When all is well for hours, everybody knows.
fn settle(mut memory: Remembered, mut reader: MailReader, hold: AlertHold, from: i64) -> Result<(), String> {
    for minute in 1..120 {
        let outcome = memory.look(&Observation::default(), hold, at(from + 60 * minute));
        outcome.news.iter().try_for_each(|news| reader.read(news))?;
    }
    let is_closed = memory.incidents.iter().all(|it| it.closed_at.is_some());
    if is_closed && reader.open.is_empty() {
        return Ok(());
    }
    Err(format!(
        "still open {:?}, believed {:?}",
        memory.incidents, reader.open
    ))
}

#[test]
fn in_ten_thousand_histories_each_alert_has_its_all_clear_and_nothing_is_told_twice_or_never() {
    let wanted = std::env::var("LOGFERRY_HISTORIES").ok();
    let histories = wanted.and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let wrong: Vec<_> = (1..=histories)
        .filter_map(|seed| run(seed).err())
        .take(5)
        .collect();
    assert_eq!(wrong, Vec::<String>::new());
}
