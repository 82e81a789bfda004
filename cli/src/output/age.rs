//! How long ago something was, in words.

use jiff::Timestamp;
use logferry_text::duration;

pub(crate) fn ago(at: Option<Timestamp>, now: Timestamp) -> String {
    let age = at.map(|at| duration(now.duration_since(at).try_into().unwrap_or_default()));
    age.map_or_else(|| "never".to_owned(), |age| format!("{age} ago"))
}
