//! Ledgers that were rebuilt, or restored from a copy.

use std::fs;

use jiff::SignedDuration;
use logferry_ledger::Ledger;
use logferry_testkit::batches::{commit, new_batch};

use super::relay_host::{RelayHost, now};
use crate::error::IndexerError;

/// The bytes of a ledger without batches.
fn blank_ledger() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open_or_create(dir.path()).expect("a ledger");
    let path = ledger.path().to_owned();
    drop(ledger);
    fs::read(path).expect("read")
}

#[test]
fn ledger_that_replaces_the_open_one_is_noticed_in_the_next_round() {
    let mut host = RelayHost::new("");
    let batch = host.open("a", "b1");
    host.write(&batch, b"one\n");
    let mut session = host.session().expect("opened");
    session.round(now(), &|| false).expect("a round");
    host.replace_ledger(&blank_ledger());
    let error = session.round(now(), &|| false).expect_err("another ledger");
    assert!(matches!(error, IndexerError::LedgerReplaced { .. }), "{error}");
    assert!(error.may_pass(), "it opens the new one");
    drop(session);
    let other = host.open("a", "b2");
    host.write(&other, b"two\n");
    host.index();
    host.assert_whole();
}

#[test]
fn batch_that_expired_unread_in_a_rebuilt_ledger_is_a_gap() {
    let mut host = RelayHost::new("");
    let batch = host.open("a", "b1");
    host.write(&batch, b"one\n");
    host.index();
    host.replace_ledger(&blank_ledger());
    let later = now() + SignedDuration::from_mins(1);
    let unread = host
        .ledger
        .open_batch(&new_batch("a", "b2"), later)
        .expect("opened");
    host.written.insert(unread.name(), Vec::new());
    host.write(&unread, b"two\n");
    host.seal(&unread);
    host.deliver(&unread);
    host.expire(&unread);
    host.index();
    host.assert_whole();
    let gaps = host.reader().gaps(0).expect("read");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].batch, "b2");
}

#[test]
fn ledger_restored_from_a_copy_gives_numbers_again_and_each_line_is_read_once() {
    let mut host = RelayHost::new("");
    let growing = host.open("a", "b1");
    host.write(&growing, b"one\n");
    let copy = host.ledger_bytes();
    host.write(&growing, b"two\n");
    host.seal(&growing);
    for name in ["b2", "b3"] {
        let batch = host.open("a", name);
        host.write(&batch, b"later\n");
    }
    host.index();
    host.assert_whole();
    host.replace_ledger(&copy);
    // The relay cuts the file back to what its ledger has, and the sender sends the rest once more.
    fs::remove_file(host.path(&growing, "ready")).expect("removed");
    let new = host.open("a", "b4");
    assert!(Some(new.id.number()) < host.reader().state().expect("read").newest_batch);
    host.written.insert(growing.name(), b"one\n".to_vec());
    host.write(&new, b"new\n");
    host.seal(&new);
    host.index();
    host.write(&growing, b"two\n");
    host.write(&growing, b"three\n");
    host.seal(&growing);
    host.index();
    host.assert_whole();
}

#[test]
fn lines_of_batches_that_a_restored_copy_forgot_are_not_read_twice_after_a_rebuild() {
    let mut host = RelayHost::new("");
    let copy = host.ledger_bytes();
    let batch = host.open("a", "b1");
    host.write(&batch, b"one\n");
    host.seal(&batch);
    host.index();
    host.replace_ledger(&copy);
    let mut session = host.session().expect("opened");
    session.round(now(), &|| false).expect("a round");
    session.tidy(now(), true).expect("removed");
    drop(session);
    // The spool still has the file, and `fsck --rebuild` finds it.
    host.replace_ledger(&blank_ledger());
    let again = host
        .ledger
        .open_batch(&new_batch("a", "b1"), now())
        .expect("opened");
    commit(&mut host.ledger, &again, b"one\n");
    host.ledger.seal(again.id, now()).expect("sealed");
    host.index();
    host.assert_whole();
}

#[test]
fn batches_of_a_rebuilt_ledger_are_not_read_twice() {
    let mut host = RelayHost::new("");
    let batch = host.open("a", "b1");
    host.write(&batch, b"one\n");
    host.seal(&batch);
    host.index();
    // Another ledger, in which the batch has another number.
    host.replace_ledger(&blank_ledger());
    let other = host.open("a", "b0");
    host.write(&other, b"other\n");
    let again = host
        .ledger
        .open_batch(&new_batch("a", "b1"), now())
        .expect("opened");
    commit(&mut host.ledger, &again, b"one\n");
    host.ledger.seal(again.id, now()).expect("sealed");
    host.index();
    host.assert_whole();
    let mut session = host.session().expect("opened");
    assert_eq!(host.reader().places().expect("read").len(), 2);
    host.ledger.mark_expired(again.id, now()).expect("not sent");
    session.tidy(now(), true).expect("removed");
    assert_eq!(
        host.reader().places().expect("read").len(),
        2,
        "their files are in the spool"
    );
}
