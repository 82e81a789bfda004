//! `logferry summary`: the mail of an hour or a day once more: printed, as a page, or sent.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_monitor::{SummaryPeriod, summarize, summary_page};

use crate::args::SummaryArgs;
use crate::output::console;
use crate::output::exit::{CommandOutcome, Result};
use crate::output::result_file::ResultFile;
use crate::roles::oneshot;

/// Makes the mail from what is known now.
pub(crate) fn run(file: &Path, options: &SummaryArgs) -> Result {
    let page = options.html.as_deref().map(ResultFile::open).transpose()?;
    let config = oneshot::monitor_section(file)?;
    let now = Timestamp::now();
    let asked = options.hour.or(options.day);
    let period = asked.unwrap_or_else(|| SummaryPeriod::last_hour(&TimeZone::system(), now));
    let summary = summarize(&config, period, now)?;
    let subject = &summary.mail.subject;
    if options.send {
        oneshot::send_summary(&config, &summary)?;
        let to = config.smtp.to.join(", ");
        console::print(&format!("sent to {to}: {subject}\n"))?;
    } else if let Some(page) = page {
        page.write(summary_page(&summary).as_bytes())?;
        console::print(&format!("{subject}\n"))?;
    } else {
        console::print(&summary.mail.text)?;
    }
    Ok(CommandOutcome::Fine)
}
