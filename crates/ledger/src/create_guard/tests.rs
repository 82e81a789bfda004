//! Lost and damaged ledgers.

use jiff::Timestamp;

use super::*;
use crate::Ledger;
use crate::tests::{TestResult, ledger};

const PAGE: usize = 4096;

/// A data folder with a cleanly closed ledger of 300 sources, and one file in the spool.
fn data_dir() -> Result<tempfile::TempDir, Box<dyn std::error::Error>> {
    let (dir, mut ledger) = ledger()?;
    for number in 0..300 {
        let source = format!("host-{number}").parse()?;
        ledger.note_contact(&source, &"web-1".parse()?, Timestamp::UNIX_EPOCH)?;
    }
    let folder = dir.path().join("ready/host-1");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("a.log"), "a line\n")?;
    Ok(dir)
}

/// No role opens the ledger, and its file stays unchanged. Returns the relay's message.
fn assert_refused(dir: &Path, damage: &str) -> String {
    let path = dir.join(FILE_NAME);
    let before = fs::read(&path).ok();
    let error = Ledger::open_or_create(dir).expect_err(damage);
    assert!(
        matches!(error, LedgerError::Damaged { .. } | LedgerError::Lost { .. }),
        "{damage}: {error:?}"
    );
    assert!(fs::read(&path).ok() == before, "{damage}: the file was changed");
    let message = error.to_string();
    assert!(
        message.contains("backup") && message.contains("fsck --rebuild"),
        "{message}"
    );
    message
}

#[test]
fn no_new_ledger_is_created_beside_a_spool() -> TestResult {
    let dir = data_dir()?;
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path)?;
    // Every role and command says the same, whether it may make a ledger or not.
    let is_missing = |told: &str| {
        [Ledger::open(dir.path()), Ledger::open_read_only(dir.path())]
            .into_iter()
            .all(|opened| matches!(opened, Err(error @ LedgerError::Missing { .. }) if error.to_string() == told))
    };
    for blank in [None, Some(Vec::new())] {
        fs::remove_file(&path)?;
        if let Some(blank) = blank {
            fs::write(&path, blank)?;
        }
        let message = assert_refused(dir.path(), "nothing");
        assert!(message.contains("ready/host-1/a.log"), "{message}");
        assert!(is_missing(&message));
        fs::write(&path, &whole)?;
    }
    // A database without tables: a relay killed at its first start leaves one.
    fs::remove_file(&path)?;
    let sqlite = rusqlite::Connection::open(&path)?;
    sqlite.pragma_update(None, "journal_mode", "WAL")?;
    drop(sqlite);
    let message = assert_refused(dir.path(), "no tables");
    assert!(is_missing(&message));
    fs::remove_dir_all(dir.path().join("ready"))?;
    let error = Ledger::open(dir.path()).expect_err("nothing was there before");
    assert!(error.to_string().contains("start the relay once"), "{error}");
    drop(Ledger::open_or_create(dir.path())?);
    Ok(())
}

#[test]
fn write_ahead_log_without_its_ledger_is_kept() -> TestResult {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("ledger.db-wal");
    fs::write(&log, "commits of a ledger that is gone")?;
    let message = assert_refused(dir.path(), "only a log");
    assert!(message.contains("ledger.db-wal"), "{message}");
    assert!(fs::exists(&log)?);
    Ok(())
}

#[test]
fn ledger_without_its_end_or_its_beginning_is_refused() -> TestResult {
    let dir = data_dir()?;
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path)?;
    for len in [1, 100, PAGE, PAGE + 100, whole.len() / 2, whole.len() - PAGE] {
        fs::write(&path, &whole[..len])?;
        assert_refused(dir.path(), &format!("cut to {len} of {} bytes", whole.len()));
    }
    for len in [100, PAGE, whole.len()] {
        let mut zeroed = whole.clone();
        zeroed[..len].fill(0);
        fs::write(&path, zeroed)?;
        assert_refused(dir.path(), &format!("{len} zeros first"));
    }
    fs::write(&path, whole)?;
    drop(Ledger::open_or_create(dir.path())?);
    Ok(())
}

#[test]
fn ledger_with_a_page_of_garbage_is_refused() -> TestResult {
    let dir = data_dir()?;
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path)?;
    for page in 0..whole.len() / PAGE {
        let mut damaged = whole.clone();
        let garbage = damaged[page * PAGE..].iter_mut().take(PAGE);
        // Pseudo-random bytes, different for each page (Knuth's multiplicative hash).
        for (at, byte) in garbage.enumerate() {
            *byte = (at + page * PAGE).wrapping_mul(2_654_435_761).to_le_bytes()[2];
        }
        fs::write(&path, damaged)?;
        assert_refused(dir.path(), &format!("garbage in page {page}"));
    }
    Ok(())
}

#[test]
fn a_ledger_that_cannot_be_looked_at_is_not_missing() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join(FILE_NAME);
    assert!(Ledger::is_missing(dir.path()));
    assert!(Ledger::is_missing(&path.join("no/folder")));
    // A link to itself stands for a folder that is closed, which the administrator who tests this may read.
    std::os::unix::fs::symlink(&path, &path)?;
    assert!(!Ledger::is_missing(dir.path()));
    let opened = Ledger::open(dir.path());
    assert!(
        matches!(opened, Err(LedgerError::Sqlite { .. })),
        "{:?}",
        opened.err()
    );
    Ok(())
}
