//! `logferry man-pages DIR`: the manual pages, from the definitions of the command line.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use logferry_durable::{Disk, RealDisk};

use crate::args::CliArgs;
use crate::output::exit::{CommandOutcome, Result};

/// Writes `logferry.1` and `logferry-COMMAND.1` for each command that the help shows, and those below it.
pub(crate) fn write(dir: &Path) -> Result {
    RealDisk.create_dir_all(dir)?;
    let mut command = CliArgs::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, dir)?;
    Ok(CommandOutcome::Fine)
}

fn write_pages(command: &Command, dir: &Path) -> Result<()> {
    let page = Man::new(command.clone().disable_help_subcommand(true)).manual("logferry");
    let page = page.source(concat!("logferry ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    RealDisk.replace(&dir.join(page.get_filename()), &text)?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    for command in shown {
        write_pages(command, dir)?;
    }
    Ok(())
}
