//! The client against OpenSSH's own SFTP server, over the pipes of a child process.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking and lay out files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

use logferry_sftp::{
    ClientLimits, Extension, JobError, JobEvent, JobId, JobOutcome, SftpClient, SizeCheck, StatusCode,
    UploadSource,
};

/// The path in Debian's package `openssh-sftp-server`.
const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

#[derive(Default)]
struct Contents(BTreeMap<JobId, Vec<u8>>);

impl UploadSource for Contents {
    fn fill(&mut self, job: JobId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[&job][start..start + buf.len()]);
        Ok(())
    }
}

struct Session {
    client: SftpClient,
    server: Child,
    contents: Contents,
    read: BTreeMap<JobId, Vec<u8>>,
    ended: BTreeMap<JobId, Result<JobOutcome, JobError>>,
}

impl Session {
    fn new() -> Self {
        let server = Command::new(SFTP_SERVER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let server = server.expect("this test needs the Debian package openssh-sftp-server");
        // With so few bytes in flight, no pipe becomes full, so the two sides cannot block each other.
        let client = SftpClient::new(ClientLimits {
            bytes: 64 << 10,
            ..ClientLimits::default()
        });
        Self {
            client,
            server,
            contents: Contents::default(),
            read: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    fn upload(&mut self, path: &str, content: Vec<u8>) -> JobId {
        let job = self.client.upload(path, content.len() as u64);
        self.contents.0.insert(job, content);
        job
    }

    fn run(&mut self) {
        let mut buf = [0; 4096];
        loop {
            let mut out = Vec::new();
            self.client.pump(&mut out, 32 << 10, &mut self.contents);
            self.server.stdin.as_mut().unwrap().write_all(&out).unwrap();
            if out.is_empty() && self.client.in_flight().requests == 0 {
                break;
            }
            let len = self.server.stdout.as_mut().unwrap().read(&mut buf).unwrap();
            assert!(len > 0, "the server went away");
            self.client.feed(&buf[..len]).unwrap();
            while let Some(event) = self.client.poll_event() {
                match event {
                    JobEvent::Data { job, data } => self.read.entry(job).or_default().extend(data),
                    JobEvent::Ended { job, result } => drop(self.ended.insert(job, result)),
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

#[test]
fn openssh_server_stores_renames_and_returns_many_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let content = |n: usize| {
        (0..n * 40_000)
            .map(|i| u8::try_from(i * (n + 3) % 251).unwrap())
            .collect::<Vec<_>>()
    };
    let mut session = Session::new();
    let mkdir = session.client.mkdir(at("drop"));
    session.run();
    assert_eq!(*session.ended[&mkdir].as_ref().unwrap(), JobOutcome::Done);

    let uploads: Vec<_> = (0..20)
        .map(|n| session.upload(&at(&format!("drop/{n}.part")), content(n)))
        .collect();
    session.run();
    for job in uploads {
        assert_eq!(
            *session.ended[&job].as_ref().unwrap(),
            JobOutcome::Uploaded(SizeCheck::Confirmed)
        );
    }
    for n in 0..20 {
        session
            .client
            .rename(at(&format!("drop/{n}.part")), at(&format!("drop/{n}.log")));
    }
    session.run();
    let reads: Vec<_> = (0..20)
        .map(|n| session.client.read(at(&format!("drop/{n}.log")), 1 << 20))
        .collect();
    session.run();
    for (n, job) in reads.into_iter().enumerate() {
        assert!(fs::read(at(&format!("drop/{n}.log"))).unwrap() == content(n));
        assert!(session.read.remove(&job).unwrap_or_default() == content(n));
    }
    let server = session.client.server().unwrap();
    assert!(
        [Extension::Fsync, Extension::PosixRename, Extension::Limits]
            .iter()
            .all(|e| server.supports(*e))
    );
}

#[test]
fn openssh_server_reports_its_free_space() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::new();
    let there = session.client.free_space(folder.path().to_str().unwrap());
    let nowhere = session
        .client
        .free_space(folder.path().join("no").to_str().unwrap());
    session.run();
    assert!(session.client.server().unwrap().supports(Extension::Statvfs));
    let Ok(JobOutcome::Free(free)) = &session.ended[&there] else {
        panic!("{:?}", session.ended[&there]);
    };
    assert!(free.bytes > 0 && !free.is_too_little_for(1));
    let refusal = session.ended[&nowhere].as_ref().unwrap_err();
    assert_eq!(refusal.code(), Some(StatusCode::NoSuchFile));
}

#[test]
fn openssh_server_refuses_to_rename_onto_an_existing_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("new"), "new").unwrap();
    fs::write(at("old"), "old").unwrap();
    let mut session = Session::new();
    let rename = session.client.rename(at("new"), at("old"));
    let missing = session.client.stat(at("missing"));
    let denied = session.upload(&at("no/such/folder/a"), b"line\n".to_vec());
    session.run();
    assert_eq!(
        session.ended[&rename].as_ref().unwrap_err().code(),
        Some(StatusCode::Failure)
    );
    assert_eq!(
        session.ended[&missing].as_ref().unwrap_err().code(),
        Some(StatusCode::NoSuchFile)
    );
    assert_eq!(
        session.ended[&denied].as_ref().unwrap_err().code(),
        Some(StatusCode::NoSuchFile)
    );
    assert_eq!(fs::read_to_string(at("old")).unwrap(), "old");
}
