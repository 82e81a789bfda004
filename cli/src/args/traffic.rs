//! The options of `generate` and `simulate`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Options, ValueEnum};
use logferry_protocol::names::LogName;
use logferry_traffic::{Burst, LevelMix, RecordFormat};

#[derive(Debug, Options)]
pub(crate) struct GenerateArgs {
    /// Lines per second; 0: as fast as possible
    #[arg(long, value_name = "LINES_PER_S")]
    pub(crate) rate: Option<u32>,
    /// Stop after so many seconds
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
    /// Stop after so many lines
    #[arg(long, value_name = "N", required_unless_present_any = ["rate", "seconds"])]
    pub(crate) lines: Option<u64>,
    /// Append to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Number the lines with `NAME-000000000000`, to find lost and doubled lines
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "log")]
    pub(crate) ids: Option<LogName>,
    /// Seed; the same seed and times give the same lines
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// An access log, or what applications log
    #[arg(long, value_enum, default_value_t = LineFormat::Nginx)]
    pub(crate) format: LineFormat,
    /// Make every Nth line of an access log a health check
    #[arg(long, value_name = "N")]
    pub(crate) health_every: Option<NonZeroU32>,
    /// Levels and their shares [default: INFO=70,WARN=15,ERROR=10,DEBUG=5]
    #[arg(long, value_name = "LEVEL=N,…")]
    pub(crate) levels: Option<LevelMix>,
    #[command(flatten)]
    pub(crate) bursts: BurstArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineFormat {
    /// nginx's combined format
    Nginx,
    /// An object a line
    Json,
    /// `2025-10-23 14:32:15 INFO [service] text`
    Text,
    /// Labels and values, separated by tabs
    Ltsv,
}

impl LineFormat {
    /// How an application's records are written; `None` for an access log.
    pub(crate) fn of_records(self) -> Option<RecordFormat> {
        match self {
            Self::Nginx => None,
            Self::Json => Some(RecordFormat::Json),
            Self::Text => Some(RecordFormat::Text),
            Self::Ltsv => Some(RecordFormat::Ltsv),
        }
    }
}

#[derive(Debug, Clone, Copy, Options)]
pub(crate) struct BurstArgs {
    /// A burst of one second begins each time so much has passed, such as 60s
    #[arg(long, value_name = "TIME", value_parser = time_span, requires = "burst")]
    burst_every: Option<Duration>,
    /// How many times the rate a burst has, such as 10x
    #[arg(long, value_name = "N", value_parser = factor, requires = "burst_every")]
    burst: Option<u32>,
}

impl BurstArgs {
    pub(crate) fn burst(self) -> Option<Burst> {
        let (every, factor) = (self.burst_every?, self.burst?);
        Some(Burst { every, factor })
    }
}

#[derive(Debug, Options)]
pub(crate) struct SimulateArgs {
    /// Where the records go: http(s)://HOST:PORT/log, /api/logs or /lines, or HOST:PORT of a TCP source (tls://HOST:PORT with TLS)
    #[arg(long, value_name = "URL|HOST:PORT")]
    pub(crate) to: String,
    /// Clients, each with a connection of its own
    #[arg(long, default_value = "10", value_name = "N")]
    pub(crate) clients: NonZeroUsize,
    /// Records per second, all clients together; 0: as fast as the source answers
    #[arg(long, default_value_t = 100, value_name = "RECORDS_PER_S")]
    pub(crate) rate: u32,
    /// Seconds of traffic
    #[arg(long, default_value_t = 10, value_name = "S")]
    pub(crate) seconds: u64,
    /// Records in one request
    #[arg(long, default_value = "1", value_name = "N")]
    pub(crate) batch: NonZeroUsize,
    /// How records are written where the address does not say it
    #[arg(long, value_enum, default_value_t = LineFormat::Json)]
    pub(crate) format: LineFormat,
    /// Levels and their shares [default: INFO=70,WARN=15,ERROR=10,DEBUG=5]
    #[arg(long, value_name = "LEVEL=N,…")]
    pub(crate) levels: Option<LevelMix>,
    #[command(flatten)]
    pub(crate) bursts: BurstArgs,
    /// Number the records of each client with `NAME-CLIENT-000000000000`, to find lost and doubled records
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "sim")]
    pub(crate) ids: Option<LogName>,
    /// Seed; the same seed gives the same records
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// File with the key that is sent as X-API-Key
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Authorities of the source's certificate [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

fn factor(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse().ok();
    let number = number.filter(|number| (1..=10_000).contains(number));
    number.ok_or_else(|| "is no factor of 1 to 10000; write it like 10x".to_owned())
}

/// A time such as `60s`, `500ms` or `2m`.
fn time_span(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let number: Option<u64> = number.parse().ok();
    let span = number
        .and_then(|number| number.checked_mul(millis))
        .filter(|span| *span > 0);
    span.map(Duration::from_millis)
        .ok_or_else(|| "is no time; write it like 60s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_factors_are_read_or_refused_with_an_example() {
        assert_eq!(time_span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time_span("2m"), Ok(Duration::from_mins(2)));
        for text in ["", "0s", "5", "s", "1.5s", "18446744073709551615h"] {
            assert_eq!(
                time_span(text),
                Err("is no time; write it like 60s".to_owned()),
                "{text}"
            );
        }
        assert_eq!((factor("10x"), factor("3")), (Ok(10), Ok(3)));
        assert!(factor("0x").is_err() && factor("ten").is_err());
    }
}
