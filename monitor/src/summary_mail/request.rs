//! `logferry summary`: makes the mail of an hour or a day again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_ledger::{Ledger, LedgerError};

use super::{ComposedSummary, SummaryFacts, compose};
use crate::error::MonitorError;
use crate::mail::send_now;
use crate::summary::period::SummaryPeriod;

/// Makes the mail of a period from what is known now.
pub fn summarize(
    config: &MonitorSettings,
    period: SummaryPeriod,
    now: Timestamp,
) -> Result<ComposedSummary, LedgerError> {
    let ledger = Ledger::open(&config.data_dir)?;
    let zone = TimeZone::system();
    let facts = SummaryFacts::read(&ledger, config, period, &zone, now)?;
    Ok(compose(&facts, config, &zone))
}

/// The mail's HTML as a file of its own: with its pictures inside.
pub fn summary_page(summary: &ComposedSummary) -> String {
    let mut html = summary.mail.html.clone().unwrap_or_default();
    for part in &summary.parts {
        if let Some(id) = &part.content_id {
            let data = format!(
                "data:{};base64,{}",
                part.content_type,
                STANDARD.encode(&part.content)
            );
            html = html.replace(&format!("cid:{id}"), &data);
        }
    }
    html
}

/// Sends the mail now, without the outbox.
pub async fn send_summary(config: &MonitorSettings, summary: &ComposedSummary) -> Result<(), MonitorError> {
    let sent = send_now(&config.smtp, "summary", &summary.mail, &summary.parts).await;
    sent?.require_all()
}
