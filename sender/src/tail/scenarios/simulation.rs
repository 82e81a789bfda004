//! A writer, a sender and a relay in one sim, with a model that knows every line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use logferry_config as config;
use logferry_invariants::{invariant_acknowledged_is_durable, invariant_sender_follows_ledger};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::resolve::{ResolveRequest, ResolveResponse};
use logferry_protocol::stream::{Offset, StreamId};

use super::log_writer::{LOGS, shipped};
use crate::checkpoint::{Checkpoint, CheckpointStream};
use crate::clock::Now;
use crate::counters::Counters;
use crate::error::RequestError;
use crate::messages::{RelayRequest, SenderEvent};
use crate::tail::Tailer;
use crate::tail::scenarios::log_writer::{FileLife, LIVE, RotationNaming, SITES};
use crate::tail::scenarios::sim_files::SimFileSystem;
use crate::tail::scenarios::sim_relay::SimRelay;

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestFate {
    Done,
    /// The relay has it, but the answer is lost.
    AnswerLost,
    /// It never got there.
    Lost,
    Busy,
}

pub(super) struct Simulation {
    pub(super) disk: SimFileSystem,
    pub(super) relay: SimRelay,
    pub(super) counters: Arc<Counters>,
    config: config::Sender,
    tail: Tailer<SimFileSystem>,
    inbox: Receiver<SenderEvent>,
    pub(super) jobs: Vec<RelayRequest>,
    /// The streams of which the sender has shipped a chunk since its start.
    shipping: HashSet<StreamId>,
    /// The committed offsets that the relay told the sender of streams that it has not shipped yet.
    told: HashMap<StreamId, Offset>,
    pub(super) beats: Vec<Heartbeat>,
    /// Whether the relay hears the heartbeats.
    pub(super) hears: bool,
    now: Now,
    saved: Option<Checkpoint>,
    pub(super) lives: Vec<FileLife>,
    /// Which life each file is, by its name.
    pub(super) names: BTreeMap<String, FileLife>,
    pub(super) next_line: u32,
    /// The log that is written to and rotated.
    pub(super) log: &'static str,
    pub(super) naming: RotationNaming,
    pub(super) next_day: u32,
}

/// As [`config`], with two logs more that one glob finds.
pub(super) fn with_sites(mut config: config::Sender) -> config::Sender {
    let mut sites = config.logs[0].clone();
    sites.name = "site".parse().expect("a name");
    sites.path = SITES.into();
    sites.rotated = vec![format!("{SITES}.*"), format!("{SITES}-*")];
    config.logs.push(sites);
    config
}

pub(crate) fn config(max_bytes: usize, max_lines: usize, max_line: usize) -> config::Sender {
    let log = config::Log {
        path: LIVE.into(),
        rotated: vec![format!("{LIVE}.*"), format!("{LIVE}-*")],
        name: "access".parse().expect("a name"),
        start: config::Start::Beginning,
        exclude: vec![vec!["ping".into(), "check".into()]],
        max_line,
    };
    config::Sender {
        relay: vec!["http://192.0.2.10:5001".parse().expect("an address")],
        source: config::SourceSetting::Auto,
        local_address: None,
        state_dir: "/state".into(),
        logs: vec![log],
        chunk: config::ChunkLimits {
            max_bytes,
            max_lines,
            max_delay: Duration::from_millis(100),
        },
        in_flight: 3,
        compression: config::Compression::None,
        token_file: None,
        tls: config::ClientTls::default(),
        retry: config::Backoff {
            initial: Duration::from_millis(20),
            max: Duration::from_millis(200),
        },
        metrics: None,
    }
}

impl Simulation {
    pub(super) fn new(config: config::Sender) -> Self {
        let now = Now {
            instant: Instant::now(),
            wall: SystemTime::now(),
        };
        let disk = SimFileSystem::new(now.wall);
        let counters = Arc::new(Counters::default());
        let (home, inbox) = channel();
        let tail = Tailer::new(&config, disk.clone(), None, counters.clone(), home, 1, now);
        Self {
            disk,
            relay: SimRelay::default(),
            counters,
            config,
            tail,
            inbox,
            jobs: Vec::new(),
            shipping: HashSet::new(),
            told: HashMap::new(),
            beats: Vec::new(),
            hears: true,
            now,
            saved: None,
            lives: Vec::new(),
            names: BTreeMap::new(),
            next_line: 0,
            log: LIVE,
            naming: RotationNaming::Numbered,
            next_day: 0,
        }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now = Now {
            instant: self.now.instant + by,
            wall: self.now.wall + by,
        };
        self.disk.set_clock(self.now.wall);
    }

    pub(super) fn hear(&mut self, moved: bool) {
        self.tail.handle(SenderEvent::Files { moved }, self.now);
    }

    /// Lets the sender do what is due.
    pub(super) fn turn(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            self.tail.handle(event, self.now);
        }
        for job in self.tail.turn(self.now) {
            if let RelayRequest::Chunk { chunk, .. } = &job
                && self.shipping.insert(chunk.header.stream)
                && let Some(committed) = self.told.remove(&chunk.header.stream)
            {
                assert_eq!(
                    invariant_sender_follows_ledger(committed, chunk.header.range),
                    Ok(())
                );
            }
            match job {
                RelayRequest::Heartbeat(beat) => {
                    if self.hears {
                        self.tail
                            .handle(SenderEvent::HeartbeatAcked(beat.gaps.clone()), self.now);
                    }
                    self.beats.push(beat);
                }
                job => self.jobs.push(job),
            }
        }
        if let Some(checkpoint) = self.tail.take_checkpoint() {
            for CheckpointStream { stream, .. } in &checkpoint.streams {
                let committed = self.relay.committed(stream.stream);
                let durable = invariant_acknowledged_is_durable(stream.committed, committed);
                assert!(durable.is_ok() || self.relay.lost_ledger, "{durable:?}");
            }
            self.saved = Some(checkpoint);
        }
    }

    /// The relay's answer about streams. What it says of one that the sender has not shipped since its start binds the
    /// sender.
    fn resolve(&mut self, question: &ResolveRequest) -> ResolveResponse {
        let response = self.relay.resolve(question);
        for known in response.candidates.iter().flatten() {
            if !self.shipping.contains(&known.stream) {
                self.told.insert(known.stream, known.committed);
            }
        }
        response
    }

    /// One job that is out comes to its end.
    pub(super) fn answer(&mut self, which: usize, fate: RequestFate) {
        if self.jobs.is_empty() {
            return;
        }
        let job = self.jobs.remove(which % self.jobs.len());
        let lost = || RequestError::Stopping;
        let busy = || RequestError::Refused {
            relay: "relay".into(),
            status: 503,
            reason: "full".into(),
            retry_after: Some(Duration::from_millis(50)),
        };
        let event = match job {
            RelayRequest::Chunk { connection, chunk } => {
                let result = match fate {
                    RequestFate::Done => Ok(self.relay.take(&chunk)),
                    RequestFate::AnswerLost => {
                        self.relay.take(&chunk);
                        Err(lost())
                    }
                    RequestFate::Lost => Err(lost()),
                    RequestFate::Busy => Err(busy()),
                };
                SenderEvent::Chunk {
                    connection,
                    seq: chunk.seq,
                    result,
                }
            }
            RelayRequest::Streams(question) => SenderEvent::Streams(match fate {
                RequestFate::Done => Ok(self.resolve(&question)),
                RequestFate::Busy => Err(busy()),
                RequestFate::AnswerLost | RequestFate::Lost => Err(lost()),
            }),
            RelayRequest::Heartbeat(_) => return,
        };
        self.tail.handle(event, self.now);
    }

    /// The sender is killed; of what was out, the first `arrive` still reach the relay. Then it starts again.
    pub(super) fn restart(&mut self, arrive: usize, keep_checkpoint: bool) {
        for job in self.jobs.drain(..).take(arrive) {
            if let RelayRequest::Chunk { chunk, .. } = job {
                self.relay.take(&chunk);
            }
        }
        if !keep_checkpoint {
            self.saved = None;
        }
        self.start_again();
    }

    /// The sender stops, and starts with the relay as it is.
    pub(super) fn start_again(&mut self) {
        self.jobs.clear();
        self.shipping.clear();
        self.told.clear();
        let (home, inbox) = channel();
        self.counters = Arc::new(Counters::default());
        let counters = self.counters.clone();
        self.tail = Tailer::new(
            &self.config,
            self.disk.clone(),
            self.saved.as_ref(),
            counters,
            home,
            1,
            self.now,
        );
        self.inbox = inbox;
    }

    /// Lets time pass with everything working, until all is shipped and rotated files are left.
    pub(super) fn settle(&mut self) {
        for _ in 0..60 {
            self.hear(true);
            for _ in 0..200 {
                self.turn();
                if self.jobs.is_empty() {
                    break;
                }
                while !self.jobs.is_empty() {
                    self.answer(0, RequestFate::Done);
                }
            }
            self.advance(Duration::from_secs(2));
        }
    }

    /// The sender is stopped as an operator does, and started again with what it saved.
    pub(super) fn stop_and_start(&mut self) {
        self.stop();
        self.start_again();
    }

    /// The sender is stopped as an operator does.
    pub(super) fn stop(&mut self) {
        self.tail.handle(SenderEvent::Stop, self.now);
        self.saved = self.tail.take_checkpoint().or(self.saved.take());
    }

    /// What the sender said is lost: from where to where, once each.
    pub(super) fn gaps(&self) -> Vec<(u64, Option<u64>)> {
        let gaps = self.beats.iter().flat_map(|beat| &beat.gaps);
        let mut gaps: Vec<_> = gaps
            .map(|gap| (gap.from.get(), gap.until.map(Offset::get)))
            .collect();
        gaps.dedup();
        gaps
    }

    /// Each life's lines are at the relay once, in order, and nothing else is. So nothing is said to be lost either.
    /// Of a life that was cut it is the beginning.
    pub(super) fn check(&self) {
        if !self.lives.iter().any(|life| life.borrow().is_cut) {
            let lost = self.gaps().into_iter().filter(|(_, until)| until.is_some());
            assert_eq!(lost.collect::<Vec<_>>(), []);
        }
        let live: Vec<&FileLife> = LOGS.iter().filter_map(|log| self.names.get(*log)).collect();
        let (mut expected, mut cut): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for life in &self.lives {
            let is_live = live.iter().any(|live| Rc::ptr_eq(live, life));
            let whole = shipped(&life.borrow().bytes, is_live, self.config.logs[0].max_line);
            if life.borrow().is_cut {
                cut.push(whole);
            } else {
                expected.push(whole);
            }
        }
        let stored = self
            .relay
            .streams
            .iter()
            .map(|stored| String::from_utf8_lossy(&stored.body).into_owned());
        let mut stored: Vec<String> = stored.filter(|body| !body.is_empty()).collect();
        expected.retain(|body| !body.is_empty());
        expected.sort();
        // The longest first: the beginning of several may be a common header.
        stored.sort_by_key(|body| std::cmp::Reverse(body.len()));
        for whole in cut {
            let part = stored
                .iter()
                .position(|body| whole.starts_with(body.as_str()) && !expected.contains(body));
            part.map(|part| stored.remove(part));
        }
        stored.sort();
        assert_eq!(stored, expected);
    }

    /// The numbered lines arrived in the order of their numbers.
    pub(super) fn check_order(&self) {
        let arrived = String::from_utf8_lossy(&self.relay.arrived);
        for log in LOGS {
            let numbers: Vec<&str> = arrived
                .lines()
                .filter(|line| line.starts_with('0') && line.contains(log))
                .map(|line| &line[..6])
                .collect();
            assert!(numbers.is_sorted(), "{log}: {numbers:?}");
        }
    }
}
