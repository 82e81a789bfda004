//! What was written against what was delivered: each line once, its bytes unchanged, in its order.
//!
//! Lines are told apart by their bytes, so the kept lines of a test must all differ; that is checked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The exclusion rule of the tests' configuration.
const EXCLUDED: [&[u8]; 3] = [b"/health.php", b"nginx/", b"health check"];

/// Examples of each difference that a failed test prints.
const SHOWN: usize = 3;

/// The order that a test can promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineOrder {
    /// Times never go back in the log, so all windows one after the other are the log itself.
    WholeLog,
    /// Several processes write at once, and a line may be older than the one before it: in each window, the lines of
    /// each file stand as they stand in the file.
    WithinWindow,
}

/// A log and its rotated files, oldest first.
pub(crate) struct WrittenLog {
    files: Vec<Vec<u8>>,
}

impl WrittenLog {
    /// Reads `LOG.9`, `LOG.8` and so on, then `LOG`.
    pub(crate) fn read(log: &Path) -> Self {
        let rotated = (1..)
            .map(|number| log.with_added_extension(number.to_string()))
            .map_while(|path| fs::read(path).ok());
        let mut files: Vec<_> = rotated.collect();
        files.reverse();
        files.push(fs::read(log).unwrap());
        Self { files }
    }

    /// A log that was kept account of in one piece.
    pub(crate) fn of(text: Vec<u8>) -> Self {
        Self { files: vec![text] }
    }

    /// Together with another log.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self
    }

    /// Files, rotated ones included.
    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Lines, excluded ones included.
    pub(crate) fn lines(&self) -> usize {
        self.files.iter().map(|file| count_lines(file)).sum()
    }

    /// Lines that are to be delivered.
    pub(crate) fn kept_lines(&self) -> usize {
        self.kept().count()
    }

    /// The lines that are to be delivered, each with its file and its place there.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&[u8], LinePosition)> {
        let files = self.files.iter().enumerate();
        files.flat_map(|(file, bytes)| {
            let lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate();
            lines
                .filter(|(_, line)| !EXCLUDED.iter().all(|part| contains(line, part)))
                .map(move |(line, bytes)| (bytes, LinePosition { file, line }))
        })
    }
}

/// Where a line stands in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinePosition {
    file: usize,
    line: usize,
}

/// What is at the drop.
pub(crate) struct DeliveredFiles {
    /// By name without `.log` and part number, and by part: in the order of time.
    batches: BTreeMap<(String, u32), Vec<u8>>,
    /// Files that are not under a final name.
    unfinished: Vec<String>,
}

impl DeliveredFiles {
    /// Reads the drop folder.
    pub(crate) fn read(folder: &Path) -> Self {
        Self::of(fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()))
    }

    /// Reads these files, as if they were at the drop.
    pub(crate) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut delivered = Self {
            batches: BTreeMap::new(),
            unfinished: Vec::new(),
        };
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            match name.strip_suffix(".log") {
                Some(batch) => {
                    let contents = fs::read(&path).unwrap();
                    delivered.batches.insert(window_and_part(batch), contents);
                }
                None => delivered.unfinished.push(name.to_owned()),
            }
        }
        delivered
    }

    /// Lines under final names.
    pub(crate) fn lines(&self) -> usize {
        self.batches.values().map(|batch| count_lines(batch)).sum()
    }

    /// Whether every line that was `written` is there, be it once or more often.
    pub(crate) fn holds(&self, written: &WrittenLog) -> bool {
        let files = self.batches.values();
        let lines = files.flat_map(|batch| batch.split_inclusive(|&byte| byte == b'\n'));
        let there: HashSet<&[u8]> = lines.collect();
        written.kept().all(|(line, _)| there.contains(line))
    }

    /// Fails the test unless this is what was `written`.
    pub(crate) fn assert_is(&self, written: &WrittenLog, order: LineOrder) {
        if let Err(difference) = self.compare(written, order) {
            panic!("{difference}");
        }
    }

    fn compare(&self, written: &WrittenLog, order: LineOrder) -> Result<(), String> {
        let mut report = Differences::default();
        let mut places: HashMap<&[u8], LinePosition> = HashMap::new();
        for (line, place) in written.kept() {
            if places.insert(line, place).is_some() {
                return Err(format!("the test wrote a line twice: {}", shown(line)));
            }
        }
        let mut last_in_window: HashMap<(&str, usize), LinePosition> = HashMap::new();
        let mut last = None;
        let mut seen: HashMap<&[u8], &str> = HashMap::new();
        for ((window, _), batch) in &self.batches {
            for line in batch.split_inclusive(|&byte| byte == b'\n') {
                let Some(&place) = places.get(line) else {
                    report.add("never written", window, line);
                    continue;
                };
                if let Some(first) = seen.insert(line, window) {
                    report.add("delivered again", &format!("{first} and {window}"), line);
                }
                let before = last_in_window.insert((window, place.file), place);
                let is_behind = match order {
                    LineOrder::WithinWindow => before.is_some_and(|before| before >= place),
                    LineOrder::WholeLog => last.is_some_and(|last| last >= place),
                };
                last = Some(place);
                if is_behind {
                    report.add("out of order", window, line);
                }
            }
        }
        for (line, place) in written.kept() {
            if !seen.contains_key(line) {
                report.add("lost", &format!("{place:?}"), line);
            }
        }
        for name in &self.unfinished {
            report.add("not under a final name", name, b"");
        }
        report.conclude(self, written)
    }
}

/// Differences by kind: how many, and the first of them.
#[derive(Default)]
struct Differences(BTreeMap<&'static str, (usize, String)>);

impl Differences {
    fn add(&mut self, kind: &'static str, place: &str, line: &[u8]) {
        let (count, examples) = self.0.entry(kind).or_default();
        *count += 1;
        if *count <= SHOWN {
            write!(examples, "\n    {place}: {}", shown(line)).unwrap();
        }
    }

    fn conclude(self, delivered: &DeliveredFiles, written: &WrittenLog) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut text = format!(
            "{} lines written, {} delivered",
            written.kept_lines(),
            delivered.lines()
        );
        for (kind, (count, examples)) in self.0 {
            write!(text, "\n  {kind}: {count}{examples}").unwrap();
        }
        Err(text)
    }
}

/// `NAME` or `NAME.PART` as name and part.
fn window_and_part(batch: &str) -> (String, u32) {
    let numbered = batch
        .rsplit_once('.')
        .and_then(|(name, part)| Some((name.to_owned(), part.parse().ok()?)));
    numbered.unwrap_or_else(|| (batch.to_owned(), 1))
}

/// Lines in `text`; an unfinished one does not count.
pub(crate) fn count_lines(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'\n').count() - 1
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[&str]) -> WrittenLog {
        let files = files.iter().map(|file| file.as_bytes().to_vec()).collect();
        WrittenLog { files }
    }

    fn differences(batches: &[(&str, &str)], order: LineOrder) -> String {
        let batches = batches.iter();
        let delivered = DeliveredFiles {
            batches: batches
                .map(|(name, text)| (window_and_part(name), text.as_bytes().to_vec()))
                .collect(),
            unfinished: Vec::new(),
        };
        let written = written(&["1\n2\n/health.php nginx/ health check\n", "3\n4\n"]);
        delivered.compare(&written, order).err().unwrap_or_default()
    }

    #[test]
    fn lines_delivered_once_in_order_are_fine() {
        for order in [LineOrder::WholeLog, LineOrder::WithinWindow] {
            assert_eq!(
                differences(&[("a", "1\n"), ("a.2", "2\n3\n"), ("b", "4\n")], order),
                ""
            );
        }
        assert_eq!(
            differences(&[("a", "2\n4\n"), ("b", "1\n3\n")], LineOrder::WithinWindow),
            ""
        );
    }

    #[test]
    fn each_difference_is_found() {
        for (batches, expected) in [
            (vec![("a", "1\n2\n3\n")], "lost: 1"),
            (vec![("a", "1\n2\n3\n4\n"), ("b", "4\n")], "delivered again: 1"),
            (vec![("a", "1\n2\n3\nfour\n4\n")], "never written: 1"),
            (vec![("a", "1\n2\n3\n4")], "never written: 1"),
            (vec![("a", "2\n1\n3\n4\n")], "out of order: 1"),
            (vec![("a.2", "1\n"), ("a", "2\n3\n4\n")], "out of order: 1"),
        ] {
            for order in [LineOrder::WholeLog, LineOrder::WithinWindow] {
                let found = differences(&batches, order);
                assert!(found.contains(expected), "{batches:?}: {found}");
            }
        }
        let swapped = differences(&[("a", "3\n4\n"), ("b", "1\n2\n")], LineOrder::WholeLog);
        assert!(swapped.contains("out of order"), "{swapped}");
    }
}
