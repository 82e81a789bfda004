//! Servers that break the protocol, and properties for all orders, splits and limits.

use std::collections::BTreeMap;

use logferry_sftp::{ClientLimits, JobOutcome, ProtocolError, SftpClient};
use proptest::prelude::*;

use crate::fake::{self, ServerBehaviour};
use crate::session::{CAP, CONFIRMED, Choice, Contents, Session, bytes};

fn greeted() -> SftpClient {
    let mut client = SftpClient::new(ClientLimits::default());
    client.pump(&mut Vec::new(), CAP, &mut Contents::default());
    client.feed(&fake::packet(2, &[&3u32.to_be_bytes()])).unwrap();
    client
}

#[test]
fn unrequested_replies_end_the_session() {
    let mut client = greeted();
    let unknown = ProtocolError::UnknownRequest { id: 77 };
    assert_eq!(client.feed(&fake::status(77, 0)), Err(unknown.clone()));
    assert_eq!(client.feed(b""), Err(unknown));
    client.stat("a");
    let mut out = Vec::new();
    client.pump(&mut out, CAP, &mut Contents::default());
    assert!(out.is_empty());
}

#[test]
fn reply_of_the_wrong_type_ends_the_session() {
    let mut client = greeted();
    client.stat("a");
    client.pump(&mut Vec::new(), CAP, &mut Contents::default());
    assert!(matches!(
        client.feed(&fake::status(1, 0)),
        Err(ProtocolError::UnexpectedType { kind: 101, .. })
    ));
}

#[test]
fn more_data_than_requested_ends_the_session() {
    let mut client = greeted();
    client.read("a", 3);
    client.pump(&mut Vec::new(), CAP, &mut Contents::default());
    client
        .feed(&fake::packet(102, &[&1u32.to_be_bytes(), &fake::string(b"h")]))
        .unwrap();
    client.pump(&mut Vec::new(), CAP, &mut Contents::default());
    let data = fake::packet(103, &[&2u32.to_be_bytes(), &fake::string(b"four")]);
    assert_eq!(
        client.feed(&data),
        Err(ProtocolError::TooMuchData { sent: 4, asked: 3 })
    );
}

#[derive(Debug, Clone)]
struct Plan {
    uploads: Vec<usize>,
    limits: (usize, usize, u32, usize),
    read_len_max: usize,
    fsync: bool,
    seed: u64,
}

fn plans() -> impl Strategy<Value = Plan> {
    let limits = (1..12usize, 64..900usize, 1..64u32, 1..6usize);
    (
        prop::collection::vec(0..1500usize, 1..8),
        limits,
        1..80usize,
        any::<bool>(),
        any::<u64>(),
    )
        .prop_map(|(uploads, limits, read_len_max, fsync, seed)| Plan {
            uploads,
            limits,
            read_len_max,
            fsync,
            seed,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_replies_and_any_split_gives_the_same_files(plan in plans()) {
        let (requests, bytes_max, piece, open_files) = plan.limits;
        let limits = ClientLimits { requests, bytes: bytes_max, piece, open_files };
        let extensions = if plan.fsync { vec![("fsync@openssh.com", "1")] } else { Vec::new() };
        let behaviour = ServerBehaviour { extensions, read_len_max: Some(plan.read_len_max), ..ServerBehaviour::default() };
        let mut session = Session::new(limits, behaviour);
        session.choice = Some(Choice(plan.seed));
        let content = |n: usize| bytes(plan.uploads[n], u8::try_from(n).unwrap());
        let uploads: Vec<_> =
            (0..plan.uploads.len()).map(|n| session.upload(&format!("f{n}"), &content(n))).collect();
        session.run();
        let reads: Vec<_> = (0..plan.uploads.len()).map(|n| session.client.read(format!("f{n}"), 2000)).collect();
        session.run();
        for (n, (upload, read)) in uploads.into_iter().zip(reads).enumerate() {
            prop_assert_eq!(session.result(upload), CONFIRMED);
            prop_assert_eq!(&session.server.files[&format!("f{n}")], &content(n));
            prop_assert_eq!(session.result(read), Ok(JobOutcome::Read { bytes: plan.uploads[n] as u64 }));
            prop_assert_eq!(session.read.remove(&read).unwrap_or_default(), content(n));
        }
        prop_assert!(session.server.most_handles <= open_files);
    }

    #[test]
    fn garbage_from_the_server_never_panics(
        greeting in any::<bool>(),
        packets in prop::collection::vec((0..=255u8, 0..8u32, prop::collection::vec(any::<u8>(), 0..60)), 0..12),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut client = if greeting { greeted() } else { SftpClient::new(ClientLimits::default()) };
        client.stat("a");
        client.read("b", 100_000);
        let upload = client.upload("c", 200_000);
        let mut contents = Contents(BTreeMap::from([(upload, bytes(200_000, 0))]));
        let replies = packets.into_iter().map(|(kind, id, body)| {
            // Mostly reply types, so that the garbage reaches the jobs.
            let kind = if kind < 200 { 101 + kind % 5 } else { kind };
            fake::packet(kind, &[&id.to_be_bytes(), &body])
        });
        for bytes in replies.chain([tail]) {
            client.pump(&mut Vec::new(), 1 << 20, &mut contents);
            if client.feed(&bytes).is_err() {
                break;
            }
            while client.poll_event().is_some() {}
        }
    }
}
