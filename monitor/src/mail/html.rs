//! HTML around the body of a mail. Styles are inline, since mail programs drop style sheets.

use logferry_text::escape_html;

/// A paragraph to notice, on a line of its own: a mail may not have lines over 998 bytes (RFC 5322, 2.1.1).
pub(crate) fn notice(text: &str) -> String {
    let text = escape_html(text);
    format!("<p style=\"margin:0 0 12px;font-weight:bold;\">{text}</p>\n")
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
        assert_eq!(
            notice("<script>\"&'"),
            "<p style=\"margin:0 0 12px;font-weight:bold;\">&lt;script&gt;&quot;&amp;&#39;</p>\n"
        );
    }
}
