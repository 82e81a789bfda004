//! Exclusion rules: a line is excluded if it contains all strings of one rule.
//!
//! Whole blocks are searched for each rule's longest string, so lines without it cost no work of their own. Only the line
//! of a hit is examined further.

use std::ops::Range;

use memchr::memmem::Finder;

#[derive(Debug)]
pub(crate) struct ExclusionRules {
    rules: Vec<ExclusionRule>,
}

#[derive(Debug)]
struct ExclusionRule {
    /// The string that whole blocks are searched for.
    anchor: Finder<'static>,
    /// The other strings, which must be in the same line.
    others: Vec<Finder<'static>>,
}

impl ExclusionRules {
    /// A rule without a non-empty string matches nothing, so that a mistake in a configuration cannot exclude every line.
    pub(crate) fn new(entries: &[Vec<String>]) -> Self {
        let rules = entries.iter().filter_map(|strings| ExclusionRule::new(strings));
        Self {
            rules: rules.collect(),
        }
    }

    /// Writes the ranges of the excluded lines, in order, to `dropped`.
    ///
    /// `lines` starts at the start of a line. A line of more than `max_line` bytes, newline included, is never excluded.
    pub(crate) fn find(&self, lines: &[u8], max_line: usize, dropped: &mut Vec<Range<usize>>) {
        dropped.clear();
        for rule in &self.rules {
            rule.find(lines, max_line, dropped);
        }
        if self.rules.len() > 1 {
            dropped.sort_unstable_by_key(|line| line.start);
            dropped.dedup();
        }
    }
}

impl ExclusionRule {
    fn new(strings: &[String]) -> Option<Self> {
        let mut strings: Vec<&String> = strings.iter().filter(|string| !string.is_empty()).collect();
        // The longest string is likely the rarest, and the fastest to search for.
        strings.sort_by_key(|string| std::cmp::Reverse(string.len()));
        let mut finders = strings.into_iter().map(|string| Finder::new(string).into_owned());
        let anchor = finders.next()?;
        Some(Self {
            anchor,
            others: finders.collect(),
        })
    }

    fn find(&self, lines: &[u8], max_line: usize, dropped: &mut Vec<Range<usize>>) {
        let mut line_start = 0;
        while let Some(found) = self.anchor.find(&lines[line_start..]) {
            let hit = line_start + found;
            let start =
                memchr::memrchr(b'\n', &lines[line_start..hit]).map_or(line_start, |n| line_start + n + 1);
            let end = memchr::memchr(b'\n', &lines[hit..]).map_or(lines.len(), |n| hit + n + 1);
            let line = &lines[start..end];
            if line.len() <= max_line && self.others.iter().all(|other| other.find(line).is_some()) {
                dropped.push(start..end);
            }
            line_start = end;
        }
    }
}

/// Moves the bytes of `slice` to `to`, which is not behind it, but for the ranges `dropped` (in order, disjoint), which count from
/// the slice's byte `rest`. Returns the number of the bytes moved.
pub(crate) fn move_kept(
    bytes: &mut [u8],
    slice: Range<usize>,
    rest: usize,
    dropped: &[Range<usize>],
    to: usize,
) -> usize {
    let (mut from, mut kept) = (slice.start, to);
    let base = slice.start + rest;
    let gone = dropped.iter().map(|gone| base + gone.start..base + gone.end);
    for gone in gone.chain(std::iter::once(slice.end..slice.end)) {
        if from != kept {
            bytes.copy_within(from..gone.start, kept);
        }
        kept += gone.start - from;
        from = gone.end;
    }
    kept - to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(entries: &[&[&str]], max_line: usize, text: &str) -> String {
        let entries: Vec<Vec<String>> = entries
            .iter()
            .map(|e| e.iter().map(|&s| s.to_owned()).collect())
            .collect();
        let (mut bytes, mut dropped) = (text.as_bytes().to_vec(), Vec::new());
        ExclusionRules::new(&entries).find(&bytes, max_line, &mut dropped);
        let whole = 0..bytes.len();
        let kept = move_kept(&mut bytes, whole, 0, &dropped, 0);
        bytes.truncate(kept);
        String::from_utf8(bytes).expect("the test's text")
    }

    #[test]
    fn a_line_is_dropped_when_all_strings_of_one_rule_are_in_it() {
        let rules: &[&[&str]] = &[&["/health.php", "nginx/", "health check"], &["ping"]];
        let text =
            "/health.php nginx/1 health check\n/health.php health check\nping\nGET /\nhealth check\nping";
        assert_eq!(
            filtered(rules, 1000, text),
            "/health.php health check\nGET /\nhealth check\n"
        );
    }

    #[test]
    fn strings_of_one_rule_in_two_lines_drop_neither() {
        assert_eq!(filtered(&[&["aaa", "b"]], 1000, "aaa\nb\naaa\n"), "aaa\nb\naaa\n");
    }

    #[test]
    fn a_line_over_the_limit_is_never_dropped() {
        assert_eq!(filtered(&[&["ping"]], 5, "ping\nping!\n"), "ping!\n");
    }

    #[test]
    fn a_rule_without_strings_drops_nothing() {
        assert_eq!(filtered(&[&[], &["", ""]], 1000, "a\n\nb\n"), "a\n\nb\n");
    }
}
