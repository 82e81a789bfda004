//! The Prometheus text 0.0.4 of a page in the `OpenMetrics` text: the same samples, with the older words about them. Pure.
//!
//! The older text names a metric as its samples are named, and knows no `info`: `x` of type `counter` is `x_total`, and `x` of type
//! `info` is a gauge `x_info`.

/// Rewrites the lines about metrics. Samples stay as they are.
pub(super) fn from_open_metrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    // The help stands before the type, and needs it.
    let mut help = None;
    for line in page.lines() {
        let Some(about) = line.strip_prefix("# ") else {
            push_line(&mut text, &[line]);
            continue;
        };
        if let Some(named) = about.strip_prefix("HELP ") {
            help = Some(named);
        } else if let Some((name, kind)) = about.strip_prefix("TYPE ").and_then(|it| it.split_once(' ')) {
            let (suffix, kind) = plain_kind(kind);
            let words = help.take().and_then(|it| it.split_once(' '));
            if let Some((_, words)) = words.filter(|(helped, _)| *helped == name) {
                push_line(&mut text, &["# HELP ", name, suffix, " ", words]);
            }
            push_line(&mut text, &["# TYPE ", name, suffix, " ", kind]);
        }
        // There is no unit and no mark of the end.
    }
    text
}

/// What a metric's name has behind it in its samples, and the older word for its type.
fn plain_kind(kind: &str) -> (&'static str, &str) {
    match kind {
        "counter" => ("_total", kind),
        "info" => ("_info", "gauge"),
        "stateset" => ("", "gauge"),
        "unknown" | "gaugehistogram" => ("", "untyped"),
        _ => ("", kind),
    }
}

fn push_line(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_infos_have_the_names_of_their_samples() {
        let page = "# HELP a A thing.\n# TYPE a counter\na_total{x=\"# y\"} 1\n\
                    # HELP b Its version.\n# TYPE b info\nb_info{version=\"1\"} 1\n\
                    # HELP c_seconds Time.\n# TYPE c_seconds histogram\n# UNIT c_seconds seconds\nc_seconds_count 2\n\
                    # HELP d Files.\n# TYPE d gauge\nd 3\n# EOF\n";
        let expected = "# HELP a_total A thing.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n\
                        # HELP b_info Its version.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n\
                        # HELP c_seconds Time.\n# TYPE c_seconds histogram\nc_seconds_count 2\n\
                        # HELP d Files.\n# TYPE d gauge\nd 3\n";
        assert_eq!(from_open_metrics(page), expected);
    }
}
