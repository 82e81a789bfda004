//! Sentences of the program, with what a reader types as code: `` `logferry status` ``. They quote configuration and log lines, so
//! everything in them is escaped. Pure.

use logferry_text::escape_html;

/// A sentence as HTML: what stands between two backticks is code. A backtick without a partner stays what it is.
pub(crate) fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, code, after)) = next_code(rest) {
        html.push_str(&escape_html(before));
        html.push_str("<code>");
        html.push_str(&escape_html(code));
        html.push_str("</code>");
        rest = after;
    }
    html.push_str(&escape_html(rest));
    html
}

/// What is before the next code, the code, and what is behind it.
fn next_code(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, after) = rest.split_once('`')?;
    Some((before, code, after))
}

/// What is wrong, and what to do: messages have both, with a semicolon between them.
pub(crate) fn split_advice(text: &str) -> (&str, &str) {
    text.split_once("; ").unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_two_backticks_is_code() {
        for (text, expected) in [
            (
                "`a b` shows, `c` too",
                "<code>a b</code> shows, <code>c</code> too",
            ),
            ("no code", "no code"),
            ("a ` alone", "a ` alone"),
            ("`a` and ` alone", "<code>a</code> and ` alone"),
            ("", ""),
        ] {
            assert_eq!(html(text), expected);
        }
    }

    #[test]
    fn what_a_sentence_quotes_is_no_markup() {
        assert_eq!(
            html("<b>`<script>alert(\"1\")</script>`</b> & 'x'"),
            "&lt;b&gt;<code>&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;</code>&lt;/b&gt; &amp; &#39;x&#39;"
        );
        assert_eq!(
            html("</code>`</code><img src=x>`"),
            "&lt;/code&gt;<code>&lt;/code&gt;&lt;img src=x&gt;</code>"
        );
    }

    #[test]
    fn advice_is_behind_the_first_semicolon() {
        assert_eq!(
            split_advice("down: reset; try it; now"),
            ("down: reset", "try it; now")
        );
        assert_eq!(split_advice("nothing"), ("nothing", ""));
    }
}
