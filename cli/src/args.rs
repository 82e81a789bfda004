//! The command line: every command and option, and nothing else.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args as Options, Parser, Subcommand};
use clap_complete::Shell;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use logferry_ledger::BatchFilter;
use logferry_protocol::names::{DestinationName, GroupName, LogName, SourceId};

/// Ships nginx logs to SFTP drops: every line exactly once, with proof.
#[derive(Debug, Parser)]
#[command(name = "logferry", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The configuration
    #[arg(
        short,
        long,
        global = true,
        env = "LOGFERRY_CONFIG",
        default_value = "/etc/logferry/logferry.yaml",
        value_name = "FILE"
    )]
    pub(crate) config: PathBuf,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 looked and found something wrong, 2 bad usage or configuration, \
                          3 could not do it. LOGFERRY_LOG sets the log level (error, warn, info, debug, trace).";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole pipeline at work on this machine; needs neither root nor a configuration
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Run every role whose section is in the configuration, in one process
    Run,
    /// Ship this host's logs to the relay
    Sender,
    /// Take in the senders' lines and make batch files of them
    Relay,
    /// Deliver sealed batches over SFTP
    Forwarder,
    /// Mail people when a source falls silent, and every hour what was received and delivered
    Monitor(Round),
    /// Compress and delete what every destination has
    Housekeeper(Round),
    /// Validate the configuration
    Check(Check),
    /// Show sources, lag, batches and destinations
    Status(Status),
    /// Prove that every line read was delivered once
    Audit(Audit),
    /// Compare the ledger with the files of the spool
    Fsck(Fsck),
    /// Show lines as the relay makes them durable
    Tail(Tail),
    /// Put failed batches back to ready
    Retry(Retry),
    /// Show a destination's host key and, after a yes, keep it
    Trust(Trust),
    /// Deliver sent batches once more, or the past to a destination that was added; nothing there is overwritten
    Resend(Resend),
    /// Ship old logs once, whole files in the order given; what the relay has already is not shipped again
    Backfill(Backfill),
    /// Write nginx-like traffic
    Generate(Generate),
    /// Send one mail to the recipients
    TestMail,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[cfg(feature = "demo")]
#[derive(Debug, Options)]
pub(crate) struct Demo {
    /// How long traffic is written; 0: until Ctrl-C
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub(crate) seconds: u64,
    /// Where everything goes, `delivered/` among it [default: a new folder among the temporary files]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Lines per second, of all sources together
    #[arg(long, default_value = "300", value_name = "LINES_PER_S")]
    pub(crate) rate: NonZeroU32,
}

#[derive(Debug, Options)]
pub(crate) struct Round {
    /// One round, for cron
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Options)]
pub(crate) struct Check {
    /// Also try to reach the relay, the destinations and the mail server
    #[arg(long)]
    pub(crate) connect: bool,
}

#[derive(Debug, Options)]
pub(crate) struct Status {
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Again every two seconds, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

/// Which batches.
#[derive(Debug, Options)]
pub(crate) struct Which {
    /// Only windows that end after this time (2026-11-21T08:00 here, or with an offset or Z)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Only windows that start before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// Only this source
    #[arg(long)]
    pub(crate) source: Option<SourceId>,
}

impl Which {
    /// As the ledger is asked for them.
    pub(crate) fn filter(&self) -> BatchFilter {
        BatchFilter {
            source: self.source.clone(),
            since: self.since,
            until: self.until,
        }
    }
}

#[derive(Debug, Options)]
pub(crate) struct Audit {
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Also read back every delivered file from its destinations, and compare
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Debug, Options)]
pub(crate) struct Fsck {
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Move whole files to where the ledger says they are; relay, forwarder and housekeeper must be stopped
    #[arg(long)]
    pub(crate) repair: bool,
    /// Make a new ledger from the spool, where the old one is damaged or gone; every role must be stopped
    #[arg(long, conflicts_with = "repair")]
    pub(crate) rebuild: bool,
}

#[derive(Debug, Options)]
pub(crate) struct Tail {
    /// Only this source
    #[arg(long)]
    pub(crate) source: Option<SourceId>,
    /// Only this group
    #[arg(long)]
    pub(crate) group: Option<GroupName>,
    /// Only lines with this text in them
    pub(crate) pattern: Option<String>,
}

#[derive(Debug, Options)]
pub(crate) struct Retry {
    /// Names of batches, as `audit` shows them [default: all failed ones]
    #[arg(value_name = "BATCH")]
    pub(crate) batches: Vec<String>,
}

#[derive(Debug, Options)]
pub(crate) struct Trust {
    /// The destination's name in the configuration
    pub(crate) destination: DestinationName,
    /// Keep the key without asking, for scripts that have compared the fingerprint
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Options)]
pub(crate) struct Resend {
    /// Only to this one [default: to all that want them]
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<DestinationName>,
    #[command(flatten)]
    pub(crate) which: Which,
    /// For programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Names of batches, as `audit` shows them [default: all]
    #[arg(value_name = "BATCH", conflicts_with_all = ["since", "until", "source"])]
    pub(crate) batches: Vec<String>,
}

#[derive(Debug, Options)]
pub(crate) struct Backfill {
    /// Plain, .gz or .zst files that are not written to any more, the oldest first
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The log they belong to, as the sender section names it [default: the only one, or the one whose patterns match]
    #[arg(long, value_name = "NAME")]
    pub(crate) log: Option<LogName>,
    /// Ask the relay and say what would be shipped, but send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Options)]
pub(crate) struct Generate {
    /// Lines per second; 0: as fast as they are taken
    #[arg(long, value_name = "LINES_PER_S")]
    pub(crate) rate: Option<u32>,
    /// Stop after so long
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
    /// Stop after so many lines
    #[arg(long, value_name = "N", required_unless_present_any = ["rate", "seconds"])]
    pub(crate) lines: Option<u64>,
    /// Append to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Number the lines with `id=NAME-000000000000`, so that lost and doubled ones can be found
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "log")]
    pub(crate) ids: Option<LogName>,
    /// The same seed and times give the same lines
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Make every Nth line a health check
    #[arg(long, value_name = "N")]
    pub(crate) health_every: Option<NonZeroU32>,
}

/// A time as people write it: with an offset, or as this host's clock shows it.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    text.parse::<DateTime>()
        .and_then(|local| local.to_zoned(TimeZone::system()))
        .map(|zoned| zoned.timestamp())
        .map_err(|_| "write it like 2026-11-21T08:00 or 2026-11-21T08:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn config_may_stand_before_or_after_the_command() {
        for line in [
            ["logferry", "-c", "x.yaml", "status"],
            ["logferry", "status", "-c", "x.yaml"],
        ] {
            assert_eq!(
                Args::try_parse_from(line).unwrap().config,
                PathBuf::from("x.yaml")
            );
        }
    }

    #[test]
    fn times_are_taken_with_and_without_an_offset() {
        assert_eq!(
            time("2026-11-21T08:00:00+06:00").unwrap(),
            "2026-11-21T02:00:00Z".parse().unwrap()
        );
        assert_eq!(
            time("2026-11-21T08:00").unwrap(),
            time("2026-11-21 08:00:00").unwrap()
        );
        assert_eq!(time("2026-11-21").unwrap(), time("2026-11-21T00:00").unwrap());
        assert_eq!(
            time("yesterday").unwrap_err(),
            "write it like 2026-11-21T08:00 or 2026-11-21T08:00:00Z"
        );
    }

    #[test]
    fn generate_needs_an_end_or_a_rate() {
        let parse = |more: &[&str]| Args::try_parse_from(["logferry", "generate"].iter().chain(more));
        assert!(parse(&[]).is_err());
        for more in [["--lines", "5"], ["--seconds", "5"], ["--rate", "5"]] {
            assert!(parse(&more).is_ok(), "{more:?}");
        }
    }
}
