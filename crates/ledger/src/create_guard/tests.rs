//! Ledgers that are lost or damaged, each in its own way.

use std::error::Error;

use jiff::Timestamp;

use super::*;
use crate::Ledger;

type TestResult = Result<(), Box<dyn Error>>;

const PAGE: usize = 4096;

/// A data folder with a ledger that knows a few hundred sources, closed cleanly; and a file of the spool.
fn data_dir() -> Result<tempfile::TempDir, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut ledger = Ledger::open_or_create(dir.path())?;
    for number in 0..300 {
        let source = format!("host-{number}").parse()?;
        ledger.note_contact(&source, &"web-1".parse()?, Timestamp::UNIX_EPOCH)?;
    }
    let folder = dir.path().join("ready/host-1");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("a.log"), "a line\n")?;
    Ok(dir)
}

/// No role opens the ledger, and what is left of it stays as it is. The relay's words.
fn assert_refused(dir: &Path, what: &str) -> String {
    let path = dir.join(FILE_NAME);
    let before = fs::read(&path).ok();
    let error = Ledger::open_or_create(dir).expect_err(what);
    assert!(
        matches!(error, LedgerError::Damaged { .. } | LedgerError::Lost { .. }),
        "{what}: {error:?}"
    );
    assert!(fs::read(&path).ok() == before, "{what}: the file was changed");
    let words = error.to_string();
    assert!(
        words.contains("backup") && words.contains("fsck --rebuild"),
        "{words}"
    );
    words
}

#[test]
fn a_lost_ledger_is_not_begun_anew_beside_a_spool() -> TestResult {
    let dir = data_dir()?;
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path)?;
    for blank in [None, Some(Vec::new())] {
        fs::remove_file(&path)?;
        if let Some(blank) = blank {
            fs::write(&path, blank)?;
        }
        let words = assert_refused(dir.path(), "nothing");
        assert!(words.contains("ready/host-1/a.log"), "{words}");
        assert!(matches!(
            Ledger::open(dir.path()),
            Err(LedgerError::Missing { .. })
        ));
        fs::write(&path, &whole)?;
    }
    // A database in which nothing was ever made, as a relay that was killed in its first moment leaves it.
    fs::remove_file(&path)?;
    let sqlite = rusqlite::Connection::open(&path)?;
    sqlite.pragma_update(None, "journal_mode", "WAL")?;
    drop(sqlite);
    assert_refused(dir.path(), "no tables");
    assert!(matches!(
        Ledger::open(dir.path()),
        Err(LedgerError::Missing { .. })
    ));
    fs::remove_dir_all(dir.path().join("ready"))?;
    drop(Ledger::open_or_create(dir.path())?);
    Ok(())
}

#[test]
fn a_log_without_its_ledger_is_kept() -> TestResult {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("ledger.db-wal");
    fs::write(&log, "commits of a ledger that is gone")?;
    let words = assert_refused(dir.path(), "only a log");
    assert!(words.contains("ledger.db-wal"), "{words}");
    assert!(fs::exists(&log)?);
    Ok(())
}

#[test]
fn a_ledger_that_lost_its_end_or_its_beginning_is_refused() -> TestResult {
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
fn a_ledger_with_a_page_of_garbage_is_refused() -> TestResult {
    let dir = data_dir()?;
    let path = dir.path().join(FILE_NAME);
    let whole = fs::read(&path)?;
    for page in 0..whole.len() / PAGE {
        let mut spoiled = whole.clone();
        let garbage = spoiled[page * PAGE..].iter_mut().take(PAGE);
        // Any bytes, and each page's others (Knuth's multiplicative hash).
        for (at, byte) in garbage.enumerate() {
            *byte = (at + page * PAGE).wrapping_mul(2_654_435_761).to_le_bytes()[2];
        }
        fs::write(&path, spoiled)?;
        assert_refused(dir.path(), &format!("garbage in page {page}"));
    }
    Ok(())
}
