//! Connects a client with the fake server and runs both until neither sends anything.

use std::collections::BTreeMap;
use std::io;

use logferry_sftp::{
    ClientLimits, InFlightCounts, JobError, JobEvent, JobId, JobOutcome, SftpClient, SizeCheck, UploadSource,
};

use crate::fake::{FakeServer, ServerBehaviour};

/// The uploaded bytes of each job.
#[derive(Default)]
pub(crate) struct Contents(pub(crate) BTreeMap<JobId, Vec<u8>>);

impl UploadSource for Contents {
    fn fill(&mut self, job: JobId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let from = self.0[&job]
            .get(start..start + buf.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from);
        Ok(())
    }
}

/// Makes repeatable choices from a seed.
pub(crate) struct Choice(pub(crate) u64);

impl Choice {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

pub(crate) struct Session {
    pub(crate) client: SftpClient,
    pub(crate) server: FakeServer,
    pub(crate) limits: ClientLimits,
    pub(crate) contents: Contents,
    /// If set, replies arrive in any order, in pieces of any length.
    pub(crate) choice: Option<Choice>,
    pub(crate) read: BTreeMap<JobId, Vec<u8>>,
    pub(crate) ended: BTreeMap<JobId, Result<JobOutcome, JobError>>,
}

pub(crate) const CAP: usize = 4096;

impl Session {
    pub(crate) fn new(limits: ClientLimits, behaviour: ServerBehaviour) -> Self {
        Self {
            client: SftpClient::new(limits),
            server: FakeServer::new(behaviour),
            limits,
            contents: Contents::default(),
            choice: None,
            read: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    pub(crate) fn upload(&mut self, path: &str, content: &[u8]) -> JobId {
        let job = self.client.upload(path, content.len() as u64);
        self.contents.0.insert(job, content.to_vec());
        job
    }

    /// Uploads the bytes of `content` from offset `from`.
    pub(crate) fn resume(&mut self, path: &str, from: u64, content: &[u8]) -> JobId {
        let job = self.client.resume(path, from, content.len() as u64);
        self.contents.0.insert(job, content.to_vec());
        job
    }

    /// Runs until neither side sends anything.
    pub(crate) fn run(&mut self) {
        loop {
            let mut out = Vec::new();
            self.client.pump(&mut out, CAP, &mut self.contents);
            self.check_limits();
            self.send(&out);
            if out.is_empty() && self.server.replies.is_empty() {
                break;
            }
            self.take_replies();
        }
        assert_eq!(
            self.client.in_flight(),
            InFlightCounts {
                requests: 0,
                bytes: 0
            }
        );
        assert!(self.server.handles.is_empty(), "a handle was left open");
    }

    pub(crate) fn check_limits(&self) {
        let InFlightCounts { requests, bytes } = self.client.in_flight();
        assert!(requests <= self.limits.requests && bytes <= self.limits.bytes);
    }

    pub(crate) fn send(&mut self, out: &[u8]) {
        let cut = self
            .choice
            .as_mut()
            .map_or(0, |choice| choice.below(out.len() + 1));
        self.server.receive(&out[..cut]);
        self.server.receive(&out[cut..]);
    }

    /// Gives the client some replies, or all of them without a seed.
    pub(crate) fn take_replies(&mut self) {
        let Some(choice) = &mut self.choice else {
            let all = self.server.replies.drain(..).collect::<Vec<_>>().concat();
            self.client.feed(&all).unwrap();
            return self.take_events();
        };
        let how_many = choice.below(self.server.replies.len() + 1);
        let mut bytes = Vec::new();
        for _ in 0..how_many {
            let which = choice.below(self.server.replies.len());
            bytes.extend(self.server.replies.remove(which));
        }
        while !bytes.is_empty() {
            let len = 1 + choice.below(bytes.len().min(700));
            self.client.feed(&bytes.drain(..len).collect::<Vec<_>>()).unwrap();
        }
        self.take_events();
    }

    pub(crate) fn take_events(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                JobEvent::Data { job, data } => self.read.entry(job).or_default().extend(data),
                JobEvent::Ended { job, result } => assert!(self.ended.insert(job, result).is_none()),
            }
        }
    }

    pub(crate) fn step(&mut self) {
        let mut out = Vec::new();
        self.client.pump(&mut out, CAP, &mut self.contents);
        self.server.receive(&out);
        self.take_replies();
    }

    pub(crate) fn run_until_writing(&mut self) {
        while !self.server.seen.contains(&6) {
            self.step();
        }
    }

    pub(crate) fn result(&self, job: JobId) -> Result<JobOutcome, String> {
        self.ended[&job].as_ref().copied().map_err(ToString::to_string)
    }
}

pub(crate) fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap() ^ seed)
        .collect()
}

pub(crate) const CONFIRMED: Result<JobOutcome, String> = Ok(JobOutcome::Uploaded(SizeCheck::Confirmed));
