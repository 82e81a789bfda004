//! The options of `adopt`.

use std::path::PathBuf;

use clap::Args as Options;
use logferry_protocol::names::LogName;

#[derive(Debug, Options)]
pub(crate) struct AdoptArgs {
    /// The offset file of the old shipper, such as /app/log/nginx/log-shipper/latest.offset
    #[arg(value_name = "OFFSET_FILE")]
    pub(crate) offset_file: PathBuf,
    /// The live log file that the old shipper followed, if the log has several
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
    /// Name of the log in the sender section [default: the one of --file, or the only log]
    #[arg(long, value_name = "NAME")]
    pub(crate) log: Option<LogName>,
    /// The log file in which the offset counts, if it cannot be found out
    #[arg(long = "in", value_name = "FILE")]
    pub(crate) counted_in: Option<PathBuf>,
    /// Show where the sender would go on, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
