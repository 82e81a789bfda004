//! Folders and names from a batch's attributes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use logferry_config::Destination;
use logferry_ledger::BatchState;

use crate::connecting::embedded::Embedded;
use crate::support::{Running, Spool, Sshd, configured, destination, names_in, until};

/// The destination with subfolders by group, source and day, below its folder.
fn laid_out(destination: Destination) -> Destination {
    let layout = configured("directory: '/{group}/{source}/{yyyy}-{mm}-{dd}', file_name: 'x_{batch}'").layout;
    Destination {
        layout,
        ..destination
    }
}

/// Every file below a folder, as its path from there.
fn files_below(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for name in names_in(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            let below = files_below(&path).into_iter();
            files.extend(below.map(|file| format!("{name}/{file}")));
        } else {
            files.push(name);
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn subfolders_are_made_and_the_whole_path_is_recorded_at_either_server() {
    let (sshd, embedded, mut spool) = (Sshd::start(), Embedded::start().await, Spool::new());
    let mut batches: Vec<_> = (0..20)
        .map(|window| spool.seal_of("198.51.100.1", window, b"one\n"))
        .collect();
    batches.push(spool.seal_of("198.51.100.2", 90, b"a day later\n"));
    let second_part = spool.seal_of("198.51.100.2", 90, b"and more\n");
    assert_eq!(second_part.part, 2);
    batches.push(second_part.clone());
    let mut other = laid_out(embedded.destination());
    other.name = "other".parse().unwrap();
    // One of the folders is there already.
    fs::create_dir_all(sshd.drop_dir().join("web-1/198-51-100-1")).unwrap();
    let forwarder = Running::start(spool.dir(), vec![laid_out(destination("edw", &sshd)), other]);
    for batch in &batches {
        until("sent", || spool.is_in(BatchState::Sent, batch)).await;
    }
    forwarder.stop().await;
    let files = files_below(&sshd.drop_dir());
    assert_eq!(files.len(), 22);
    assert_eq!(
        files[0],
        "web-1/198-51-100-1/2026-09-21/x_accessLog_00_198-51-100-1.log"
    );
    let last = "web-1/198-51-100-2/2026-09-22/x_accessLog_90_198-51-100-2.2.log";
    assert!(files.contains(&last.to_owned()), "{files:?}");
    let path = spool.delivery(&second_part, "edw").unwrap().path;
    assert_eq!(path.as_deref(), sshd.drop_dir().join(last).to_str());
    let path = spool.delivery(&second_part, "other").unwrap().path;
    assert_eq!(path, Some(format!("/{last}")));
    assert_eq!(files_below(&embedded.drop_dir()), files);
    embedded.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_that_cannot_be_made_holds_back_only_what_goes_there() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let held = spool.seal_of("198.51.100.1", 0, b"held\n");
    let other = spool.seal_of("198.51.100.2", 0, b"through\n");
    let mut edw = destination("edw", &sshd);
    edw.layout = configured("directory: '/{source}'").layout;
    edw.failed_every = Duration::from_millis(50);
    // A file has the folder's name.
    let in_the_way = sshd.drop_dir().join("198-51-100-1");
    fs::write(&in_the_way, b"a file\n").unwrap();
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("failed", || spool.is_in(BatchState::Failed, &held)).await;
    until("sent", || spool.is_in(BatchState::Sent, &other)).await;
    let error = spool.delivery(&held, "edw").unwrap().last_error.unwrap();
    assert!(
        error.contains("make the folder") && error.contains("198-51-100-1"),
        "{error}"
    );
    fs::remove_file(&in_the_way).unwrap();
    until("sent", || spool.is_in(BatchState::Sent, &held)).await;
    // Somebody tidies up while the connection stays.
    fs::remove_dir_all(&in_the_way).unwrap();
    let next = spool.seal_of("198.51.100.1", 1, b"next\n");
    until("sent", || spool.is_in(BatchState::Sent, &next)).await;
    forwarder.stop().await;
    assert_eq!(names_in(&in_the_way), [next.file_name()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_before_the_first_field_is_never_made() {
    let (sshd, mut spool) = (Sshd::start(), Spool::new());
    let batch = spool.seal(0, b"nowhere to go\n");
    let mut edw = laid_out(destination("edw", &sshd));
    edw.directory = sshd.path("elsewhere").to_str().unwrap().to_owned();
    let forwarder = Running::start(spool.dir(), vec![edw]);
    until("down", || spool.down("edw").is_some()).await;
    assert!(!sshd.path("elsewhere").exists());
    assert!(spool.is_in(BatchState::Ready, &batch));
    fs::create_dir(sshd.path("elsewhere")).unwrap();
    until("sent", || spool.is_in(BatchState::Sent, &batch)).await;
    forwarder.stop().await;
}
