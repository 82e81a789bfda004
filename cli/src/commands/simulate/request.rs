//! The body of a request, as the address wants it. Pure.

use jiff::Timestamp;
use logferry_traffic::{ApplicationRecord, ApplicationTraffic, RecordFormat};
use serde_json::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyShape {
    /// One record: `{"level", "message", "client_id"}`.
    Log,
    /// A list of `{"message", "level", "created_at", "id"}`.
    ApiLogs,
    /// A record a line.
    Lines(RecordFormat),
}

impl BodyShape {
    pub(super) fn of_path(path: &str, format: RecordFormat) -> Self {
        match path.split('?').next().unwrap_or(path) {
            "/log" => Self::Log,
            "/api/logs" => Self::ApiLogs,
            _ => Self::Lines(format),
        }
    }

    /// Records that a request can have.
    pub(super) fn batch_max(self) -> usize {
        match self {
            Self::Log => 1,
            Self::ApiLogs | Self::Lines(_) => usize::MAX,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Log | Self::ApiLogs => "application/json",
            Self::Lines(RecordFormat::Json) => "application/x-ndjson",
            Self::Lines(RecordFormat::Text | RecordFormat::Ltsv) => "text/plain; charset=utf-8",
        }
    }

    /// The body with these records, made at `at` by `client`.
    pub(super) fn body(
        self,
        traffic: &ApplicationTraffic,
        records: &[ApplicationRecord],
        (client, at): (usize, Timestamp),
    ) -> Vec<u8> {
        match self {
            Self::Log => records.first().map_or_else(Vec::new, |record| {
                let message = match &record.id {
                    Some(id) => format!("{} id={id}", record.message),
                    None => record.message.clone(),
                };
                let client_id = format!("{}-{client}", record.service);
                let body = json!({"level": record.level, "message": message, "client_id": client_id});
                body.to_string().into_bytes()
            }),
            Self::ApiLogs => {
                let created_at = at.to_string();
                let one = |record: &ApplicationRecord| json!({"id": record.id, "message": record.message, "level": record.level, "created_at": created_at});
                let list: Vec<_> = records.iter().map(one).collect();
                serde_json::Value::from(list).to_string().into_bytes()
            }
            Self::Lines(_) => {
                let mut body = Vec::new();
                for record in records {
                    traffic
                        .write(record, at, &mut body)
                        .expect("a Vec takes everything");
                }
                body
            }
        }
    }
}
