//! Comparison of written and delivered lines: each line once, with the same bytes, in order.
//!
//! Lines are identified by their bytes, so all kept lines of a test must differ. The comparison checks that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The exclusion rule of the tests' configuration.
const EXCLUDED: [&[u8]; 3] = [b"/health.php", b"nginx/", b"health check"];

/// Examples that a failed test prints for each kind of difference.
const SHOWN: usize = 3;

/// The order that a test expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineOrder {
    /// The log's times never decrease, so all windows in order are the log.
    WholeLog,
    /// The log's times may decrease, because several processes write. In each window, the lines of each file are in the
    /// file's order.
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

    /// A log from its text.
    pub(crate) fn of(text: Vec<u8>) -> Self {
        Self { files: vec![text] }
    }

    /// Adds another log.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self
    }

    /// The number of files, including rotated ones.
    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// The number of lines, including excluded ones.
    pub(crate) fn lines(&self) -> usize {
        self.files.iter().map(|file| count_lines(file)).sum()
    }

    /// The number of lines to deliver.
    pub(crate) fn kept_lines(&self) -> usize {
        self.kept().count()
    }

    /// The lines to deliver, each with its position.
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

/// The position of a line in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinePosition {
    file: usize,
    line: usize,
}

/// The files in the drop folder.
pub(crate) struct DeliveredFiles {
    /// By base name and part number, which is their order in time.
    batches: BTreeMap<(String, u32), Vec<u8>>,
    /// Files without a final name.
    unfinished: Vec<String>,
}

impl DeliveredFiles {
    /// Reads the drop folder.
    pub(crate) fn read(folder: &Path) -> Self {
        Self::of(fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()))
    }

    /// Reads these files like those of a drop folder.
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

    /// The number of lines in files with final names.
    pub(crate) fn lines(&self) -> usize {
        self.batches.values().map(|batch| count_lines(batch)).sum()
    }

    /// Whether every written line was delivered at least once.
    pub(crate) fn holds(&self, written: &WrittenLog) -> bool {
        let files = self.batches.values();
        let lines = files.flat_map(|batch| batch.split_inclusive(|&byte| byte == b'\n'));
        let there: HashSet<&[u8]> = lines.collect();
        written.kept().all(|(line, _)| there.contains(line))
    }

    /// Fails the test unless exactly the written lines were delivered.
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

/// Differences by kind: the number and the first examples.
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

/// Splits `NAME` or `NAME.PART` into name and part.
fn window_and_part(batch: &str) -> (String, u32) {
    let numbered = batch
        .rsplit_once('.')
        .and_then(|(name, part)| Some((name.to_owned(), part.parse().ok()?)));
    numbered.unwrap_or_else(|| (batch.to_owned(), 1))
}

/// The number of complete lines in `text`.
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
