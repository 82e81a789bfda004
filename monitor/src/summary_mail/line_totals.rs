//! Lines by what became of them. Pure.
//!
//! Invariant: delivered + waiting + failed = lines.

use logferry_ledger::{Batch, BatchState};
use logferry_text::{count, count_of};

/// The lines of some batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LineTotals {
    pub(crate) batches: u64,
    pub(crate) bytes: u64,
    pub(crate) delivered: u64,
    pub(crate) waiting: u64,
    pub(crate) failed: u64,
}

impl LineTotals {
    pub(crate) fn of<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> Self {
        let mut totals = Self::default();
        for batch in batches {
            totals.add(batch);
        }
        totals
    }

    pub(crate) fn add(&mut self, batch: &Batch) {
        let lines = batch.contents.lines;
        self.batches += 1;
        self.bytes += batch.contents.bytes;
        match batch.state {
            BatchState::Open | BatchState::Ready => self.waiting += lines,
            BatchState::Sent => self.delivered += lines,
            BatchState::Failed => self.failed += lines,
        }
    }

    pub(crate) const fn lines(&self) -> u64 {
        self.delivered + self.waiting + self.failed
    }

    pub(crate) const fn is_delivered(&self) -> bool {
        self.waiting == 0 && self.failed == 0
    }

    /// `1,234 lines, 200 waiting`
    pub(crate) fn conclusion(&self) -> String {
        if self.lines() == 0 {
            return "no lines".to_owned();
        }
        let mut parts = vec![count_of(self.lines(), "line")];
        if self.is_delivered() {
            parts.push("all delivered".to_owned());
        }
        for (lines, state) in [(self.waiting, "waiting"), (self.failed, "failed")] {
            if lines > 0 {
                parts.push(format!("{} {state}", count(lines)));
            }
        }
        parts.join(", ")
    }
}

/// How much more or less than before: `+12 %`, `-3 %`, `new`; nothing where both are nothing.
pub(crate) fn change(now: u64, before: u64) -> String {
    match (now, before) {
        (0, 0) => String::new(),
        (_, 0) => "new".to_owned(),
        _ => {
            let permille = (i128::from(now) - i128::from(before)) * 1000 / i128::from(before);
            let percent = (permille + 5 * permille.signum()) / 10;
            match percent {
                0 => "same".to_owned(),
                percent if percent > 999 => format!("x{}", now / before),
                percent => format!("{percent:+}%"),
            }
        }
    }
}

/// A share as `0.8%`; `None` of nothing.
pub(crate) fn share(part: u64, whole: u64) -> Option<String> {
    let permille = u128::from(part) * 1000 / u128::from(whole.max(1));
    (whole > 0).then(|| match permille {
        0 if part > 0 => "<0.1%".to_owned(),
        0 => "0%".to_owned(),
        1000 => "100%".to_owned(),
        permille => format!("{}.{}%", permille / 10, permille % 10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_and_shares_are_short() {
        let changes = [
            (0, 0),
            (5, 0),
            (112, 100),
            (97, 100),
            (1000, 1001),
            (0, 7),
            (5000, 100),
        ];
        let shown = changes.map(|(now, before)| change(now, before));
        assert_eq!(shown, ["", "new", "+12%", "-3%", "same", "-100%", "x50"]);
        let shares = [(0, 0), (0, 5), (1, 5000), (8, 1000), (7, 7)];
        let shown = shares.map(|(part, whole)| share(part, whole));
        let shown: Vec<_> = shown
            .iter()
            .map(|share| share.as_deref().unwrap_or("-"))
            .collect();
        assert_eq!(shown, ["-", "0%", "<0.1%", "0.8%", "100%"]);
    }
}
