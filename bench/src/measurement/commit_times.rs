//! A group's commit times, from the histogram in the relay's metrics.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The histogram of commit times since the relay's start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommitTimes {
    /// Upper limits in seconds, each with the number of commits that did not exceed it.
    buckets: Vec<(f64, f64)>,
}

impl CommitTimes {
    /// Reads the histogram of one group.
    pub(crate) fn read(metrics: SocketAddr, group: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(metrics)?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nhost: {metrics}\r\nconnection: close\r\n\r\n"
        )?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(Self::parse(&page, group))
    }

    fn parse(page: &str, group: &str) -> Self {
        let group = format!("group=\"{group}\"");
        let limit = |line: &str| {
            let (labels, count) = line
                .strip_prefix("logferry_relay_commit_seconds_bucket{")?
                .split_once("} ")?;
            let limit = labels.split("le=\"").nth(1)?.split('"').next()?;
            let limit = limit.replace("+Inf", "inf").parse().ok()?;
            let count = count.trim().parse().ok()?;
            labels.contains(&group).then_some((limit, count))
        };
        Self {
            buckets: page.lines().filter_map(limit).collect(),
        }
    }

    /// The time in milliseconds that `percent` of the commits since `earlier` did not exceed. Between two limits it is
    /// interpolated linearly.
    pub(crate) fn percentile_since(&self, earlier: &Self, percent: f64) -> f64 {
        let before = |limit: f64| {
            let at = earlier.buckets.iter().find(|(at, _)| *at >= limit);
            at.map_or(0.0, |(_, count)| *count)
        };
        let counts = self.buckets.iter();
        let counts = counts.map(|&(limit, count)| (limit, count - before(limit)));
        let counts: Vec<_> = counts.collect();
        let wanted = counts.last().map_or(0.0, |(_, all)| all * percent / 100.0);
        let (mut low, mut below) = (0.0, 0.0);
        for (limit, count) in counts {
            if count >= wanted && count > below {
                let share = (wanted - below) / (count - below);
                return 1e3 * (low + share * (limit - low));
            }
            (low, below) = (limit, count);
        }
        f64::NAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_interpolated_between_the_limits() {
        let page = |counts: [u32; 3]| {
            let [a, b, c] = counts;
            format!(
                "logferry_relay_commit_seconds_bucket{{le=\"0.001\",group=\"a\"}} {a}\n\
                 logferry_relay_commit_seconds_bucket{{le=\"0.002\",group=\"a\"}} {b}\n\
                 logferry_relay_commit_seconds_bucket{{le=\"+Inf\",group=\"a\"}} {c}\n\
                 logferry_relay_commit_seconds_bucket{{le=\"+Inf\",group=\"b\"}} 9\n"
            )
        };
        let earlier = CommitTimes::parse(&page([10, 10, 10]), "a");
        let later = CommitTimes::parse(&page([60, 110, 110]), "a");
        assert!((later.percentile_since(&earlier, 50.0) - 1.0).abs() < 1e-9);
        assert!((later.percentile_since(&earlier, 75.0) - 1.5).abs() < 1e-9);
        assert!(earlier.percentile_since(&earlier, 99.0).is_nan());
    }
}
