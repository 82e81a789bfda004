//! The source against a scripted `journalctl`, and against the real one with journals that `systemd-journal-remote` made.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use logferry_config::JournalSettings;
use serde_json::{Value, json};

use crate::capture::Position;
use crate::capture::testing::MemoryCapture;
use crate::source::journal::follow::follow;
use crate::source::journal::journalctl::Journalctl;
use crate::source::testing::{self, until};
use crate::source::{SourceContext, SourceError};

/// Shows the entries of `DIR/export` from the one with the cursor on, all if it is not there, and goes on for ever. With
/// `--lines=1` it shows the last one and ends, with a boot all of its entries. Each start to follow is written down.
const SCRIPT: &str = r#"#!/bin/sh
dir=$(dirname "$0") cursor= last= boot=
for arg; do
    case $arg in
        --cursor=*) cursor=${arg#--cursor=} ;;
        --lines=1) last=1 ;;
        _BOOT_ID=*) boot=${arg#_BOOT_ID=} ;;
    esac
done
[ -n "$last$boot" ] || echo "start $cursor" >> "$dir/starts"
[ ! -e "$dir/broken" ] || { echo "no journal today" >&2; exit 1; }
awk -v cursor="$cursor" -v last="$last" -v boot="$boot" 'BEGIN { RS = ""; ORS = "\n\n" }
    boot == "" || index($0, ";b=" boot ";") { all[++kept] = $0 }
    { if (cursor != "" && index($0, "__CURSOR=" cursor "\n")) from = NR }
    END { for (n = last ? NR : from ? from : 1; n <= kept; n++) print all[n] }' "$dir/export"
[ -n "$last$boot" ] || exec tail -n +1 -f "$dir/more"
"#;

/// For records of at most 64 KiB.
fn context(position: Option<Position>) -> (SourceContext, MemoryCapture) {
    let (mut context, kept) = testing::context(position);
    context.max_record = 64 << 10;
    (context, kept)
}

struct Journal {
    folder: tempfile::TempDir,
}

fn write(path: &Path, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test's file")]
    std::fs::write(path, text).expect("written");
}

fn entry(number: u32, unit: &str) -> String {
    let time = 1_795_227_600_000_000_u64 + u64::from(number) * 1_000_000;
    format!(
        "__CURSOR={}\n__REALTIME_TIMESTAMP={time}\nMESSAGE=entry {number}\nPRIORITY=6\n_SYSTEMD_UNIT={unit}\n\n",
        cursor(number)
    )
}

fn cursor(number: u32) -> String {
    format!(
        "s=aa;i={number:x};b=bb;m={number:x};t={:x};x={number:x}",
        1_795_227_600_000_000_u64 + u64::from(number) * 1_000_000
    )
}

impl Journal {
    fn new(numbers: std::ops::Range<u32>) -> Self {
        let journal = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        write(&journal.path("journalctl"), SCRIPT);
        write(&journal.path("more"), "");
        journal.has(numbers, "web.service");
        journal
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it has now.
    fn has(&self, numbers: std::ops::Range<u32>, unit: &str) {
        let entries: Vec<_> = numbers.map(|number| entry(number, unit)).collect();
        write(&self.path("export"), &entries.concat());
    }

    fn journalctl(&self) -> Journalctl {
        Journalctl {
            // Not the script itself: a file that was just written may be busy (execve(2), ETXTBSY) while another test forks.
            program: "/bin/sh".into(),
            args: vec![self.path("journalctl").into()],
        }
    }

    fn starts(&self) -> Vec<String> {
        let starts = std::fs::read_to_string(self.path("starts")).unwrap_or_default();
        starts.lines().map(|line| line.trim().to_owned()).collect()
    }
}

const TICK: Duration = Duration::from_millis(20);

/// Runs the source until `is_done`, then stops it.
async fn run(
    journalctl: &Journalctl,
    settings: &JournalSettings,
    (context, kept): &(SourceContext, MemoryCapture),
    is_done: impl Fn(&[Value]) -> bool,
) -> Result<(), SourceError> {
    let stop = async {
        until(|| is_done(&kept.records())).await;
        context.shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(follow(journalctl, settings, context, TICK), stop);
    ended
}

fn messages(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .filter_map(|record| record["message"].as_str())
        .collect()
}

fn position(number: u32) -> Position {
    json!({"cursor": cursor(number)})
}

#[tokio::test]
async fn restart_goes_on_after_the_durable_entry() {
    let journal = Journal::new(1..4);
    let settings = JournalSettings::default();
    let first = context(None);
    run(&journal.journalctl(), &settings, &first, |records| {
        records.len() == 3
    })
    .await
    .expect("stopped");
    assert_eq!(messages(&first.1.records()), ["entry 1", "entry 2", "entry 3"]);
    let position = first.0.capture.position();
    assert_eq!(position, Some(self::position(3)));

    journal.has(1..6, "web.service");
    let second = context(position);
    run(&journal.journalctl(), &settings, &second, |records| {
        records.len() == 2
    })
    .await
    .expect("stopped");
    assert_eq!(messages(&second.1.records()), ["entry 4", "entry 5"]);
    assert_eq!(
        journal.starts(),
        ["start".to_owned(), format!("start {}", cursor(3))]
    );
}

#[tokio::test]
async fn vacuumed_entries_are_a_named_gap_in_status_and_capture() {
    let journal = Journal::new(10..12);
    let world = context(Some(position(5)));
    run(
        &journal.journalctl(),
        &JournalSettings::default(),
        &world,
        |records| records.len() == 3,
    )
    .await
    .expect("stopped");
    let records = world.1.records();
    assert_eq!(records[0]["source"], "logferry");
    assert_eq!(records[0]["gap"]["missing_max"], 4);
    assert_eq!(records[0]["gap"]["after"], cursor(5));
    assert_eq!(messages(&records)[1..], ["entry 10", "entry 11"]);
    let report = world.0.status.report();
    assert_eq!(report.gaps, 1);
    let (_, text) = report.last_error.expect("told");
    assert!(
        text.starts_with("up to 4 entries between 2026-11-21T02:20:05Z and 2026-11-21T02:20:10Z"),
        "{text}"
    );
}

#[tokio::test]
async fn entries_of_a_boot_whose_clock_was_behind_are_a_gap_and_a_usual_restart_is_none() {
    let of_boot = |boot: &str, number: u32| {
        let text = entry(number, "web.service");
        text.replacen("s=aa", "s=dd", 1)
            .replacen("b=bb", &format!("b={boot}"), 1)
    };
    // A boot of which `journalctl` shows nothing may have hidden entries, too.
    let follows = r#"[ -n "$last$boot" ] || echo"#;
    let silent = SCRIPT.replace(follows, &format!("[ -z \"$boot\" ] || exit 1\n{follows}"));
    let cases = [
        (of_boot("cc", 2), SCRIPT, 1),
        (String::new(), SCRIPT, 0),
        (String::new(), &silent, 1),
    ];
    for (hidden, script, gaps) in cases {
        let journal = Journal::new(0..0);
        let of_the_same_boot = entry(6, "web.service");
        let entries = [
            hidden,
            entry(5, "web.service"),
            of_the_same_boot,
            of_boot("cc", 9),
        ]
        .concat();
        write(&journal.path("journalctl"), script);
        write(&journal.path("export"), &entries);
        let world = context(Some(position(5)));
        let is_done = |records: &[Value]| messages(records).contains(&"entry 9");
        run(
            &journal.journalctl(),
            &JournalSettings::default(),
            &world,
            is_done,
        )
        .await
        .expect("stopped");
        let report = world.0.status.report();
        assert_eq!(
            (report.gaps, world.1.records().len()),
            (gaps, 2 + usize::from(gaps > 0))
        );
        if gaps > 0 {
            // The gap stands where it is.
            assert_eq!(world.1.records()[1]["source"], "logferry");
            let (_, text) = report.last_error.expect("told");
            assert!(text.contains("the clock was behind"), "{text}");
        }
    }
}

#[tokio::test]
async fn other_units_entries_are_left_out_and_move_the_place() {
    let journal = Journal::new(0..0);
    let entries = [
        entry(1, "web.service"),
        entry(2, "db.service"),
        entry(3, "db.service"),
    ]
    .concat();
    write(&journal.path("export"), &entries);
    let settings = JournalSettings {
        units: vec!["web".to_owned()],
        matches: Vec::new(),
    };
    let world = context(None);
    let has_moved = |_: &[Value]| world.0.capture.position() == Some(position(3));
    run(&journal.journalctl(), &settings, &world, has_moved)
        .await
        .expect("stopped");
    assert_eq!(messages(&world.1.records()), ["entry 1"]);
}

#[tokio::test]
async fn entry_over_the_limit_is_still_of_its_unit_and_is_cut() {
    let journal = Journal::new(0..0);
    let long = format!("MESSAGE={}", "x".repeat(100_000));
    let other = entry(2, "db.service").replace("MESSAGE=entry 2", &long);
    let entries = [entry(1, "web.service").replace("MESSAGE=entry 1", &long), other];
    write(&journal.path("export"), &entries.concat());
    let settings = JournalSettings {
        units: vec!["web".to_owned()],
        matches: Vec::new(),
    };
    let world = context(None);
    let has_moved = |_: &[Value]| world.0.capture.position() == Some(position(2));
    run(&journal.journalctl(), &settings, &world, has_moved)
        .await
        .expect("stopped");
    let records = world.1.records();
    assert_eq!(
        (records.len(), &records[0]["_SYSTEMD_UNIT"]),
        (1, &"web.service".into())
    );
    assert!(records[0]["cut_bytes"].as_u64() > Some(30_000));
}

#[tokio::test]
async fn full_disk_holds_the_reader_and_loses_nothing() {
    let journal = Journal::new(1..4);
    let world = context(None);
    world.1.is_full.store(true, Ordering::Relaxed);
    let free = async {
        until(|| world.1.refusals.load(Ordering::Relaxed) > 2).await;
        world.1.is_full.store(false, Ordering::Relaxed);
    };
    let (journalctl, settings) = (journal.journalctl(), JournalSettings::default());
    let (ended, ()) = tokio::join!(
        run(&journalctl, &settings, &world, |records| records.len() == 3),
        free
    );
    ended.expect("stopped");
    assert_eq!(messages(&world.1.records()), ["entry 1", "entry 2", "entry 3"]);
}

#[tokio::test]
async fn journal_that_goes_on_earlier_is_read_from_its_beginning() {
    let journal = Journal::new(0..0);
    // Written after the journal was made anew and the clock was set back, in the same boot.
    let time = 1_795_227_500_000_000_u64;
    write(
        &journal.path("export"),
        &format!("__CURSOR=s=zz;i=1;b=bb;m=ffff;t={time:x};x=77\nMESSAGE=earlier\n\n"),
    );
    // Like the real one, it shows nothing at a place after the end.
    let script = SCRIPT.replace("from ? from : 1", "from ? from : cursor == \"\" ? 1 : NR + 1");
    write(&journal.path("journalctl"), &script);
    let world = context(Some(position(9)));
    run(
        &journal.journalctl(),
        &JournalSettings::default(),
        &world,
        |records| records.len() == 2,
    )
    .await
    .expect("stopped");
    assert_eq!(world.1.records()[0]["source"], "logferry");
    assert_eq!(world.1.records()[1]["message"], "earlier");
}

#[tokio::test]
async fn look_at_the_newest_entry_that_hangs_holds_up_no_stop() {
    let journal = Journal::new(0..0);
    let script = SCRIPT.replace(
        "[ -n \"$last$boot\" ] || echo",
        "[ -z \"$last\" ] || { echo > \"$dir/looks\"; exec sleep 30; }; echo",
    );
    write(&journal.path("journalctl"), &script);
    let world = context(Some(position(9)));
    let (journalctl, settings) = (journal.journalctl(), JournalSettings::default());
    let run = run(&journalctl, &settings, &world, |_| journal.path("looks").exists());
    let ended = tokio::time::timeout(Duration::from_secs(10), run).await;
    ended.expect("soon").expect("stopped");
}

#[tokio::test]
async fn journalctl_that_fails_is_an_error_with_its_words() {
    let journal = Journal::new(1..2);
    write(&journal.path("broken"), "");
    let (context, _kept) = testing::context(None);
    let error = follow(&journal.journalctl(), &JournalSettings::default(), &context, TICK)
        .await
        .expect_err("broken");
    assert_eq!(
        error.to_string(),
        "journalctl has ended (exit status: 1): no journal today; it is started again"
    );
    let missing = Journalctl {
        program: journal.path("no-such-program"),
        args: Vec::new(),
    };
    let error = follow(&missing, &JournalSettings::default(), &context, TICK)
        .await
        .expect_err("missing");
    assert!(error.to_string().contains("is systemd installed"), "{error}");
}

/// A folder of journals, made from text in the export format.
struct RealJournal {
    folder: tempfile::TempDir,
}

impl RealJournal {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Adds a file with these entries; `boot`: a hexadecimal digit.
    fn add_file(&self, name: &str, numbers: std::ops::Range<u32>, boot: &str) {
        let boot = boot.repeat(32);
        let entries: Vec<_> = numbers
            .map(|number| {
                let time = 1_795_227_600_000_000_u64 + u64::from(number) * 1_000_000;
                let text = "long ".repeat(2000);
                format!(
                    "__CURSOR=x\n__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={number}000000\n_BOOT_ID={boot}\n\
                     MESSAGE=entry {number}\nPRIORITY=4\nLONG={text}{number}\n\n"
                )
            })
            .collect();
        let export = self.folder.path().join("export.txt");
        write(&export, &entries.concat());
        let remote = Command::new("/lib/systemd/systemd-journal-remote")
            .arg("-o")
            .arg(self.folder.path().join(name))
            .arg(&export)
            .output()
            .expect("systemd-journal-remote of the Debian package of that name");
        assert!(
            remote.status.success(),
            "{}",
            String::from_utf8_lossy(&remote.stderr)
        );
        std::fs::remove_file(export).expect("removed");
    }

    fn journalctl(&self) -> Journalctl {
        Journalctl {
            program: "journalctl".into(),
            args: vec!["-D".into(), self.folder.path().into()],
        }
    }
}

#[tokio::test]
async fn real_journalctl_shows_every_entry_once_over_restarts_and_boots() {
    let journal = RealJournal::new();
    journal.add_file("first.journal", 1..11, "a");
    journal.add_file("second.journal", 11..21, "b");
    let settings = JournalSettings::default();
    let first = context(None);
    run(&journal.journalctl(), &settings, &first, |records| {
        records.len() == 20
    })
    .await
    .expect("stopped");
    let records = first.1.records();
    let expected: Vec<_> = (1..21).map(|number| format!("entry {number}")).collect();
    assert_eq!(messages(&records), expected);
    assert_eq!(records[4]["level"], "WARNING");
    assert_eq!(records[4]["LONG"].as_str().map(str::len), Some(10_001));
    assert_eq!(first.0.status.report().gaps, 0);

    // Killed after the fifth entry was durable: the rest of that boot, and the next boot, come again, and nothing else.
    let fifth = Some(json!({"cursor": records[4]["id"]}));
    let second = context(fifth);
    run(&journal.journalctl(), &settings, &second, |records| {
        records.len() == 15
    })
    .await
    .expect("stopped");
    assert_eq!(messages(&second.1.records()), expected[5..]);
    assert_eq!(second.0.status.report().gaps, 0);
}

#[tokio::test]
async fn real_journal_that_lost_its_oldest_file_has_a_gap() {
    let journal = RealJournal::new();
    journal.add_file("first.journal", 1..11, "a");
    journal.add_file("second.journal", 11..16, "b");
    let settings = JournalSettings::default();
    let first = context(None);
    run(&journal.journalctl(), &settings, &first, |records| {
        records.len() == 15
    })
    .await
    .expect("stopped");
    let fifth = Some(json!({"cursor": first.1.records()[4]["id"]}));
    std::fs::remove_file(journal.folder.path().join("first.journal")).expect("removed");
    let second = context(fifth);
    run(&journal.journalctl(), &settings, &second, |records| {
        records.len() == 6
    })
    .await
    .expect("stopped");
    let records = second.1.records();
    assert_eq!(second.0.status.report().gaps, 1);
    assert_eq!(records[0]["source"], "logferry");
    assert_eq!(records[0]["gap"]["missing_max"], Value::Null);
    assert_eq!(messages(&records)[1], "entry 11");
}
