//! `logferry adopt`: the first start of the sender goes on where the old shipper stopped.

use std::fmt::Write;
use std::path::Path;

use logferry_sender::{AdoptError, AdoptRequest, FoundBy, Takeover};
use logferry_text::count;

use crate::args::AdoptArgs;
use crate::configuration;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Failure, Result};
use crate::roles::role::{Role, missing_section};

/// Finds the place, and unless it is a dry run, writes it to the state folder. Run it as root or as the sender's user: the logs
/// must be readable.
pub(crate) fn run(file: &Path, options: &AdoptArgs) -> Result {
    let config = configuration::load(file)?;
    let sender = config.sender.ok_or_else(|| missing_section(file, Role::Sender))?;
    let request = AdoptRequest {
        offset_file: &options.offset_file,
        log: options.log.as_ref(),
        live_file: options.file.as_deref(),
        counted_in: options.counted_in.as_deref(),
        dry_run: options.dry_run,
    };
    let found = logferry_sender::adopt(&sender, request).map_err(failure)?;
    console::print(&text(&found, options.dry_run))?;
    Ok(CommandOutcome::Fine)
}

fn failure(error: AdoptError) -> Failure {
    match error {
        AdoptError::UnclearLog { .. }
        | AdoptError::UnknownLog { .. }
        | AdoptError::SeveralLiveFiles { .. }
        | AdoptError::UnknownLiveFile { .. }
        | AdoptError::NoLogOfFile { .. }
        | AdoptError::NotThere { .. } => Failure::configuration(error),
        error => error.into(),
    }
}

fn text(found: &Takeover, is_dry_run: bool) -> String {
    let reason = match found.found_by {
        FoundBy::LineTime => {
            "the newest file that had so many bytes when the offset was written, by the times of its lines"
        }
        FoundBy::Size => "it ended there when the offset was written",
        FoundBy::FileTime => "the first file that was changed after the offset was written",
        FoundBy::Zero => "the file that was live when the offset was written",
        FoundBy::Named => "as named",
    };
    let (path, offset) = (found.path.display(), count(found.offset));
    let mut text = format!(
        "log {}: goes on in {path} at byte {offset} of {} ({reason})\n",
        found.log,
        count(found.size)
    );
    if found.inside_line > 0 {
        let _ = writeln!(
            text,
            "the offset stands inside a line: the old shipper has sent its first {} bytes, the rest comes as a line of its own",
            count(found.inside_line)
        );
    }
    for (what, files) in [
        ("left out, it is older", &found.finished),
        ("shipped whole, it is newer", &found.newer),
    ] {
        for file in files {
            let _ = writeln!(text, "{}: {what}", file.display());
        }
    }
    text += if is_dry_run {
        "nothing was written (--dry-run)\n"
    } else {
        "now start the sender: systemctl enable --now logferry-sender\n"
    };
    text
}
