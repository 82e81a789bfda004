//! A journal that is written, vacuumed and read, with the reader killed at any time.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::source::journal::cursor::JournalCursor;
use crate::source::journal::resume::{EntryVerdict, JournalResume, QuietJournal};

fn cursor(sequence: &str, number: u64, boot: &str, time: u64) -> JournalCursor {
    let hash = number + time;
    JournalCursor::parse(&format!(
        "s={sequence};i={number:x};b={boot};m={time:x};t={time:x};x={hash:x}"
    ))
}

#[test]
fn last_entry_itself_is_not_taken_twice() {
    let (first, second) = (cursor("a", 9, "b", 90), cursor("a", 10, "b", 91));
    let mut resume = JournalResume::new(Some(first.clone()));
    assert_eq!(resume.start().map(JournalCursor::as_str), Some(first.as_str()));
    assert_eq!(resume.entry(&first), EntryVerdict::Known);
    assert_eq!(resume.entry(&second), EntryVerdict::New);
    assert_eq!(resume.last(), Some(&second));
}

#[test]
fn vacuumed_entries_are_a_gap_with_its_ends_and_size() {
    let (last, next) = (cursor("a", 9, "b", 90), cursor("a", 0x20, "b", 200));
    let mut resume = JournalResume::new(Some(last.clone()));
    resume.start();
    let EntryVerdict::NewAfterGap(gap) = resume.entry(&next) else {
        panic!("no gap");
    };
    assert_eq!(
        (gap.after.as_str(), gap.before.as_str()),
        (last.as_str(), next.as_str())
    );
    assert_eq!((gap.from, gap.until), (last.time(), next.time()));
    assert_eq!(gap.missing_max, Some(22));
}

#[test]
fn gap_of_nothing_is_none() {
    let mut resume = JournalResume::new(Some(cursor("a", 9, "b", 90)));
    resume.start();
    assert_eq!(resume.entry(&cursor("a", 10, "b", 91)), EntryVerdict::New);
}

#[test]
fn gap_over_a_new_run_of_numbers_has_no_size() {
    let mut resume = JournalResume::new(Some(cursor("a", 9, "b", 90)));
    resume.start();
    let EntryVerdict::NewAfterGap(gap) = resume.entry(&cursor("z", 1, "c", 300)) else {
        panic!("no gap");
    };
    assert_eq!(gap.missing_max, None);
}

#[test]
fn first_entry_of_another_boot_may_have_hidden_ones_before_it_if_only_the_clock_orders_them() {
    let last = cursor("a", 9, "b", 90);
    let is_asked = |next: &[JournalCursor]| -> Vec<bool> {
        let mut resume = JournalResume::new(Some(last.clone()));
        resume.start();
        assert_eq!(resume.entry(&last), EntryVerdict::Known);
        let verdicts = next.iter().map(|next| resume.entry(next));
        verdicts
            .map(|verdict| matches!(verdict, EntryVerdict::NewAfterBoot(_)))
            .collect()
    };
    let other = [cursor("z", 5, "c", 300), cursor("y", 1, "d", 400)];
    assert_eq!(is_asked(&other), [true, true]);
    let later = [
        cursor("a", 10, "b", 91),
        cursor("z", 5, "c", 300),
        cursor("y", 6, "c", 400),
    ];
    assert_eq!(is_asked(&later), [false, true, false], "a boot is asked for once");
    assert_eq!(is_asked(&[cursor("a", 10, "c", 300)]), [false], "numbers go on");
    assert_eq!(is_asked(&[cursor("z", 5, "b", 300)]), [false], "the same boot");
}

#[test]
fn copy_of_the_last_entry_in_another_file_is_not_taken_twice() {
    let last = JournalCursor::parse("s=run;i=9;b=b;m=5a;t=5a;x=c0ffee");
    let copy = JournalCursor::parse("s=var;i=2;b=b;m=5a;t=5a;x=c0ffee");
    let mut resume = JournalResume::new(Some(last));
    resume.start();
    assert_eq!(resume.entry(&copy), EntryVerdict::Known);
    assert_eq!(resume.entry(&cursor("var", 3, "b", 99)), EntryVerdict::New);
}

#[test]
fn journal_that_goes_on_at_an_earlier_time_is_read_from_its_beginning() {
    let last = cursor("a", 9, "b", 900);
    let older = cursor("z", 1, "b", 100);
    let resume = JournalResume::new(Some(last.clone()));
    assert_eq!(resume.silence(None), QuietJournal::Wait);
    assert_eq!(resume.silence(Some(&last)), QuietJournal::Wait);
    assert_eq!(
        resume.silence(Some(&cursor("a", 10, "b", 901))),
        QuietJournal::Wait
    );
    assert_eq!(resume.silence(Some(&older)), QuietJournal::FromBeginning);
}

#[test]
fn restored_backup_of_a_journal_doubles_nothing() {
    let mut resume = JournalResume::new(Some(cursor("a", 9, "b", 900)));
    resume.start();
    for number in 5..8 {
        assert_eq!(
            resume.entry(&cursor("a", number, "b", number * 100)),
            EntryVerdict::Known
        );
    }
    assert_eq!(resume.entry(&cursor("a", 8, "c", 2000)), EntryVerdict::Known);
    assert!(matches!(
        resume.entry(&cursor("z", 1, "c", 2001)),
        EntryVerdict::NewAfterGap(_)
    ));
}

#[derive(Debug, Clone)]
enum Act {
    Write(u8),
    /// The oldest entries are deleted.
    Vacuum(u8),
    /// The host starts again.
    Reboot,
    /// The next file has numbers of its own, as after the journal's folder was made anew.
    NewNumbers,
    /// The reader takes so many entries and makes them durable.
    Read(u8),
    /// `journalctl` ends, and is started again.
    ChildEnds,
    /// The collector is killed after it took so many entries that were not durable.
    Killed(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    vec(
        prop_oneof![
            4 => (1..6_u8).prop_map(Act::Write),
            1 => (1..9_u8).prop_map(Act::Vacuum),
            1 => Just(Act::Reboot),
            1 => Just(Act::NewNumbers),
            4 => (1..9_u8).prop_map(Act::Read),
            1 => Just(Act::ChildEnds),
            1 => (0..4_u8).prop_map(Act::Killed),
        ],
        0..60,
    )
}

/// The journal, its reader, and what came of it. Entries are numbered from 0 in the order in which they were written.
struct World {
    written: Vec<JournalCursor>,
    vacuumed: usize,
    numbers: (u32, u64),
    boot: u32,
    resume: JournalResume,
    /// The next entry that the running `journalctl` shows, or none while it is not running.
    shown: Option<usize>,
    durable: Vec<usize>,
    /// The ranges that are reported as gaps.
    gaps: Vec<(JournalCursor, JournalCursor)>,
}

impl World {
    fn new() -> Self {
        Self {
            written: Vec::new(),
            vacuumed: 0,
            numbers: (0, 0),
            boot: 0,
            resume: JournalResume::new(None),
            shown: None,
            durable: Vec::new(),
            gaps: Vec::new(),
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Write(count) => {
                for _ in 0..*count {
                    self.numbers.1 += 1;
                    let time = 10 * (self.written.len() as u64 + 1);
                    let (run, number) = self.numbers;
                    let boot = format!("boot{}", self.boot);
                    self.written
                        .push(cursor(&format!("run{run}"), number, &boot, time));
                }
            }
            Act::Vacuum(count) => {
                self.vacuumed = (self.vacuumed + usize::from(*count)).min(self.written.len());
                self.shown = self.shown.map(|shown| shown.max(self.vacuumed));
            }
            Act::Reboot => {
                self.boot += 1;
                self.shown = None;
            }
            Act::NewNumbers => self.numbers = (self.numbers.0 + 1, 0),
            Act::Read(count) => {
                let (read, gaps) = self.read(usize::from(*count));
                self.durable.extend(read);
                self.gaps.extend(gaps);
            }
            Act::ChildEnds => self.shown = None,
            Act::Killed(count) => {
                let durable = self.resume.last().cloned();
                self.read(usize::from(*count));
                self.resume = JournalResume::new(durable);
                self.shown = None;
            }
        }
    }

    /// What is taken of the next entries, and the gaps before them.
    fn read(&mut self, count: usize) -> (Vec<usize>, Vec<(JournalCursor, JournalCursor)>) {
        let (mut taken, mut gaps) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let at = self.shown.unwrap_or_else(|| {
                let start = self.resume.start().cloned();
                let found = start.map_or(0, |start| {
                    let is_there = self.written.iter().position(|written| *written == start);
                    is_there.unwrap_or(self.written.len())
                });
                found.max(self.vacuumed)
            });
            self.shown = Some(at);
            let Some(cursor) = self.written.get(at) else { break };
            self.shown = Some(at + 1);
            let last = self.resume.last().cloned();
            match self.resume.entry(cursor) {
                EntryVerdict::Known => {}
                EntryVerdict::New | EntryVerdict::NewAfterBoot(_) => taken.push(at),
                EntryVerdict::NewAfterGap(gap) => {
                    let last = last.expect("a gap is after an entry");
                    assert_eq!((&*gap.after, &*gap.before), (last.as_str(), cursor.as_str()));
                    gaps.push((last, cursor.clone()));
                    taken.push(at);
                }
            }
        }
        (taken, gaps)
    }
}

proptest! {
    /// What is durable is every entry once and in order, but for those that were vacuumed, which lie in a gap. A vacuum that
    /// overtakes a running `journalctl` is not part of this: it keeps the files that it has open.
    #[test]
    fn no_entry_is_doubled_and_none_is_missing_without_a_gap(acts in acts()) {
        let mut world = World::new();
        for act in &acts {
            if matches!(act, Act::Vacuum(_)) {
                world.shown = None;
            }
            world.act(act);
        }
        // The reader comes to the end.
        world.act(&Act::Write(1));
        world.act(&Act::Read(255));
        world.act(&Act::Read(255));
        prop_assert!(world.durable.is_sorted_by(|one, next| one < next), "{:?}", world.durable);
        let oldest_read = world.durable.first().copied().unwrap_or_default();
        for (number, cursor) in world.written.iter().enumerate().skip(oldest_read) {
            let is_durable = world.durable.contains(&number);
            let in_gap = world.gaps.iter().any(|(after, before)| {
                let place = |wanted| world.written.iter().position(|written| written == wanted);
                place(after) < Some(number) && Some(number) < place(before)
            });
            prop_assert!(is_durable != in_gap, "entry {number} ({}): durable {is_durable}, in a gap {in_gap}", cursor.as_str());
        }
    }
}
