//! The options of `backup` and `restore`.

use std::path::PathBuf;

use clap::Args as Options;

/// The options of both: the folder, and the form of the output.
#[derive(Debug, Options)]
pub(crate) struct BackupArgs {
    /// The folder of the backup; to make one, it must be empty or not exist
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}
