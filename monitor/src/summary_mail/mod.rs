//! The mail about an hour or a day: facts from ledger, spool and index (`facts`, `index_numbers`), what follows from them
//! (`report`, `source_rows`, `window_check`, `traffic`), and how it is said (`page`, `templates`, `attachments`).
//!
//! Only `facts`, `index_numbers` and `templates` read files; the rest is pure. Layout and words can be changed here and in
//! `monitor/templates/` alone. The form of the subject stays, since people's mail rules match it.

mod attachments;
mod facts;
mod index_numbers;
mod line_totals;
mod page;
mod report;
pub(crate) mod request;
mod source_rows;
mod templates;
mod traffic;
mod window_check;

use jiff::tz::TimeZone;
use logferry_config::MonitorSettings;
use logferry_ledger::{MailPart, NewMail};

pub(crate) use self::facts::SummaryFacts;
use self::page::SummaryPage;
use self::report::SummaryReport;
use self::templates::SummaryTemplates;
pub use self::templates::TemplateError;
use crate::mail::picture;

/// A mail and what comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposedSummary {
    /// Subject, text and HTML.
    pub mail: NewMail,
    /// Its picture and its tables.
    pub parts: Vec<MailPart>,
}

/// The built-in templates: the name that a user's own has, and the text.
pub fn built_in_templates() -> &'static [(&'static str, &'static str)] {
    &templates::BUILT_IN
}

/// Renders the templates of a folder with sample data, of an hour and of a day, each with everything and with nothing: the first
/// mistake, if there is one.
pub fn check_templates(folder: &std::path::Path) -> Result<(), TemplateError> {
    if !folder.is_dir() {
        return Err(TemplateError::Unreadable {
            path: folder.to_owned(),
            reason: "there is no such folder".to_owned(),
        });
    }
    let templates = SummaryTemplates::in_folder(Some(folder))?;
    page::sample::pages()
        .iter()
        .try_for_each(|page| templates.render(page).map(drop))
}

/// Writes the mail. If the user's templates fail, it is the built-in one and says so.
pub(crate) fn compose(facts: &SummaryFacts, config: &MonitorSettings, zone: &TimeZone) -> ComposedSummary {
    let mut report = SummaryReport::new(facts, zone);
    let mut parts = Vec::new();
    let mut alt = String::new();
    if let Some(chart) = traffic::traffic_chart(facts, zone) {
        let drawing = chart.draw();
        alt = format!("{}. {}", drawing.title, drawing.description);
        parts.extend(picture::png(&drawing).map(|content| MailPart {
            name: "traffic.png".to_owned(),
            content_type: "image/png".to_owned(),
            content_id: Some(format!("traffic.{}@logferry", facts.period.stamp(zone))),
            content,
        }));
    }
    parts.extend(attachments::attachments(facts, &report, zone));
    let page = SummaryPage::new(facts, &report, &parts, &alt, zone);
    let folder = config.summary.templates_dir.as_deref();
    let own = SummaryTemplates::in_folder(folder).and_then(|templates| templates.render(&page));
    let mail = own.or_else(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a template of monitor.templates_dir cannot be used, so the mail is the built-in one; `logferry check` tells \
             all mistakes"
        );
        report.notices.push(format!("{error}. This is the built-in mail."));
        SummaryTemplates::built_in().render(&SummaryPage::new(facts, &report, &parts, &alt, zone))
    });
    let mail = mail.unwrap_or_else(|error| NewMail {
        subject: page.label.clone(),
        text: format!("{}\n{error}\n", page.verdict),
        html: None,
    });
    ComposedSummary { mail, parts }
}

#[cfg(test)]
mod tests;
