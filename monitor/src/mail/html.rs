//! HTML for the body of a mail. Styles are inline, since mail programs drop style sheets.

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let text = text.replace('>', "&gt;").replace('"', "&quot;");
    text.replace('\'', "&#39;")
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
        let text = escape(text);
        self.line(&format!(
            "<h2 style=\"margin:0 0 8px;font-size:18px;\">{text}</h2>"
        ));
        self
    }

    pub(crate) fn paragraph(mut self, text: &str, style: TextStyle) -> Self {
        let (css, text) = (style.css(), escape(text));
        self.line(&format!("<p style=\"margin:0 0 12px;{css}\">{text}</p>"));
        self
    }

    /// A table. All columns but the first and the last hold numbers.
    pub(crate) fn table<const COLUMNS: usize>(
        mut self,
        head: [&str; COLUMNS],
        rows: &[(TextStyle, [String; COLUMNS])],
    ) -> Self {
        self.line("<table style=\"border-collapse:collapse;\">");
        self.row("th", TextStyle::Strong, &head);
        for (style, cells) in rows {
            self.row("td", *style, cells);
        }
        self.line("</table>");
        self
    }

    fn row(&mut self, tag: &str, style: TextStyle, cells: &[impl AsRef<str>]) {
        self.line("<tr>");
        for (column, cell) in cells.iter().enumerate() {
            let is_number = column > 0 && column + 1 < cells.len();
            let side = if is_number { "right" } else { "left" };
            let (css, cell) = (style.css(), escape(cell.as_ref()));
            self.line(&format!(
                "<{tag} style=\"padding:4px 10px;border:1px solid #cccccc;text-align:{side};{css}\">{cell}</{tag}>"
            ));
        }
        self.line("</tr>");
    }

    /// Puts each element on its own line: a mail may not have lines over 998 bytes (RFC 5322, 2.1.1).
    fn line(&mut self, piece: &str) {
        self.0.push_str(piece);
        self.0.push('\n');
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
        let shown = Fragment::default().paragraph("<script>\"&'", TextStyle::Alarm);
        assert_eq!(
            shown.into_string(),
            "<p style=\"margin:0 0 12px;font-weight:bold;color:#b00020;\">&lt;script&gt;&quot;&amp;&#39;</p>\n"
        );
    }
}
