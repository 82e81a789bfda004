//! Lines of names and values: JSON, LTSV and logfmt.
//!
//! May be changed here alone: the names of times and their order, and how each notation is read. The name decides which value
//! is the time. Nothing is searched inside a value, because any client can write one.

mod json;
mod logfmt;
mod ltsv;
mod time_key;

pub(crate) use self::json::{container_end, is_json, members, time as json_time};
pub(crate) use self::logfmt::{is_logfmt, pairs, time as logfmt_time};
pub(crate) use self::ltsv::{is_ltsv, labels, time as ltsv_time};
pub(crate) use self::time_key::{ends_with_key, value_time};
