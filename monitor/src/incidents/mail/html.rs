//! The HTML of a mail about incidents. It sets no background, so that it reads in dark mode too; the colours have contrast on both.
//! Each element has its own line: a mail may not have lines over 998 bytes (RFC 5322, 2.1.1).

use std::fmt::Write as _;

use super::MailItem;
use logferry_text::escape_html;

/// The body.
pub(super) fn body(summary: &str, items: &[MailItem], end: &str) -> String {
    let mut html = format!(
        "<h2 style=\"margin:0 0 12px;font-size:18px;\">{}</h2>\n",
        escape_html(summary)
    );
    for item in items {
        let (color, mark, title) = (item.color, escape_html(&item.mark), escape_html(&item.title));
        // Writing to a string does not fail.
        let _ = write!(
            html,
            "<div style=\"margin:0 0 14px;padding:2px 0 2px 12px;border-left:4px solid {color};max-width:640px;\">\n\
             <div style=\"font-weight:bold;\">\n<span style=\"color:{color};\">{mark}</span>\n{title}</div>\n"
        );
        for line in &item.lines {
            let _ = writeln!(html, "<div style=\"margin:3px 0 0;\">\n{}</div>", code(line));
        }
        html.push_str("</div>\n");
    }
    let _ = writeln!(
        html,
        "<p style=\"margin:12px 0 0;max-width:640px;\">\n{}</p>",
        code(end)
    );
    html
}

/// Escaped text, with what stands between backticks as code.
fn code(text: &str) -> String {
    let mut html = String::new();
    for (index, piece) in text.split('`').enumerate() {
        let piece = escape_html(piece);
        if index % 2 == 1 {
            let _ = write!(html, "<code style=\"font-size:13px;\">{piece}</code>");
        } else {
            html += &piece;
        }
    }
    html
}
