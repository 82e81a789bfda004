//! A row of numbers as JSON. The keys are a contract.

use std::time::Duration;

use jiff::Timestamp;
use logferry_fields::Level;
use serde_json::{Map, Value};

use super::{NumbersDimension, NumbersRow};
use crate::counts::CounterId;

impl NumbersDimension {
    /// The key of the value in JSON, and the title of its column.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Group => "group",
            Self::Log => "log",
            Self::Status => "status",
            Self::Level => "level",
        }
    }
}

impl NumbersRow {
    /// The row for programs. Of a status or a level only lines and bytes are known. `counters`: those that are shown.
    pub fn json(&self, by: Option<NumbersDimension>, counters: &[(String, CounterId)]) -> Map<String, Value> {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        let time = Timestamp::from_second(self.start).unwrap_or_default();
        put("time", time.to_string().into());
        if let Some(by) = by {
            put(by.key(), self.value.clone().into());
        }
        let counts = &self.counts;
        put("lines", counts.lines().into());
        put("bytes", counts.bytes().into());
        if let Some(by @ (NumbersDimension::Status | NumbersDimension::Level)) = by {
            let column = self.value.as_deref().unwrap_or_default();
            put(&format!("{}_{column}", by.key()), counts.lines().into());
        } else {
            for (class, (lines, _)) in (1..).zip(counts.statuses()) {
                put(&format!("status_{class}xx"), lines.into());
            }
            for (level, (lines, _)) in Level::ALL.iter().zip(counts.levels()) {
                put(&format!("level_{}", level.as_str()), lines.into());
            }
            put("unparsed", counts.unparsed().into());
            let (timed, micros) = counts.request_times();
            put("requests_timed", timed.into());
            put("request_seconds", seconds(micros).into());
            put(
                "request_p95_seconds",
                counts.request_quantile(0.95).map(seconds).into(),
            );
            for (name, id) in counters {
                put(name, counts.named(*id).into());
            }
        }
        object
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
