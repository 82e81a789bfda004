//! A writer, a sender and a relay in memory, with a model that knows every line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use logferry_config as config;
use logferry_invariants::{invariant_acknowledged_is_durable, invariant_sender_follows_ledger};
use logferry_protocol::heartbeat::{Heartbeat, HeldFile};
use logferry_protocol::resolve::{ResolveRequest, ResolveResponse};
use logferry_protocol::stream::{Offset, StreamId};
use logferry_telemetry::SenderMetrics;

use super::log_writer::{LOGS, shipped};
use crate::checkpoint::{Checkpoint, CheckpointStream};
use crate::clock::Now;
use crate::error::RequestError;
use crate::messages::{RelayLedger, RelayRequest, SenderEvent};
use crate::tail::Tailer;
use crate::tail::scenarios::log_writer::{FileLife, LIVE, RotationNaming, SITES};
use crate::tail::scenarios::sim_files::SimFileSystem;
use crate::tail::scenarios::sim_relay::{RequestOutcome, SimRelay, busy};

pub(super) struct Simulation {
    pub(super) disk: SimFileSystem,
    pub(super) relay: SimRelay,
    pub(super) metrics: SenderMetrics,
    config: config::SenderSettings,
    tail: Tailer<SimFileSystem>,
    inbox: Receiver<SenderEvent>,
    pub(super) requests: Vec<RelayRequest>,
    /// The streams of which the sender has shipped a chunk since its start.
    shipping: HashSet<StreamId>,
    /// The committed offsets of the relay's last answers, of streams that the sender has not shipped yet.
    answered: HashMap<StreamId, Offset>,
    pub(super) beats: Vec<Heartbeat>,
    pub(super) hears: bool,
    pub(super) now: Now,
    saved: Option<Checkpoint>,
    /// The checkpoint was lost, and is not complete again.
    is_state_lost: bool,
    /// The logs had other names before.
    pub(super) is_renamed: bool,
    pub(super) lives: Vec<FileLife>,
    /// Which life each file is, by its name.
    pub(super) names: BTreeMap<String, FileLife>,
    pub(super) next_line: u32,
    pub(super) log: &'static str,
    pub(super) naming: RotationNaming,
    pub(super) next_day: u32,
}

/// A log with a path of its own, and one whose glob finds two.
pub(crate) fn config(max_bytes: usize, max_lines: usize, max_line: usize) -> config::SenderSettings {
    let text = format!(
        "sender: {{
            relay: http://192.0.2.10:5001, state_dir: /state, in_flight: 3,
            chunk: {{max_delay: 100ms}}, retry: {{initial: 20ms, max: 200ms}},
            logs: [
                {{name: access, path: {LIVE}, exclude: [[ping, check]]}},
                {{name: site, path: '{SITES}', exclude: [[ping, check]]}}
            ]
        }}"
    );
    let parsed = config::parse(&text, "c.yaml".as_ref(), &|_| None);
    let mut sender = parsed.expect("valid").sender.expect("a sender");
    sender.logs.iter_mut().for_each(|log| log.max_line = max_line);
    (sender.chunk.max_bytes, sender.chunk.max_lines) = (max_bytes, max_lines);
    sender
}

fn start(
    config: &config::SenderSettings,
    disk: &SimFileSystem,
    saved: Option<&Checkpoint>,
    now: Now,
) -> (Tailer<SimFileSystem>, Receiver<SenderEvent>, SenderMetrics) {
    let ((home, inbox), metrics) = (channel(), SenderMetrics::default());
    let tail = Tailer::new(config, disk.clone(), saved, metrics.clone(), home, 1, now);
    (tail, inbox, metrics)
}

impl Simulation {
    pub(super) fn new(config: config::SenderSettings) -> Self {
        let now = Now::read();
        let disk = SimFileSystem::new(now.wall);
        let (tail, inbox, metrics) = start(&config, &disk, None, now);
        Self {
            disk,
            relay: SimRelay::default(),
            metrics,
            config,
            tail,
            inbox,
            requests: Vec::new(),
            shipping: HashSet::new(),
            answered: HashMap::new(),
            beats: Vec::new(),
            hears: true,
            now,
            saved: None,
            is_state_lost: false,
            is_renamed: false,
            lives: Vec::new(),
            names: BTreeMap::new(),
            next_line: 0,
            log: LIVE,
            naming: RotationNaming::Numbered,
            next_day: 0,
        }
    }

    /// A sender that starts on a copy of this one's disk, with a relay of its own.
    pub(super) fn copied(&self) -> Self {
        let disk = self.disk.copied();
        let (tail, inbox, metrics) = start(&self.config, &disk, self.saved.as_ref(), self.now);
        let lives: Vec<_> = self
            .lives
            .iter()
            .map(|life| FileLife::new(life.borrow().clone().into()))
            .collect();
        let names = self.names.iter().filter_map(|(name, life)| {
            let index = self.lives.iter().position(|known| Rc::ptr_eq(known, life))?;
            Some((name.clone(), lives[index].clone()))
        });
        Self {
            names: names.collect(),
            lives,
            disk,
            metrics,
            tail,
            inbox,
            now: self.now,
            saved: self.saved.clone(),
            next_day: self.next_day,
            ..Self::new(self.config.clone())
        }
    }

    pub(super) fn config_mut(&mut self) -> &mut config::SenderSettings {
        &mut self.config
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.disk.set_clock(self.now.wall);
    }

    pub(super) fn hear(&mut self, moved: bool) {
        self.tail.handle(SenderEvent::Files { moved }, self.now);
    }

    pub(super) fn turn(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            self.tail.handle(event, self.now);
        }
        let mut requests = self.tail.run_due(self.now);
        requests.extend(std::iter::from_fn(|| self.tail.next_chunk(self.now)));
        for request in requests {
            if let RelayRequest::Chunk { chunk, .. } = &request
                && self.shipping.insert(chunk.header.stream)
                && let Some(committed) = self.answered.remove(&chunk.header.stream)
            {
                let follows = invariant_sender_follows_ledger(committed, chunk.header.range);
                assert_eq!(follows, Ok(()));
            }
            match request {
                RelayRequest::Heartbeat(beat) => {
                    if self.hears {
                        let acked = SenderEvent::HeartbeatAcked(beat.gaps.clone());
                        self.tail.handle(acked, self.now);
                    }
                    self.beats.push(*beat);
                }
                request => self.requests.push(request),
            }
        }
        self.tail.must_save();
        if let Some(checkpoint) = self.tail.take_checkpoint() {
            for CheckpointStream { stream, .. } in &checkpoint.streams {
                let committed = self.relay.committed(stream.stream);
                let durable = invariant_acknowledged_is_durable(stream.committed, committed);
                assert!(durable.is_ok() || self.relay.lost_ledger, "{durable:?}");
            }
            self.saved = Some(checkpoint);
        }
    }

    /// The relay's answer about streams. The sender must follow it for streams that it has not shipped since its start.
    fn resolve(&mut self, question: &ResolveRequest) -> ResolveResponse {
        let response = self.relay.resolve(question);
        for known in response
            .candidates
            .iter()
            .chain(&response.of_other_logs)
            .flatten()
        {
            if known.by_other {
                // It is another sender's end, which this one need not follow.
                self.answered.remove(&known.stream);
            } else if !self.shipping.contains(&known.stream) {
                self.answered.insert(known.stream, known.committed);
            }
        }
        response
    }

    pub(super) fn answer(&mut self, which: usize, outcome: RequestOutcome) {
        if self.requests.is_empty() {
            return;
        }
        let event = match self.requests.remove(which % self.requests.len()) {
            RelayRequest::Chunk { connection, chunk } => self.relay.end_request(connection, &chunk, outcome),
            RelayRequest::Streams(question) => SenderEvent::Streams(match outcome {
                RequestOutcome::Done => Ok(self.resolve(&question)),
                RequestOutcome::Busy => Err(busy()),
                RequestOutcome::AnswerLost | RequestOutcome::Lost => Err(RequestError::Stopping),
            }),
            RelayRequest::Heartbeat(_) => return,
        };
        self.tail.handle(event, self.now);
    }

    /// The sender opens a new connection to the relay.
    pub(super) fn connect(&mut self) {
        let answer = self.resolve(&ResolveRequest { files: Vec::new() });
        let connected = SenderEvent::Connected(RelayLedger::from(&answer));
        self.tail.handle(connected, self.now);
    }

    /// The sender is killed, and starts again. The first `arrive` waiting requests still reach the relay.
    pub(super) fn restart(&mut self, arrive: usize, keep_checkpoint: bool) {
        for request in self.requests.drain(..).take(arrive) {
            if let RelayRequest::Chunk { chunk, .. } = request {
                self.relay.take(&chunk);
            }
        }
        if !keep_checkpoint && !self.is_renamed {
            self.saved = None;
            self.is_state_lost = true;
        }
        self.start_again();
    }

    /// The sender starts with what it saved. Waiting requests do not reach the relay.
    pub(super) fn start_again(&mut self) {
        self.requests.clear();
        self.shipping.clear();
        self.answered.clear();
        (self.tail, self.inbox, self.metrics) =
            start(&self.config, &self.disk, self.saved.as_ref(), self.now);
    }

    pub(super) fn settle(&mut self) {
        self.is_state_lost = false;
        for _ in 0..60 {
            self.hear(true);
            for _ in 0..200 {
                self.turn();
                if self.requests.is_empty() {
                    break;
                }
                while !self.requests.is_empty() {
                    self.answer(0, RequestOutcome::Done);
                }
            }
            self.advance(Duration::from_secs(2));
        }
    }

    pub(super) fn settle_and_check(&mut self) {
        self.settle();
        self.check();
    }

    /// The sender is stopped, and starts with other names for its logs.
    pub(super) fn rename_logs(&mut self, names: [&str; 2]) {
        if self.is_state_lost {
            // Only the checkpoint knows which files were shipped under another name.
            self.settle();
        }
        self.is_renamed = true;
        self.stop();
        for (log, name) in self.config.logs.iter_mut().zip(names) {
            log.name = name.parse().expect("a name");
        }
        self.start_again();
    }

    /// The sender starts again without its checkpoint, on a relay that knows what it shipped.
    pub(super) fn forget(&mut self) {
        self.saved = Some(Checkpoint::default());
        self.start_again();
    }

    pub(super) fn stop(&mut self) {
        self.tail.handle(SenderEvent::Stop, self.now);
        self.saved = self.tail.last_checkpoint(self.now).or(self.saved.take());
    }

    /// How many live paths the logs have.
    pub(super) fn live_paths(&self) -> usize {
        self.tail.watched_paths().1.len()
    }

    /// How many sequences of files were looked at, to find out what is read next.
    pub(super) fn sequence_looks(&self) -> usize {
        self.tail.logs.looks
    }

    pub(super) fn arrived(&self) -> String {
        String::from_utf8_lossy(&self.relay.arrived).into_owned()
    }

    pub(super) fn finished(&self) -> usize {
        let streams = self.relay.streams.iter();
        streams.filter(|stored| stored.finished).count()
    }

    /// The files that the last heartbeat names as not shipped.
    pub(super) fn held(&self) -> &[HeldFile] {
        self.beats.last().map_or(&[], |beat| &beat.held)
    }

    /// The reported losses, each once: from where to where.
    pub(super) fn gaps(&self) -> Vec<(u64, Option<u64>)> {
        let gaps = self.beats.iter().flat_map(|beat| &beat.gaps);
        let gaps = gaps.map(|gap| (gap.from.get(), gap.until.map(Offset::get)));
        let mut gaps: Vec<_> = gaps.collect();
        gaps.dedup();
        gaps
    }

    /// The lines of each file life are at the relay once, in order, and nothing else is; no loss is reported. Of a life
    /// that was cut, the beginning is at the relay.
    pub(super) fn check(&self) {
        if !self.lives.iter().any(|life| life.borrow().is_cut) {
            let lost = self.gaps().into_iter().filter(|(_, until)| until.is_some());
            assert_eq!(lost.collect::<Vec<_>>(), []);
        }
        let live: Vec<&FileLife> = LOGS.iter().filter_map(|log| self.names.get(*log)).collect();
        let (mut expected, mut cut): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for life in &self.lives {
            let is_live = live.iter().any(|live| Rc::ptr_eq(live, life));
            let history = life.borrow();
            let kept = &history.bytes[history.left_out..];
            let whole = shipped(kept, is_live, self.config.logs[0].max_line);
            let of_kind = if history.is_cut { &mut cut } else { &mut expected };
            of_kind.push(whole);
        }
        let bodies = self.relay.streams.iter().map(|stored| &stored.body);
        let bodies = bodies.filter(|body| !body.is_empty());
        let mut stored: Vec<String> = bodies
            .map(|body| String::from_utf8_lossy(body).into_owned())
            .collect();
        expected.retain(|body| !body.is_empty());
        expected.sort();
        // The longest first: several may begin with the same header.
        stored.sort_by_key(|body| std::cmp::Reverse(body.len()));
        for whole in cut {
            let is_part = |body: &String| whole.starts_with(body.as_str()) && !expected.contains(body);
            stored.iter().position(is_part).map(|part| stored.remove(part));
        }
        stored.sort();
        assert_eq!(stored, expected);
    }

    /// The lines that were written, were not lost to the sender, and are not at the relay.
    pub(super) fn missing_lines(&self) -> Vec<String> {
        let arrived = self.arrived();
        let histories = self.lives.iter().map(|life| life.borrow());
        let whole = histories.filter(|history| !history.is_cut).map(|history| {
            let max_line = self.config.logs[0].max_line;
            shipped(&history.bytes[history.left_out..], true, max_line)
        });
        let expected = whole.collect::<String>();
        let missing = expected.lines().filter(|line| !arrived.contains(line));
        missing.map(str::to_owned).collect()
    }

    pub(super) fn check_order(&self) {
        let arrived = self.arrived();
        for log in LOGS {
            let numbered = arrived
                .lines()
                .filter(|line| line.starts_with('0') && line.contains(log));
            let numbers: Vec<&str> = numbered.map(|line| &line[..6]).collect();
            assert!(numbers.is_sorted(), "{log}: {numbers:?}");
        }
    }
}
