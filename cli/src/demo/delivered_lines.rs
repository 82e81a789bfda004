//! Counts the delivered lines without the help of any role: every line written must be in the delivered files exactly once,
//! and no other line.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use logferry_traffic::id_in;

/// How often each line of each source was delivered, by its number.
#[derive(Debug, Default)]
pub(crate) struct DeliveredLines {
    times: HashMap<Vec<u8>, HashMap<u64, u64>>,
    /// Delivered lines without a number, such as health checks that should have been excluded.
    pub(crate) without_id: u64,
}

impl DeliveredLines {
    /// Reads every file in `folder`.
    pub(crate) fn count(folder: &Path) -> anyhow::Result<Self> {
        let mut delivered = Self::default();
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            delivered
                .add_file(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        Ok(delivered)
    }

    fn add_file(&mut self, path: &Path) -> std::io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            self.add(&line);
            line.clear();
        }
        Ok(())
    }

    fn add(&mut self, line: &[u8]) {
        match id_in(line) {
            Some((name, number)) => {
                let times = self.times.entry(name.to_vec()).or_default();
                *times.entry(number).or_default() += 1;
            }
            None => self.without_id += 1,
        }
    }

    /// Compares with the lines that a source wrote: numbers 0 up to `written`. Returns the text of a difference.
    pub(crate) fn difference(&self, source: &str, written: u64) -> Option<String> {
        let none = HashMap::new();
        let times = self.times.get(source.as_bytes()).unwrap_or(&none);
        let lost = (0..written).filter(|number| !times.contains_key(number)).count();
        let doubled = times.values().filter(|&&times| times > 1).count();
        let foreign = times.keys().filter(|&&number| number >= written).count();
        (lost + doubled + foreign > 0).then(|| {
            format!("{source}: of {written} lines written {lost} are lost and {doubled} doubled; {foreign} were never written")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(numbers: &[u64]) -> DeliveredLines {
        let mut delivered = DeliveredLines::default();
        for number in numbers {
            delivered.add(format!("GET /?id=h1-{number:012} HTTP/1.1\n").as_bytes());
        }
        delivered
    }

    #[test]
    fn lines_delivered_once_in_any_order_are_no_difference() {
        assert_eq!(delivered(&[2, 0, 1]).difference("h1", 3), None);
        assert_eq!(delivered(&[]).difference("h1", 0), None);
    }

    #[test]
    fn lost_doubled_and_unwritten_lines_are_counted() {
        let difference = delivered(&[0, 2, 2, 7]).difference("h1", 4).unwrap();
        assert_eq!(
            difference,
            "h1: of 4 lines written 2 are lost and 1 doubled; 1 were never written"
        );
        assert_eq!(
            delivered(&[]).difference("h1", 4).unwrap(),
            "h1: of 4 lines written 4 are lost and 0 doubled; 0 were never written"
        );
    }

    #[test]
    fn lines_without_an_id_are_counted_apart() {
        let mut delivered = delivered(&[0]);
        delivered.add(b"GET /health.php HTTP/1.0\n");
        assert_eq!(delivered.without_id, 1);
    }
}
