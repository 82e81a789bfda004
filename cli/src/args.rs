//! The command line: every command and option with its help text.

mod adopt;
pub(crate) mod alerts;
mod audit;
mod backup;
pub(crate) mod console;
#[cfg(test)]
mod documented;
mod environment;
pub(crate) mod init;
pub(crate) mod traffic;

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as Options, Parser, Subcommand};
use clap_complete::Shell;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_monitor::SummaryPeriod;
use logferry_protocol::names::{DestinationName, GroupName, LogName, SourceId};
use logferry_store::SearchCursor;
use logferry_time_windows::{MomentError, moment};

pub(crate) use self::adopt::AdoptArgs;
use self::alerts::{AlertsArgs, SilenceArgs};
pub(crate) use self::audit::AuditArgs;
pub(crate) use self::audit::BatchSelection;
pub(crate) use self::backup::BackupArgs;
use self::console::ConsoleArgs;
use self::init::InitArgs;
use self::traffic::{GenerateArgs, SimulateArgs};
use crate::roles::role::Role;

/// The configuration that is used unless another one is named.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/logferry/logferry.yaml";

/// Names another one.
const CONFIG_VARIABLE: &str = "LOGFERRY_CONFIG";

/// Ships nginx logs to SFTP servers: every line exactly once, with proof
#[derive(Debug, Parser)]
#[command(name = "logferry", version, after_help = EXIT_CODES)]
pub(crate) struct CliArgs {
    /// The configuration file
    #[arg(
        short,
        long,
        global = true,
        env = CONFIG_VARIABLE,
        default_value = DEFAULT_CONFIG,
        value_name = "FILE"
    )]
    pub(crate) config: PathBuf,
    /// Absent: nothing was asked for yet
    #[command(subcommand)]
    pub(crate) command: Option<CliCommand>,
}

const EXIT_CODES: &str = "Exit codes: 0 nothing is wrong, 1 the command found a problem, 2 wrong usage or invalid \
                          configuration, 3 the command failed. LOGFERRY_LOG sets the log level (error, warn, info, \
                          debug, trace).";

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run the whole pipeline on this machine with generated traffic; needs no root and no configuration
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Run every role that has a section in the configuration, in one process
    Run,
    /// Ship this host's logs to the relay
    Sender,
    /// Receive the senders' lines and write them to batch files
    Relay,
    /// Deliver sealed batches over SFTP
    Forwarder,
    /// Send a mail when something is wrong or right again, and each hour a summary of lines received and delivered
    Monitor(RunMode),
    /// Compress and later delete the batches that every destination has
    Housekeeper(HousekeeperArgs),
    /// Count the lines that the relay has stored, and keep them for the search
    Indexer,
    /// Write a commented configuration for this host, and check it
    Init(Box<InitArgs>),
    /// Take records from what is not a file (HTTP, TCP, syslog, journal, MySQL, Windows events) into files for the sender
    Collector,
    /// Show the pipeline and its lines in a browser; `user` and `token` say who may look
    Console(ConsoleArgs),
    /// Validate the configuration, and with --connect try the hosts in it
    Check(CheckArgs),
    /// Show the present state: sources, lag, batches, destinations
    Status(StatusArgs),
    /// List what is wrong and what was: incidents, open and past, with their timelines
    Alerts(AlertsArgs),
    /// Tell nobody about a subject for a while; the same as `alerts silence`
    Silence(SilenceArgs),
    /// Show the rules over numbers and their states, and with --test when each would have fired
    Rules(RulesArgs),
    /// Check that every line that was read was delivered exactly once
    Audit(AuditArgs),
    /// Make the mail of an hour or a day again: printed, as a page, or sent
    Summary(SummaryArgs),
    /// Compare the ledger with the files in the spool
    Fsck(FsckArgs),
    /// Show lines as the relay stores them
    Tail(TailArgs),
    /// Find lines, newest first, in the indexer's store and in the spool
    Search(Box<SearchArgs>),
    /// Show lines, bytes and named counters by minute or hour, as the indexer has counted them
    Numbers(NumbersArgs),
    /// Put failed batches back to ready, to be delivered again
    Retry {
        /// Names of batches as `audit` shows them [default: all failed batches]
        #[arg(value_name = "BATCH")]
        batches: Vec<String>,
    },
    /// Show a destination's host key and, after confirmation, store it
    Trust(TrustArgs),
    /// Deliver sent batches again, or old batches to a new destination; no file there is overwritten. With --index: to OpenSearch
    Resend(ResendArgs),
    /// Ship old log files once, in the order given; lines that the relay already has are not shipped again
    Backfill(BackfillArgs),
    /// Go on exactly where the old shipper stopped, by its offset file; before the first start of the sender
    Adopt(AdoptArgs),
    /// Copy ledger and spool to a folder while everything runs
    Backup(BackupArgs),
    /// Restore a backup into an empty data folder
    Restore(BackupArgs),
    /// Write log lines, for tests: an access log, or what applications log
    Generate(GenerateArgs),
    /// Send records to a collector's HTTP or TCP source as many clients do, and print what was acknowledged and how fast
    Simulate(SimulateArgs),
    /// Send one test mail to the configured recipients, or one message to a channel
    TestMail {
        /// Try this channel of monitor.channels instead of the mail
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages of all commands; for packages
    #[command(hide = true)]
    ManPages {
        /// Folder for the pages
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the schema that this program knows, and that of the ledger here; for packages
    #[command(hide = true)]
    LedgerVersions,
}

#[cfg(feature = "demo")]
#[derive(Debug, Options)]
pub(crate) struct DemoArgs {
    /// Seconds of traffic; 0: until Ctrl-C
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub(crate) seconds: u64,
    /// Also the console, over the demo's data; runs until Ctrl-C
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) console: bool,
    /// Folder for all files; delivered batches are in its `delivered/` [default: a new temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Lines per second, all sources together
    #[arg(long, default_value = "300", value_name = "LINES_PER_S")]
    pub(crate) rate: NonZeroU32,
    /// Also a host with a collector, and programs that send it records by HTTP, TCP and syslog
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Options)]
pub(crate) struct RunMode {
    /// One pass, then exit; for cron
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Options)]
pub(crate) struct HousekeeperArgs {
    /// One pass, then exit; for cron
    #[arg(long)]
    pub(crate) once: bool,
    /// Show what a pass would do now, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write the ledger's file anew, without what it does not need any more, while the relay is stopped; for a large one of an
    /// earlier version (docs/run/upgrade.md)
    #[arg(long, conflicts_with_all = ["once", "dry_run"])]
    pub(crate) shrink_ledger: bool,
}

#[derive(Debug, Options)]
pub(crate) struct CheckArgs {
    /// Also try the relay, the destinations and the mail server in their own protocols, and the ports to listen on
    #[arg(long)]
    pub(crate) connect: bool,
    /// Print JSON, for programs: a list of {name, state, detail, advice}; state is ok, warning or problem
    #[arg(long, conflicts_with = "accepted_by")]
    pub(crate) json: bool,
    /// Only whether this role (or `run`: all of them) accepts the configuration; says nothing if it does. For units
    #[arg(long = "for", value_name = "ROLE", value_parser = checked_role(), conflicts_with = "connect")]
    pub(crate) accepted_by: Option<CheckedRole>,
    /// Only look at the files of this unit's roles, as its user; `check` run by root starts itself so
    #[arg(long, value_name = "UNIT", hide = true, conflicts_with_all = ["connect", "accepted_by"])]
    pub(crate) look_as: Option<String>,
}

impl CheckArgs {
    /// `check --connect`.
    pub(crate) fn with_connections() -> Self {
        Self {
            connect: true,
            json: false,
            accepted_by: None,
            look_as: None,
        }
    }
}

/// What `check --for` takes: a role, or `run`, which is all of them (`None`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckedRole(pub(crate) Option<Role>);

fn checked_role() -> impl TypedValueParser<Value = CheckedRole> {
    let names = ["run"].into_iter().chain(Role::ALL.map(Role::name));
    let of_name = |name: String| Role::ALL.into_iter().find(|role| role.name() == name);
    PossibleValuesParser::new(names).map(move |name| CheckedRole(of_name(name)))
}

#[derive(Debug, Options)]
pub(crate) struct StatusArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Repeat every two seconds until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Options)]
pub(crate) struct SummaryArgs {
    /// The hour that begins then, such as 2026-11-20T08 [default: the last one]
    #[arg(long, value_name = "TIME", value_parser = hour)]
    pub(crate) hour: Option<SummaryPeriod>,
    /// The whole day, such as 2026-11-20
    #[arg(long, value_name = "DATE", value_parser = day, conflicts_with = "hour")]
    pub(crate) day: Option<SummaryPeriod>,
    /// Write it as a page to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Send it to the recipients
    #[arg(long, conflicts_with = "html")]
    pub(crate) send: bool,
}

#[derive(Debug, Options)]
pub(crate) struct FsckArgs {
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Move intact files to the folder of their state in the ledger; stop relay, forwarder and housekeeper first
    #[arg(long)]
    pub(crate) repair: bool,
    /// Create a new ledger from the spool if the old one is damaged or gone; stop every role first
    #[arg(long, conflicts_with = "repair")]
    pub(crate) rebuild: bool,
}

#[derive(Debug, Options)]
pub(crate) struct TailArgs {
    /// Only this source
    #[arg(long)]
    pub(crate) source: Option<SourceId>,
    /// Only this group
    #[arg(long)]
    pub(crate) group: Option<GroupName>,
    /// Only this log
    #[arg(long)]
    pub(crate) log: Option<LogName>,
    /// Only lines that contain this text
    pub(crate) pattern: Option<String>,
}

#[derive(Debug, Options)]
pub(crate) struct SearchArgs {
    /// Only lines of this time or later: 2h (ago), 08:00, yesterday, 2026-11-21, 2026-11-21T08:00, or with an offset or Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// Only this source
    #[arg(long)]
    pub(crate) source: Option<SourceId>,
    /// Only this group
    #[arg(long)]
    pub(crate) group: Option<GroupName>,
    /// Only this log
    #[arg(long)]
    pub(crate) log: Option<LogName>,
    /// Only this level: error, warn, info or debug
    #[arg(long)]
    pub(crate) level: Option<String>,
    /// Only this HTTP status, or a class such as 5xx
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only lines whose field K has the value V; V may begin or end in *
    #[arg(long, value_name = "K=V")]
    pub(crate) field: Vec<String>,
    /// Only lines in which this regular expression matches
    #[arg(long, value_name = "RE")]
    pub(crate) regex: Vec<String>,
    /// Only lines without this word or phrase; as -WORD in the words
    #[arg(long, value_name = "WORD")]
    pub(crate) not: Vec<String>,
    /// At most so many lines
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// All lines, without a limit: to export them
    #[arg(long, conflicts_with_all = ["limit", "count"])]
    pub(crate) all: bool,
    /// Stop after so long, and say how far the search came
    #[arg(long, value_name = "TIME", value_parser = logferry_config::units::parse_duration)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Go on where a search has stopped: the text that it has printed
    #[arg(long, value_name = "CURSOR", allow_hyphen_values = true)]
    pub(crate) after: Option<SearchCursor>,
    /// Print JSON, one object a line, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Only count the lines
    #[arg(long, conflicts_with = "after")]
    pub(crate) count: bool,
    /// Words that are all in the line: word, "a phrase", begin*, field:value, status:5xx, -without
    pub(crate) words: Vec<String>,
}

#[derive(Debug, Options)]
pub(crate) struct NumbersArgs {
    /// From this time on: 2h (ago), 08:00, 2026-11-21, or RFC 3339 [default: one hour ago; with --per hour, one day]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Until this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// A row for each of these
    #[arg(long, value_enum, default_value_t = NumbersPer::Minute)]
    pub(crate) per: NumbersPer,
    /// And for each value of this
    #[arg(long, value_enum)]
    pub(crate) by: Option<NumbersBy>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// The time of a row of `numbers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum NumbersPer {
    Minute,
    Hour,
}

/// What the rows of `numbers` are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum NumbersBy {
    Source,
    Group,
    Log,
    Status,
    Level,
}

#[derive(Debug, Options)]
pub(crate) struct RulesArgs {
    /// When each rule would have fired on what is stored, with its hold
    #[arg(long)]
    pub(crate) test: bool,
    /// With --test, from this time on: 24h (ago), 08:00, 2026-11-21, or RFC 3339 [default: one day ago]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "test")]
    pub(crate) since: Option<Timestamp>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Options)]
pub(crate) struct TrustArgs {
    /// The destination's name in the configuration
    pub(crate) destination: DestinationName,
    /// Store the key without confirmation, for scripts that have compared the fingerprint
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Options)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub(crate) struct ResendArgs {
    /// Deliver to this destination only [default: to all that want the batches]
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<DestinationName>,
    /// Send everything that the spool has to OpenSearch again, for a new cluster; what is there is found and not doubled
    #[arg(long, conflicts_with_all = ["destination", "since", "until", "source", "batches"])]
    pub(crate) index: bool,
    #[command(flatten)]
    pub(crate) selection: BatchSelection,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// All batches that the other options select, without confirmation
    #[arg(long)]
    pub(crate) all: bool,
    /// Show what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Names of batches as `audit` shows them
    #[arg(value_name = "BATCH", conflicts_with_all = ["since", "until", "source", "all"])]
    pub(crate) batches: Vec<String>,
}

#[derive(Debug, Options)]
pub(crate) struct BackfillArgs {
    /// Plain, .gz or .zst files that are complete, oldest first
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of their log in the sender section [default: the only log, or the log with a matching path]
    #[arg(long, value_name = "NAME")]
    pub(crate) log: Option<LogName>,
    /// Show what would be shipped, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A time as people type it.
fn time(text: &str) -> Result<Timestamp, MomentError> {
    moment(text, Timestamp::now(), &TimeZone::system())
}

/// The hour of a local time such as `2026-11-20T08`, or of any time that other options take.
fn hour(text: &str) -> Result<SummaryPeriod, MomentError> {
    let has_hour_only = text.len() == "2026-11-20T08".len() && text.contains('T');
    let at = if has_hour_only {
        time(&format!("{text}:00"))
    } else {
        time(text)
    };
    Ok(SummaryPeriod::hour_of(at?, &TimeZone::system()))
}

fn day(text: &str) -> Result<SummaryPeriod, String> {
    let date = text.parse().ok();
    let day = date.and_then(|date| SummaryPeriod::day(date, &TimeZone::system()));
    day.ok_or_else(|| "is not a date; write it like 2026-11-20".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        CliArgs::command().debug_assert();
    }

    #[test]
    fn config_can_be_before_or_after_the_command() {
        for line in [
            ["logferry", "-c", "x.yaml", "status"],
            ["logferry", "status", "-c", "x.yaml"],
        ] {
            let args = CliArgs::try_parse_from(line).unwrap();
            assert_eq!(args.config, PathBuf::from("x.yaml"));
        }
    }

    #[test]
    fn cursor_of_lines_before_1970_begins_with_a_minus() {
        let cursor = "-2208988800000,b_mix_1@0";
        let args = CliArgs::try_parse_from(["logferry", "search", "--after", cursor]);
        assert!(args.is_ok(), "{args:?}");
    }

    #[test]
    fn generate_needs_a_limit_or_a_rate() {
        let parse = |more: &[&str]| CliArgs::try_parse_from(["logferry", "generate"].iter().chain(more));
        assert!(parse(&[]).is_err());
        for more in [["--lines", "5"], ["--seconds", "5"], ["--rate", "5"]] {
            assert!(parse(&more).is_ok(), "{more:?}");
        }
    }
}
