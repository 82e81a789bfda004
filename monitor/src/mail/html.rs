//! HTML for the body of a mail. Styles are inline, since mail programs drop style sheets.

use std::fmt::Write;

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The style of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextStyle {
    Plain,
    Strong,
    /// Something is wrong.
    Alarm,
}

impl TextStyle {
    const fn css(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "font-weight:bold;",
            Self::Alarm => "font-weight:bold;color:#b00020;",
        }
    }
}

/// A part of a mail's body.
#[derive(Debug, Default)]
pub(crate) struct Fragment(String);

impl Fragment {
    pub(crate) fn heading(mut self, text: &str) -> Self {
        self.line(format_args!(
            "<h2 style=\"margin:0 0 8px;font-size:18px;\">{}</h2>",
            escape(text)
        ));
        self
    }

    pub(crate) fn paragraph(mut self, text: &str, style: TextStyle) -> Self {
        self.line(format_args!(
            "<p style=\"margin:0 0 12px;{}\">{}</p>",
            style.css(),
            escape(text)
        ));
        self
    }

    /// A table. All columns but the first and the last hold numbers.
    pub(crate) fn table<const COLUMNS: usize>(
        mut self,
        head: [&str; COLUMNS],
        rows: &[(TextStyle, [String; COLUMNS])],
    ) -> Self {
        self.line(format_args!("<table style=\"border-collapse:collapse;\">"));
        self.row("th", TextStyle::Strong, &head);
        for (style, cells) in rows {
            self.row("td", *style, cells);
        }
        self.line(format_args!("</table>"));
        self
    }

    fn row(&mut self, tag: &str, style: TextStyle, cells: &[impl AsRef<str>]) {
        self.line(format_args!("<tr>"));
        for (column, cell) in cells.iter().enumerate() {
            let is_number = column > 0 && column + 1 < cells.len();
            let side = if is_number { "right" } else { "left" };
            self.line(format_args!(
                "<{tag} style=\"padding:4px 10px;border:1px solid #cccccc;text-align:{side};{}\">{}</{tag}>",
                style.css(),
                escape(cell.as_ref())
            ));
        }
        self.line(format_args!("</tr>"));
    }

    /// Puts each element on its own line: a mail may not have lines over 998 bytes (RFC 5322, 2.1.1).
    fn line(&mut self, piece: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{piece}").expect("writing to a String cannot fail");
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// The HTML document around a body.
pub(crate) fn document(body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head>\n\
         <body style=\"font-family:sans-serif;font-size:14px;color:#222222;\">\n{body}</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let shown = Fragment::default()
            .paragraph("<script>\"&'", TextStyle::Alarm)
            .into_string();
        assert_eq!(
            shown,
            "<p style=\"margin:0 0 12px;font-weight:bold;color:#b00020;\">&lt;script&gt;&quot;&amp;&#39;</p>\n"
        );
    }
}
