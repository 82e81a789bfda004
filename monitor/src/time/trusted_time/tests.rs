//! The trusted time, and the hours that it lets pass, over histories of a clock that is set.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::summary::summary_schedule::{SummaryHour, due_hours};

const START: i64 = 1_790_002_800;
const AFTER: Duration = Duration::from_mins(15);

/// A host whose clock can be set, with senders elsewhere whose clocks are right, or none.
struct World {
    /// The true time, in seconds.
    now: i64,
    /// The error of this host's clock.
    offset: i64,
    boots: u32,
    booted_at: i64,
    has_senders: bool,
    clock: Option<ClockRecord>,
    /// The hours with a summary in the ledger.
    summarised: BTreeSet<SummaryHour>,
    /// Every mail: its hour, and the true time.
    mails: Vec<(SummaryHour, i64)>,
}

impl World {
    fn new(has_senders: bool) -> Self {
        Self {
            now: START,
            offset: 0,
            boots: 0,
            booted_at: START - 1000,
            has_senders,
            clock: None,
            summarised: BTreeSet::new(),
            mails: Vec::new(),
        }
    }

    /// The true time goes on, with a look each minute.
    fn run(&mut self, minutes: i64) {
        for _ in 0..minutes {
            self.now += 60;
            self.look();
        }
    }

    fn look(&mut self) {
        let second = |second| Timestamp::from_second(second).expect("in range");
        let reading = ClockReading {
            wall: second(self.now + self.offset),
            boot_id: format!("boot {}", self.boots),
            uptime: Duration::from_secs((self.now - self.booted_at).unsigned_abs()),
        };
        let senders = self.has_senders.then(|| second(self.now - 10));
        let advance = advance(self.clock.as_ref(), &reading, senders);
        if let Some(unreal) = advance.unreal_after {
            self.summarised.retain(|hour| hour.start() < unreal);
        }
        let trusted = advance.record.trusted;
        self.clock = Some(advance.record);
        let last = self.summarised.last().copied();
        for hour in due_hours(last, AFTER, &TimeZone::UTC, trusted).hours {
            if self.summarised.insert(hour) {
                self.mails.push((hour, self.now));
            }
        }
    }

    fn restart_host(&mut self) {
        self.boots += 1;
        self.booted_at = self.now;
    }

    /// How many mails each hour has that is over since the beginning.
    fn mails_by_real_hour(&self) -> Vec<usize> {
        let hours = (START..self.now - 3600 - 900).step_by(3600);
        let mails_of = |start| {
            self.mails
                .iter()
                .filter(|(hour, _)| hour.start().as_second() == start)
                .count()
        };
        hours.map(mails_of).collect()
    }

    fn mails_before_their_hour_was_over(&self) -> usize {
        let early = |(hour, at): &&(SummaryHour, i64)| hour.end().as_second() > *at;
        self.mails.iter().filter(early).count()
    }
}

const DAY: i64 = 86_400;

#[test]
fn a_clock_set_forward_by_a_day_and_back_mails_each_real_hour_once_and_no_other() {
    for has_senders in [true, false] {
        let mut world = World::new(has_senders);
        world.run(90);
        world.offset = DAY;
        world.run(50);
        world.offset = 0;
        world.run(600);
        assert!(world.mails_by_real_hour().iter().all(|mails| *mails == 1));
        assert_eq!(world.mails_before_their_hour_was_over(), 0);
    }
}

#[test]
fn a_clock_wrong_for_days_delays_no_summary_while_senders_have_the_right_time() {
    let mut world = World::new(true);
    world.run(5);
    for offset in [DAY, -3 * DAY, 40 * DAY, 0] {
        world.offset = offset;
        world.run(2000);
        let newest = world.mails.last().expect("mails").0;
        assert!(
            world.now - newest.end().as_second() < 3600 + 900 + 300,
            "{offset}"
        );
    }
    assert!(world.mails_by_real_hour().iter().all(|mails| *mails == 1));
    assert_eq!(world.mails_before_their_hour_was_over(), 0);
}

#[test]
fn without_senders_hours_that_never_were_are_forgotten_when_the_clock_is_set_back() {
    let mut world = World::new(false);
    world.run(90);
    world.offset = DAY;
    world.run(200);
    assert!(
        world.mails_before_their_hour_was_over() > 0,
        "nothing disagrees with the clock"
    );
    world.offset = 0;
    world.run(2000);
    let real = world
        .mails
        .iter()
        .filter(|(hour, at)| hour.end().as_second() <= *at);
    let mut real: Vec<_> = real.map(|(hour, _)| *hour).collect();
    real.dedup();
    let hours = world.mails_by_real_hour().len();
    assert!(real.len() >= hours, "{} of {hours}", real.len());
}

#[test]
fn a_clock_that_a_boot_set_wrong_is_not_believed_against_the_senders() {
    let mut world = World::new(true);
    world.run(90);
    world.now += 5 * 3600;
    world.restart_host();
    world.offset = 2 * DAY;
    world.run(120);
    world.offset = 0;
    world.run(300);
    assert!(world.mails_by_real_hour().iter().all(|mails| *mails == 1));
    assert_eq!(world.mails_before_their_hour_was_over(), 0);
}

#[test]
fn without_senders_a_clock_that_was_right_is_believed_an_hour_after_a_boot() {
    let mut world = World::new(false);
    world.run(90);
    world.now += 5 * 3600;
    world.restart_host();
    world.run(62);
    assert!(world.mails_by_real_hour().iter().all(|mails| *mails == 1));
}

#[test]
fn a_time_beyond_the_last_or_before_the_first_is_that_one() {
    for (time, millis) in [(Timestamp::MAX, 1), (Timestamp::MIN, -1)] {
        assert_eq!(later(time, millis), time);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However the clock is set, and whenever the monitor or the host is off (for less than a day), each real hour gets one
    /// mail, and no other hour gets any.
    #[test]
    fn each_real_hour_is_mailed_once_over_any_history_of_clock_steps(
        steps in prop::collection::vec((-40 * DAY..40 * DAY, 1_i64..400, 0_i64..600, any::<bool>()), 1..12),
    ) {
        let mut world = World::new(true);
        world.run(5);
        for (offset, minutes, off, boots) in steps {
            // After a boot, a clock that is behind is believed until it is right: hours older than a day get no mail.
            world.offset = if boots { offset.abs() } else { offset };
            world.now += off * 60;
            if boots {
                world.restart_host();
            }
            world.run(minutes);
        }
        world.offset = 0;
        world.run(200);
        prop_assert_eq!(world.mails_before_their_hour_was_over(), 0);
        let mails = world.mails_by_real_hour();
        prop_assert!(mails.iter().all(|mails| *mails == 1), "{:?}", mails);
    }
}
