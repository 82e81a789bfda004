//! A writer, a sender and a relay in one world, with a model that knows every line.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use logferry_config as config;

use super::disk::{Disk, File, copy_time};
use super::relay::Relay;
use crate::checkpoint::Checkpoint;
use crate::counters::Counters;
use crate::tail::{Event, Job, Now, Tail};
use crate::wire::WireError;

/// As many as a history may have steps: no file falls off the end.
pub(super) const ROTATIONS_MAX: u32 = 60;
pub(super) const LIVE: &str = "/log/access.log";

/// The bytes of one physical log file's life.
type Life = Rc<RefCell<Vec<u8>>>;

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// The relay has it, but the answer is lost.
    AnswerLost,
    /// It never got there.
    Lost,
    Busy,
}

pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) relay: Relay,
    pub(super) counters: Arc<Counters>,
    config: config::Sender,
    tail: Tail<Disk>,
    inbox: Receiver<Event>,
    pub(super) jobs: Vec<Job>,
    now: Now,
    saved: Option<Checkpoint>,
    lives: Vec<Life>,
    /// Which life each file is, by its name.
    names: BTreeMap<String, Life>,
    next_line: u32,
}

pub(super) fn config(max_bytes: usize, max_lines: usize, max_line: usize) -> config::Sender {
    let log = config::Log {
        path: LIVE.into(),
        rotated: vec![format!("{LIVE}.*")],
        name: "access".parse().expect("a name"),
        start: config::Start::Beginning,
        exclude: vec![vec!["ping".into(), "check".into()]],
        max_line,
    };
    config::Sender {
        relay: config::RelayAddress {
            host: "192.0.2.10".into(),
            port: 5001,
        },
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
        retry: config::Backoff {
            initial: Duration::from_millis(20),
            max: Duration::from_millis(200),
        },
        metrics: None,
    }
}

impl World {
    pub(super) fn new(config: config::Sender) -> Self {
        let now = Now {
            tick: Instant::now(),
            wall: SystemTime::now(),
        };
        let disk = Disk::new(now.wall);
        let counters = Arc::new(Counters::default());
        let (home, inbox) = channel();
        let tail = Tail::new(&config, disk.clone(), None, counters.clone(), home, 1, now);
        Self {
            disk,
            relay: Relay::default(),
            counters,
            config,
            tail,
            inbox,
            jobs: Vec::new(),
            now,
            saved: None,
            lives: Vec::new(),
            names: BTreeMap::new(),
            next_line: 0,
        }
    }

    fn file(&self, name: &str) -> Option<(File, Life)> {
        Some((self.disk.get(name)?, self.names.get(name)?.clone()))
    }

    /// The live file, made if it is not there.
    fn live(&mut self) -> (File, Life) {
        self.file(LIVE).unwrap_or_else(|| {
            let life = Life::default();
            self.lives.push(life.clone());
            self.names.insert(LIVE.into(), life.clone());
            (self.disk.create(LIVE), life)
        })
    }

    fn append(&self, (file, life): &(File, Life), text: &str) {
        self.disk.append(file, text.as_bytes());
        life.borrow_mut().extend_from_slice(text.as_bytes());
    }

    pub(super) fn write(&mut self, lines: u32) {
        for _ in 0..lines {
            let live = self.live();
            self.next_line += 1;
            let number = self.next_line;
            let text = if number.is_multiple_of(5) {
                "ping health check"
            } else {
                "GET /"
            };
            self.append(&live, &format!("{number:06} {text}\n"));
        }
    }

    /// The same text at the start of each file, with a line of its own after it.
    pub(super) fn write_header(&mut self) {
        let live = self.live();
        if live.1.borrow().is_empty() {
            self.next_line += 1;
            let number = self.next_line;
            self.append(&live, &format!("#Fields: date time\n{number:06} first\n"));
        }
    }

    /// Text that is told from all other: two files that hold the same could not be told apart by anyone.
    pub(super) fn unique(&mut self, before: &str, after: &str) -> String {
        self.next_line += 1;
        format!("{before} {}{after}", self.next_line)
    }

    pub(super) fn write_text(&mut self, text: &str) {
        let live = self.live();
        self.append(&live, text);
    }

    pub(super) fn write_late(&mut self, text: &str) {
        let rotated = self.file(&format!("{LIVE}.1"));
        // Half a line may have been given its newline already; a test of its own appends to that.
        if let Some(rotated) =
            rotated.filter(|(_, life)| life.borrow().last().is_none_or(|&last| last == b'\n'))
        {
            self.append(&rotated, text);
        }
    }

    /// Makes room for `.1`.
    fn shift(&mut self) {
        for number in (1..ROTATIONS_MAX).rev() {
            for suffix in ["", ".gz"] {
                let from = format!("{LIVE}.{number}{suffix}");
                let to = format!("{LIVE}.{}{suffix}", number + 1);
                self.disk.rename(&from, &to);
                if let Some(life) = self.names.remove(&from) {
                    self.names.insert(to, life);
                }
            }
        }
    }

    /// The newest rotated file is gzipped, while `between` happens; then it is removed.
    pub(super) fn compress(&mut self, mut between: impl FnMut(&mut Self)) {
        let names = (1..=ROTATIONS_MAX).map(|number| format!("{LIVE}.{number}"));
        let Some(name) = names.into_iter().find(|name| self.disk.get(name).is_some()) else {
            return;
        };
        let Some((original, life)) = self.file(&name) else {
            return;
        };
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&original.borrow().bytes).expect("memory");
        let bytes = encoder.finish().expect("memory");
        let archive = self.disk.create(&format!("{name}.gz"));
        for part in bytes.chunks(bytes.len().div_ceil(2)) {
            between(self);
            self.disk.append(&archive, part);
        }
        between(self);
        copy_time(&archive, &original);
        self.remove(&name);
        self.names.insert(format!("{name}.gz"), life);
    }

    pub(super) fn rotate_by_rename(&mut self) {
        self.shift();
        self.disk.rename(LIVE, &format!("{LIVE}.1"));
        if let Some(life) = self.names.remove(LIVE) {
            self.names.insert(format!("{LIVE}.1"), life);
        }
    }

    /// A copy grows to `.1` while `between` happens; then the live file is cut.
    pub(super) fn rotate_by_copy(&mut self, mut between: impl FnMut(&mut Self)) {
        let Some((original, life)) = self.file(LIVE) else {
            return;
        };
        self.shift();
        let copy = self.disk.create(&format!("{LIVE}.1"));
        self.names.insert(format!("{LIVE}.1"), life);
        let bytes = original.borrow().bytes.clone();
        for part in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
            between(self);
            self.disk.append(&copy, part);
        }
        between(self);
        self.truncate();
    }

    /// Cuts the live file; what follows is another life.
    pub(super) fn truncate(&mut self) {
        if let Some((live, _)) = self.file(LIVE) {
            self.disk.truncate(&live);
            let life = Life::default();
            self.lives.push(life.clone());
            self.names.insert(LIVE.into(), life);
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.disk.remove(name);
        self.names.remove(name);
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.now = Now {
            tick: self.now.tick + by,
            wall: self.now.wall + by,
        };
        self.disk.set_clock(self.now.wall);
    }

    pub(super) fn hear(&mut self, moved: bool) {
        self.tail.handle(Event::Files { moved }, self.now);
    }

    /// Lets the sender do what is due.
    pub(super) fn turn(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            self.tail.handle(event, self.now);
        }
        let jobs = self.tail.turn(self.now);
        self.jobs
            .extend(jobs.into_iter().filter(|job| !matches!(job, Job::Heartbeat(_))));
        if let Some(checkpoint) = self.tail.take_checkpoint() {
            self.saved = Some(checkpoint);
        }
    }

    /// One job that is out comes to its end.
    pub(super) fn answer(&mut self, which: usize, fate: Fate) {
        if self.jobs.is_empty() {
            return;
        }
        let job = self.jobs.remove(which % self.jobs.len());
        let lost = || WireError::Stopped;
        let busy = || WireError::Refused {
            relay: "relay".into(),
            status: 503,
            reason: "full".into(),
            retry_after: Some(Duration::from_millis(50)),
        };
        let event = match job {
            Job::Chunk { worker, chunk } => {
                let result = match fate {
                    Fate::Done => Ok(self.relay.take(&chunk)),
                    Fate::AnswerLost => {
                        self.relay.take(&chunk);
                        Err(lost())
                    }
                    Fate::Lost => Err(lost()),
                    Fate::Busy => Err(busy()),
                };
                Event::Chunk {
                    worker,
                    seq: chunk.seq,
                    result,
                }
            }
            Job::Streams(question) => Event::Streams(match fate {
                Fate::Done => Ok(self.relay.resolve(&question)),
                Fate::Busy => Err(busy()),
                Fate::AnswerLost | Fate::Lost => Err(lost()),
            }),
            Job::Heartbeat(_) => return,
        };
        self.tail.handle(event, self.now);
    }

    /// The sender is killed; of what was out, the first `arrive` still reach the relay. Then it starts again.
    pub(super) fn restart(&mut self, arrive: usize, keep_checkpoint: bool) {
        for job in self.jobs.drain(..).take(arrive) {
            if let Job::Chunk { chunk, .. } = job {
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
        let (home, inbox) = channel();
        self.counters = Arc::new(Counters::default());
        let counters = self.counters.clone();
        self.tail = Tail::new(
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
                    self.answer(0, Fate::Done);
                }
            }
            self.advance(Duration::from_secs(2));
        }
    }

    /// Each life's lines are at the relay once, in order, and nothing else is.
    pub(super) fn check(&self) {
        let live = self.names.get(LIVE);
        let mut expected: Vec<String> = Vec::new();
        for life in &self.lives {
            let is_live = live.is_some_and(|live| Rc::ptr_eq(live, life));
            expected.push(shipped(&life.borrow(), is_live, self.config.logs[0].max_line));
        }
        let stored = self
            .relay
            .streams
            .iter()
            .map(|stored| String::from_utf8_lossy(&stored.body).into_owned());
        let mut stored: Vec<String> = stored.filter(|body| !body.is_empty()).collect();
        expected.retain(|body| !body.is_empty());
        expected.sort();
        stored.sort();
        assert_eq!(stored, expected);
    }

    /// The numbered lines arrived in the order of their numbers.
    pub(super) fn check_order(&self) {
        let arrived = String::from_utf8_lossy(&self.relay.arrived);
        let numbers: Vec<&str> = arrived
            .lines()
            .filter(|line| line.starts_with('0'))
            .map(|line| &line[..6])
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

/// What is to arrive of a file: its lines but the excluded ones, and at the end of its life half a line too.
fn shipped(bytes: &[u8], is_live: bool, max_line: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let whole = text
        .split_inclusive('\n')
        .filter(|line| !is_live || line.ends_with('\n'));
    let lines = whole.map(|line| line.trim_end_matches('\n'));
    let kept = lines.filter(|line| {
        let excluded = line.contains("ping") && line.contains("check") && line.len() < max_line;
        !excluded
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}
