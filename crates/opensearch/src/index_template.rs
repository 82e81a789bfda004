//! The index template: how the fields of documents are indexed. Pure.
//!
//! It is a composable template, as OpenSearch and Elasticsearch 7.8 and later know it.

use logferry_config::IndexTemplate;
use serde_json::{Value, json};

/// It goes before templates of the server for all indices, which have lower ones.
const PRIORITY: u32 = 100;

/// The longest text that is indexed as one word, in characters: 32,766 bytes in UTF-8 are the server's bound.
const KEYWORD_MAX: u32 = 8191;

/// The name of the template on the server.
pub(crate) fn name(index: &IndexTemplate) -> String {
    let prefix = index.prefix();
    if prefix.starts_with("logferry") {
        prefix.to_owned()
    } else {
        format!("logferry-{prefix}")
    }
}

/// The template.
pub(crate) fn body(index: &IndexTemplate) -> Value {
    let keyword = json!({"type": "keyword", "ignore_above": KEYWORD_MAX});
    json!({
        "index_patterns": [index.pattern()],
        "priority": PRIORITY,
        "_meta": {"description": "lines of logs, put by logferry"},
        "template": {"mappings": {
            // A text that looks like a date makes a field of dates, and then other texts in it are refused.
            "date_detection": false,
            "dynamic_templates": [{"extra_fields": {
                "path_match": "extra_fields.*", "match_mapping_type": "string", "mapping": keyword,
            }}],
            "properties": {
                "timestamp": {"type": "date"},
                "ingested_at": {"type": "date"},
                "level": keyword,
                "service": keyword,
                "message": {"type": "text"},
                "source": {"properties": {"hostname": keyword, "file": keyword}},
                "batch": keyword,
                "offset": {"type": "long"},
                "group": keyword,
                "log": keyword,
                "status": {"type": "short"},
                "request_seconds": {"type": "double"},
            },
        }},
    })
}
