//! `logferry summary`: the mail of an hour or a day once more: printed, as a page, or sent.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_monitor::{SummaryPeriod, summarize, summary_page};
use logferry_text::wrapped;

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
    if period.end() > now {
        console::print_hint(&not_over(period.end(), now, &TimeZone::system()));
    }
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

/// Its numbers are not those of the mail that the monitor will send.
fn not_over(end: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let [end, now] = [end, now].map(|at| at.to_zoned(zone.clone()).strftime("%F %T").to_string());
    wrapped(&format!(
        "this time is not over: it ends at {end}, and now it is {now}; the numbers are those until now"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_not_over_is_told() {
        let at = |second: i64| Timestamp::from_second(1_795_250_000 + second).unwrap();
        assert_eq!(
            not_over(at(600), at(0), &TimeZone::UTC),
            "this time is not over: it ends at 2026-11-21 08:43:20, and now it is 2026-11-21\n  08:33:20; the numbers are those until \
             now\n"
        );
    }
}
