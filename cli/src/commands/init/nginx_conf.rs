//! The logs of nginx and their formats, out of the text of its configuration. Pure.
//!
//! Source: `ngx_conf_read_token` for words, quotes and comments; `ngx_http_log_module` for `access_log` and `log_format`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::str::CharIndices;

/// A log that nginx writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NginxLog {
    /// Its path; a glob where nginx puts a variable into the name.
    pub(super) path: String,
    /// The text of its `log_format`; `None`: nginx's own `combined`.
    pub(super) format: Option<String>,
}

/// The logs of a configuration, or of its files one after the other, each path once, in their order. `prefix`: what relative
/// paths are relative to.
pub(super) fn access_logs(text: &str, prefix: &Path) -> Vec<NginxLog> {
    let mut formats = BTreeMap::new();
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    for directive in directives(text) {
        let words: Vec<_> = directive.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["log_format", name, _, ..] => {
                formats.insert((*name).to_owned(), directive.source.to_owned());
            }
            ["access_log", path, more @ ..] if is_plain_file(path, more) => {
                let path = prefix.join(without_variables(path)).display().to_string();
                let format = more.first().filter(|word| !word.contains('='));
                if !found.iter().any(|(known, _)| *known == path) {
                    found.push((path, format.map(|name| (*name).to_owned())));
                }
            }
            _ => {}
        }
    }
    let logs = found.into_iter().map(|(path, format)| NginxLog {
        path,
        format: format.and_then(|name| formats.get(&name).cloned()),
    });
    logs.collect()
}

/// The paths or globs of the `include` directives, in their order.
pub(super) fn includes(text: &str) -> Vec<String> {
    let found = directives(text).into_iter();
    let paths = found.filter_map(|directive| match <[String; 2]>::try_from(directive.words) {
        Ok([name, path]) if name == "include" => Some(path),
        _ => None,
    });
    paths.collect()
}

/// Whether it is a file of text: not a socket, not memory, not written as gzip.
fn is_plain_file(path: &str, more: &[&str]) -> bool {
    let is_gzip = more
        .iter()
        .any(|word| *word == "gzip" || word.starts_with("gzip="));
    !is_gzip
        && path != "off"
        && !path.starts_with("syslog:")
        && !path.starts_with("memory:")
        && !path.starts_with("/dev/")
}

/// The path with `*` for each variable: the files of a log whose name has one are found by a glob.
fn without_variables(path: &str) -> String {
    let mut parts = path.split('$');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = match part.strip_prefix('{') {
            Some(part) => part.split_once('}').map_or("", |(_, rest)| rest),
            None => part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'),
        };
        if !plain.ends_with('*') {
            plain.push('*');
        }
        plain.push_str(rest);
    }
    plain
}

/// One directive with its words, and its text up to the `;`.
struct Directive<'t> {
    words: Vec<String>,
    source: &'t str,
}

fn directives(text: &str) -> Vec<Directive<'_>> {
    let mut found = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut start = 0;
    let mut rest = text.char_indices().peekable();
    while let Some((at, letter)) = rest.next() {
        match letter {
            letter if letter.is_whitespace() => {}
            '#' => while rest.next_if(|(_, letter)| *letter != '\n').is_some() {},
            ';' => {
                let source = text.get(start..at).unwrap_or_default();
                let words = std::mem::take(&mut words);
                found.push(Directive { words, source });
            }
            '{' => {
                // What is in such a block is Lua.
                if words.last().is_some_and(|word| word.ends_with("_by_lua_block")) {
                    skip_block(&mut rest);
                }
                words.clear();
            }
            '}' => words.clear(),
            letter => {
                if words.is_empty() {
                    start = at;
                }
                words.push(word(letter, &mut rest));
            }
        }
    }
    found
}

/// A word that begins with `first`, without its quotes.
fn word(first: char, rest: &mut Peekable<CharIndices<'_>>) -> String {
    let quote = Some(first).filter(|letter| matches!(letter, '"' | '\''));
    let mut word = String::new();
    let mut next = Some(first).filter(|_| quote.is_none());
    loop {
        let letter = match next.take() {
            Some(letter) => letter,
            None => match (quote, rest.peek()) {
                (_, None) => return word,
                (Some(quote), Some((_, letter))) if *letter == quote => {
                    rest.next();
                    return word;
                }
                (None, Some((_, letter)))
                    if letter.is_whitespace()
                        || matches!(letter, ';' | '{')
                    // `${name}` is part of the word.
                    && !(*letter == '{' && word.ends_with('$')) =>
                {
                    return word;
                }
                (_, Some((_, letter))) => {
                    let letter = *letter;
                    rest.next();
                    letter
                }
            },
        };
        word.push(letter);
        if letter == '\\'
            && let Some((_, escaped)) = rest.next()
        {
            word.push(escaped);
        }
    }
}

fn skip_block(rest: &mut Peekable<CharIndices<'_>>) {
    let mut open = 1;
    for (_, letter) in rest.by_ref() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(text: &str) -> Vec<(String, Option<String>)> {
        let logs = access_logs(text, Path::new("/usr/share/nginx"));
        logs.into_iter().map(|log| (log.path, log.format)).collect()
    }

    #[test]
    fn logs_have_the_format_that_they_name_wherever_it_is_defined() {
        let text = "http {\n  access_log /var/log/nginx/access.log; # not this: access_log /x.log;\n\
                    server { access_log \"/var/log/nginx/shop.log\" shop buffer=32k; access_log off; }\n\
                    server { access_log syslog:server=192.0.2.1 shop; access_log logs/rel.log; }\n\
                    log_format shop escape=json '$time_iso8601;{'\n   '\"r\":\"$request\"}';\n\
                    access_log /var/log/nginx/access.log combined; }\n";
        let shop = "log_format shop escape=json '$time_iso8601;{'\n   '\"r\":\"$request\"}'";
        assert_eq!(
            logs(text),
            [
                ("/var/log/nginx/access.log".to_owned(), None),
                ("/var/log/nginx/shop.log".to_owned(), Some(shop.to_owned())),
                ("/usr/share/nginx/logs/rel.log".to_owned(), None),
            ]
        );
    }

    #[test]
    fn variables_in_a_path_become_a_glob() {
        let text =
            "access_log /l/$host.access.log; access_log /l/${server_name}_$x$y/a.log main if=$loggable;";
        assert_eq!(
            logs(text),
            [
                ("/l/*.access.log".to_owned(), None),
                ("/l/*_*/a.log".to_owned(), None)
            ]
        );
    }

    #[test]
    fn what_is_no_file_of_text_is_left_out() {
        let text = "access_log /l/a.gz combined gzip=5; access_log /dev/stdout; access_log memory:32m; access_log off;";
        assert_eq!(logs(text), []);
    }

    #[test]
    fn lua_and_broken_text_hide_no_log() {
        let text = "location / { content_by_lua_block { ngx.say(\"it's {}\") } }\naccess_log /l/a.log;\n}}; access_log /l/b.log;\nx '";
        assert_eq!(
            logs(text),
            [("/l/a.log".to_owned(), None), ("/l/b.log".to_owned(), None)]
        );
    }
}
