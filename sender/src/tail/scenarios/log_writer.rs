//! The writer of a simulation: lines, rotations of all kinds, and the bytes that are lost by them.

use std::cell::RefCell;
use std::rc::Rc;

use super::sim_files::File;
use crate::files::compressed::CompressionFormat;
use crate::files::compressed::tests::compress;
use crate::tail::scenarios::simulation::Simulation;

/// As many as a scenario may have steps, so that no file is rotated away.
pub(super) const ROTATIONS_MAX: u32 = 60;
/// Of the lines, in seconds since 1970.
const FIRST_TIME: u32 = 1_796_000_000;
pub(super) const LIVE: &str = "/log/access.log";
/// All logs of a simulation: one with a path of its own, and two that one glob finds.
pub(super) const LOGS: [&str; 3] = [LIVE, "/log/site-a.log", "/log/site-b.log"];
pub(super) const SITES: &str = "/log/site-?.log";

/// The life of one physical log file, from one truncation to the next.
#[derive(Debug, Default, Clone)]
pub(super) struct FileHistory {
    pub(super) bytes: Vec<u8>,
    /// The first so many are left out by `start: end`.
    pub(super) left_out: usize,
    /// It is in a copy. Nobody writes to an empty one.
    pub(super) is_copied: bool,
    /// It was cut or deleted before it was shipped: unread bytes are lost.
    pub(super) is_cut: bool,
}

pub(super) type FileLife = Rc<RefCell<FileHistory>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RotationNaming {
    /// `.1` is the newest.
    Numbered,
    Dated,
}

const SUFFIXES: [&str; 5] = ["", ".gz", ".zst", ".xz", ".bz2"];

fn dated(log: &str, day: u32) -> String {
    format!("{log}-{}", 20_261_100 + day)
}

impl Simulation {
    fn file(&self, name: &str) -> Option<(File, FileLife)> {
        Some((self.disk.get(name)?, self.names.get(name)?.clone()))
    }

    fn live(&mut self) -> (File, FileLife) {
        self.file(self.log).unwrap_or_else(|| {
            let life = self.new_life();
            (self.disk.create(self.log), life)
        })
    }

    pub(super) fn new_life(&mut self) -> FileLife {
        let life = FileLife::default();
        self.lives.push(life.clone());
        self.names.insert(self.log.into(), life.clone());
        life
    }

    fn append(&self, (file, life): &(File, FileLife), text: &str) {
        self.disk.append(file, text.as_bytes());
        life.borrow_mut().bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn write(&mut self, lines: u32) {
        for _ in 0..lines {
            let live = self.live();
            self.next_line += 1;
            let number = self.next_line;
            let is_excluded = number.is_multiple_of(5);
            let text = if is_excluded { "ping health check" } else { "GET /" };
            let time = FIRST_TIME + number;
            self.append(&live, &format!("{number:06} {} {time} {text}\n", self.log));
        }
    }

    /// Writes a whole gzip member, as nginx does at each flush of `access_log PATH gzip`.
    pub(super) fn write_gzip(&mut self, lines: u32) {
        let (file, life) = self.live();
        let text: String = (0..lines).map(|_| self.unique("GET /", "\n")).collect();
        self.disk
            .append(&file, &compress(CompressionFormat::Gzip, text.as_bytes()));
        life.borrow_mut().bytes.extend_from_slice(text.as_bytes());
    }

    /// The same text at the start of each file, with a line of its own after it.
    pub(super) fn write_header(&mut self) {
        let live = self.live();
        if live.1.borrow().bytes.is_empty() {
            self.next_line += 1;
            let number = self.next_line;
            let first = format!("#Fields: date time\n{number:06} {} first\n", self.log);
            self.append(&live, &first);
        }
    }

    /// Text that occurs only once: files with equal contents could not be distinguished.
    pub(super) fn unique(&mut self, before: &str, after: &str) -> String {
        self.next_line += 1;
        format!("{before} {}{after}", self.next_line)
    }

    pub(super) fn write_text(&mut self, text: &str) {
        let live = self.live();
        self.append(&live, text);
    }

    pub(super) fn write_unique(&mut self, before: &str, after: &str) {
        let text = self.unique(before, after);
        self.write_text(&text);
    }

    pub(super) fn write_late(&mut self, text: &str) {
        let rotated = self.rotated().first().and_then(|name| self.file(name));
        // An unterminated line may already have got its newline; another test appends to such a file.
        let is_whole = |life: &FileLife| life.borrow().bytes.last().is_none_or(|&last| last == b'\n');
        let is_written = |life: &FileLife| !life.borrow().is_copied || !life.borrow().bytes.is_empty();
        if let Some(rotated) = rotated.filter(|(_, life)| is_whole(life) && is_written(life)) {
            self.append(&rotated, text);
        }
    }

    /// The names that rotated files of this log may have before they are compressed, newest first.
    fn rotated_names(&self) -> Vec<String> {
        let numbers = 1..=ROTATIONS_MAX;
        match self.naming {
            RotationNaming::Numbered => numbers.map(|number| format!("{}.{number}", self.log)).collect(),
            RotationNaming::Dated => numbers.rev().map(|day| dated(self.log, day)).collect(),
        }
    }

    /// The rotated files of this log that are not compressed, newest first.
    pub(super) fn rotated(&self) -> Vec<String> {
        let mut names = self.rotated_names();
        names.retain(|name| self.disk.get(name).is_some());
        names
    }

    /// The oldest rotated file of this log, compressed or not.
    pub(super) fn oldest(&self) -> Option<String> {
        let names = self.rotated_names().into_iter().rev();
        names
            .flat_map(|name| SUFFIXES.map(|suffix| format!("{name}{suffix}")))
            .find(|name| self.disk.get(name).is_some())
    }

    /// Makes room for a rotated file, and returns its name.
    fn shift(&mut self) -> String {
        let log = self.log;
        if self.naming == RotationNaming::Dated {
            self.next_day += 1;
            return dated(log, self.next_day);
        }
        for number in (1..ROTATIONS_MAX).rev() {
            for suffix in SUFFIXES {
                let from = format!("{log}.{number}{suffix}");
                self.rename(&from, format!("{log}.{}{suffix}", number + 1));
            }
        }
        format!("{log}.1")
    }

    pub(super) fn compress(&mut self, format: CompressionFormat, mut during: impl FnMut(&mut Self)) {
        let newest = self.rotated().into_iter().next();
        let Some((name, (original, life))) =
            newest.and_then(|name| self.file(&name).map(|file| (name, file)))
        else {
            return;
        };
        let bytes = compress(format, &original.borrow().bytes);
        let suffix = match format {
            CompressionFormat::Gzip => ".gz",
            CompressionFormat::Zstd => ".zst",
            CompressionFormat::Xz => ".xz",
            CompressionFormat::Bzip2 => ".bz2",
        };
        let archive_name = format!("{name}{suffix}");
        let archive = self.disk.create(&archive_name);
        for part in bytes.chunks(bytes.len().div_ceil(2)) {
            during(self);
            self.disk.append(&archive, part);
        }
        during(self);
        // As compressors do.
        archive.borrow_mut().modified = original.borrow().modified;
        self.remove(&name);
        self.names.insert(archive_name, life);
    }

    pub(super) fn rotate_by_rename(&mut self) {
        let to = self.shift();
        self.rename(self.log, to);
    }

    pub(super) fn rename(&mut self, from: &str, to: String) {
        self.disk.rename(from, &to);
        if let Some(life) = self.names.remove(from) {
            self.names.insert(to, life);
        }
    }

    pub(super) fn rotate_by_copy(&mut self, mut during: impl FnMut(&mut Self)) {
        let Some((original, life)) = self.file(self.log) else {
            return;
        };
        let to = self.shift();
        let copy = self.disk.create(&to);
        life.borrow_mut().is_copied = true;
        self.names.insert(to, life);
        let bytes = original.borrow().bytes.clone();
        for part in bytes.chunks(bytes.len().div_ceil(2).max(1)) {
            during(self);
            self.disk.append(&copy, part);
        }
        during(self);
        self.truncate();
    }

    pub(super) fn truncate(&mut self) {
        if let Some((live, _)) = self.file(self.log) {
            self.disk.truncate(&live);
            self.new_life();
        }
    }

    /// The sender starts for the first time now, with `start: end`.
    pub(super) fn leave_out(&self) {
        for life in &self.lives {
            let mut life = life.borrow_mut();
            life.left_out = life.bytes.len();
        }
    }

    pub(super) fn cut(&mut self) {
        if let Some((_, life)) = self.file(self.log) {
            life.borrow_mut().is_cut = true;
        }
        self.truncate();
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.disk.remove(name);
        self.names.remove(name);
    }

    pub(super) fn delete(&mut self, name: &str) {
        if let Some((_, life)) = self.file(name) {
            life.borrow_mut().is_cut = true;
        }
        self.remove(name);
    }
}

/// The bytes that have to arrive of a file: its lines but the excluded ones; of a finished life also an unterminated line.
pub(super) fn shipped(bytes: &[u8], is_live: bool, max_line: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_excluded = |line: &str| line.contains("ping") && line.contains("check") && line.len() < max_line;
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !is_live || line.ends_with('\n'));
    let kept = lines
        .map(|line| line.trim_end_matches('\n'))
        .filter(|line| !is_excluded(line));
    kept.flat_map(|line| [line, "\n"]).collect()
}
