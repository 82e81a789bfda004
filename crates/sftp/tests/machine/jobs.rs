//! Results of jobs on correct and on faulty servers.

use std::collections::BTreeMap;

use logferry_sftp::{
    ClientLimits, Extension, InFlightCounts, JobError, JobOutcome, RequestKind, SizeCheck, StatusCode,
};

use crate::fake::{Hasher, ServerBehaviour, Sizes};
use crate::session::{CAP, CONFIRMED, Session, bytes};

fn small_limits() -> ClientLimits {
    ClientLimits {
        requests: 5,
        bytes: 600,
        piece: 100,
        open_files: 3,
    }
}

#[test]
fn upload_then_rename_puts_the_file_under_its_final_name() {
    let mut session = Session::new(ClientLimits::default(), ServerBehaviour::default());
    let content = bytes(100_000, 1);
    let upload = session.upload("/drop/a.log.part", &content);
    session.run();
    assert_eq!(session.result(upload), CONFIRMED);
    let rename = session.client.rename("/drop/a.log.part", "/drop/a.log");
    let stat = session.client.stat("/drop/a.log");
    session.run();
    assert_eq!(session.result(rename), Ok(JobOutcome::Done));
    assert!(matches!(session.result(stat), Ok(JobOutcome::Found(found)) if found.size == Some(100_000)));
    assert_eq!(
        session.server.files,
        BTreeMap::from([("/drop/a.log".to_owned(), content)])
    );
}

#[test]
fn empty_file_is_uploaded_without_a_write() {
    let mut session = Session::new(ClientLimits::default(), ServerBehaviour::default());
    let marker = session.upload("a.ok", b"");
    session.run();
    assert_eq!(session.result(marker), CONFIRMED);
    assert_eq!(session.server.seen, [1, 3, 8, 4]);
}

#[test]
fn upload_syncs_before_the_close_if_the_server_can() {
    let behaviour = ServerBehaviour {
        extensions: vec![("fsync@openssh.com", "1")],
        ..ServerBehaviour::default()
    };
    let mut session = Session::new(ClientLimits::default(), behaviour);
    let upload = session.upload("a.part", b"line\n");
    session.run();
    assert_eq!(session.result(upload), CONFIRMED);
    assert_eq!(session.server.seen, [1, 3, 6, 200, 8, 4]);
}

#[test]
fn upload_to_an_existing_name_is_refused_and_changes_nothing() {
    let mut session = Session::new(ClientLimits::default(), ServerBehaviour::default());
    session.server.files.insert("a.part".to_owned(), bytes(5000, 9));
    let upload = session.upload("a.part", b"short\n");
    session.run();
    let result = &session.ended[&upload];
    assert!(
        matches!(
            result,
            Err(JobError::Refused {
                step: RequestKind::Open,
                ..
            })
        ),
        "{result:?}"
    );
    assert_eq!(session.server.files["a.part"], bytes(5000, 9));
}

#[test]
fn resumed_upload_sends_only_the_missing_bytes() {
    let mut session = Session::new(small_limits(), ServerBehaviour::default());
    let content = bytes(1000, 7);
    session
        .server
        .files
        .insert("a.part".to_owned(), content[..700].to_vec());
    let resumed = session.resume("a.part", 700, &content);
    let gone = session.resume("b.part", 700, &content);
    session.run();
    assert_eq!(session.result(resumed), CONFIRMED);
    assert_eq!(session.server.files["a.part"], content);
    assert_eq!(session.server.seen.iter().filter(|kind| **kind == 6).count(), 3);
    let error = session.ended[&gone].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(StatusCode::NoSuchFile));
}

#[test]
fn stopped_read_ends_early_and_closes_its_file() {
    let mut session = Session::new(small_limits(), ServerBehaviour::default());
    session.server.files.insert("a".to_owned(), bytes(100_000, 1));
    let read = session.client.read("a", 100_000);
    while !session.read.contains_key(&read) {
        session.step();
    }
    session.client.stop_reading(read);
    session.run();
    assert!(matches!(session.result(read), Ok(JobOutcome::Read { bytes }) if bytes < 2000));
    assert!(session.server.handles.is_empty());
}

#[test]
fn short_new_upload_ends_before_the_oldest() {
    let mut session = Session::new(small_limits(), ServerBehaviour::default());
    let large = session.upload("large", &bytes(100_000, 1));
    let small = session.upload("small", &bytes(300, 2));
    while !session.ended.contains_key(&small) {
        session.step();
    }
    assert!(!session.ended.contains_key(&large));
    session.run();
    assert_eq!(session.result(large), CONFIRMED);
}

#[test]
fn rename_onto_an_existing_name_is_refused_with_the_reason() {
    let mut session = Session::new(ClientLimits::default(), ServerBehaviour::default());
    session.server.files.insert("a".to_owned(), b"1".to_vec());
    session.server.files.insert("b".to_owned(), b"2".to_vec());
    let rename = session.client.rename("a", "b");
    session.run();
    let error = session.ended[&rename].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(StatusCode::Failure));
    assert_eq!(
        error.to_string(),
        "the server refused to rename a to b: failure (the server says: as the fake says)"
    );
}

#[test]
fn missing_names_are_distinguished_from_other_failures() {
    let mut session = Session::new(ClientLimits::default(), ServerBehaviour::default());
    let jobs = [
        session.client.stat("a"),
        session.client.remove("b"),
        session.client.read("c", 1),
    ];
    session.run();
    for job in jobs {
        assert_eq!(
            session.ended[&job].as_ref().unwrap_err().code(),
            Some(StatusCode::NoSuchFile)
        );
    }
}

#[test]
fn refused_write_fails_the_upload_and_no_other() {
    let behaviour = ServerBehaviour {
        quota: Some(450),
        ..ServerBehaviour::default()
    };
    let mut session = Session::new(small_limits(), behaviour);
    let too_large = session.upload("large", &bytes(5000, 1));
    let small = session.upload("small", &bytes(400, 2));
    session.run();
    assert!(matches!(
        session.ended[&too_large],
        Err(JobError::Refused {
            step: RequestKind::Write,
            ..
        })
    ));
    assert_eq!(session.result(small), CONFIRMED);
    assert!(
        session.server.seen.iter().filter(|kind| **kind == 6).count() < 20,
        "writing went on after the refusal"
    );
}

#[test]
fn refused_close_fails_the_upload() {
    let mut session = Session::new(
        ClientLimits::default(),
        ServerBehaviour {
            close_fails: true,
            ..ServerBehaviour::default()
        },
    );
    let upload = session.upload("a", b"line\n");
    session.run();
    assert!(matches!(
        session.ended[&upload],
        Err(JobError::Refused {
            step: RequestKind::Close,
            ..
        })
    ));
}

#[test]
fn data_lost_after_a_confirmed_write_is_detected_by_size() {
    let mut session = Session::new(
        small_limits(),
        ServerBehaviour {
            loses_beyond: Some(250),
            ..ServerBehaviour::default()
        },
    );
    let upload = session.upload("a", &bytes(1000, 3));
    session.run();
    assert!(matches!(
        session.ended[&upload],
        Err(JobError::WrongSize {
            expected: 1000,
            found: 250,
            ..
        })
    ));
}

#[test]
fn size_that_shows_only_after_the_close_is_accepted() {
    let mut session = Session::new(
        ClientLimits::default(),
        ServerBehaviour {
            sizes: Sizes::ShownAfterClose,
            ..ServerBehaviour::default()
        },
    );
    let upload = session.upload("a", b"line\n");
    session.run();
    assert_eq!(session.result(upload), CONFIRMED);
}

#[test]
fn upload_to_a_server_without_sizes_is_reported_as_unchecked() {
    for sizes in [Sizes::Hidden, Sizes::Forbidden] {
        let mut session = Session::new(
            ClientLimits::default(),
            ServerBehaviour {
                sizes,
                ..ServerBehaviour::default()
            },
        );
        let upload = session.upload("a", b"line\n");
        session.run();
        assert_eq!(
            session.result(upload),
            Ok(JobOutcome::Uploaded(SizeCheck::Unavailable))
        );
    }
}

#[test]
fn local_data_that_ends_early_fails_the_upload_and_closes_the_file() {
    let mut session = Session::new(small_limits(), ServerBehaviour::default());
    let upload = session.client.upload("a", 1000);
    session.contents.0.insert(upload, bytes(350, 1));
    session.run();
    assert!(matches!(session.ended[&upload], Err(JobError::Local { .. })));
    assert_eq!(session.server.files["a"].len(), 300);
}

#[test]
fn read_delivers_the_requested_content_in_order() {
    let behaviour = ServerBehaviour {
        read_len_max: Some(37),
        ..ServerBehaviour::default()
    };
    let mut session = Session::new(small_limits(), behaviour);
    let content = bytes(1234, 5);
    session.server.files.insert("a".to_owned(), content.clone());
    let whole = session.client.read("a", 1234);
    let part = session.client.read("a", 1000);
    let beyond = session.client.read("a", 9999);
    let nothing = session.client.read("a", 0);
    session.run();
    assert_eq!(session.result(whole), Ok(JobOutcome::Read { bytes: 1234 }));
    assert_eq!(session.read[&whole], content);
    assert_eq!(session.read[&part], content[..1000]);
    assert_eq!(session.result(beyond), Ok(JobOutcome::Read { bytes: 1234 }));
    assert_eq!(session.read[&beyond], content);
    assert_eq!(session.result(nothing), Ok(JobOutcome::Read { bytes: 0 }));
}

#[test]
fn failing_read_ends_the_job_and_frees_its_budget() {
    let mut session = Session::new(
        small_limits(),
        ServerBehaviour {
            bad_block: Some(600),
            ..ServerBehaviour::default()
        },
    );
    session.server.files.insert("a".to_owned(), bytes(5000, 5));
    let read = session.client.read("a", 5000);
    session.run();
    assert!(matches!(
        session.ended[&read],
        Err(JobError::Refused {
            step: RequestKind::Read,
            ..
        })
    ));
}

#[test]
fn data_not_taken_delays_further_reads() {
    let mut session = Session::new(small_limits(), ServerBehaviour::default());
    session.server.files.insert("a".to_owned(), bytes(5000, 5));
    session.client.read("a", 5000);
    for _ in 0..20 {
        let mut out = Vec::new();
        session.client.pump(&mut out, CAP, &mut session.contents);
        session.server.receive(&out);
        let replies = session.server.replies.drain(..).collect::<Vec<_>>().concat();
        session.client.feed(&replies).unwrap();
    }
    assert_eq!(
        session.client.in_flight(),
        InFlightCounts {
            requests: 0,
            bytes: 600
        }
    );
}

#[test]
fn limits_of_the_server_are_kept() {
    let behaviour = ServerBehaviour {
        extensions: vec![("limits@openssh.com", "1")],
        limits: [0, 50, 60, 2],
        ..ServerBehaviour::default()
    };
    let mut session = Session::new(ClientLimits::default(), behaviour);
    let uploads: Vec<_> = (0..9)
        .map(|n| session.upload(&format!("f{n}"), &bytes(777, n)))
        .collect();
    session.run();
    assert!(uploads.iter().all(|job| session.result(*job) == CONFIRMED));
    assert_eq!(session.server.longest_write, 60);
    assert_eq!(session.server.most_handles, 2);
    assert!(session.client.server().unwrap().supports(Extension::Limits));
}

#[test]
fn rename_does_not_wait_for_a_large_upload() {
    let mut session = Session::new(small_limits(), ServerBehaviour::default());
    session.server.files.insert("a".to_owned(), Vec::new());
    session.upload("large", &bytes(50_000, 1));
    session.run_until_writing();
    let rename = session.client.rename("a", "b");
    for _ in 0..2 {
        session.step();
    }
    assert_eq!(session.result(rename), Ok(JobOutcome::Done));
    assert!(session.server.files["large"].len() < 50_000);
}

#[test]
fn link_adds_a_second_name_and_never_replaces() {
    let behaviour = ServerBehaviour {
        extensions: vec![("hardlink@openssh.com", "1")],
        ..ServerBehaviour::default()
    };
    let mut session = Session::new(ClientLimits::default(), behaviour);
    session.server.files.insert("a.part".to_owned(), b"1".to_vec());
    let free = session.client.link("a.part", "a");
    let taken = session.client.link("a.part", "a");
    session.run();
    assert_eq!(session.result(free), Ok(JobOutcome::Done));
    let error = session.ended[&taken].as_ref().unwrap_err();
    assert_eq!(error.code(), Some(StatusCode::Failure));
    assert_eq!(session.server.files.len(), 2);
    assert!(session.client.server().unwrap().supports(Extension::Hardlink));
}

#[test]
fn hash_of_the_server_is_used_only_if_it_is_a_sha256() {
    let sha256: Hasher = |_| vec![7; 32];
    for (hasher, expected) in [(sha256, Some([7; 32])), (|_| vec![7; 20], None)] {
        let behaviour = ServerBehaviour {
            extensions: vec![("check-file", "")],
            hasher: Some(hasher),
            ..ServerBehaviour::default()
        };
        let mut session = Session::new(ClientLimits::default(), behaviour);
        session.server.files.insert("a".to_owned(), b"1".to_vec());
        let (there, missing) = (session.client.sha256("a"), session.client.sha256("b"));
        session.run();
        assert_eq!(session.result(there), Ok(JobOutcome::Sha256(expected)));
        let error = session.ended[&missing].as_ref().unwrap_err();
        assert_eq!(error.code(), Some(StatusCode::NoSuchFile));
        assert!(session.client.server().unwrap().supports(Extension::CheckFile));
    }
}
