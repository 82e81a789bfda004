//! Values of columns as JSON.
//!
//! Pure. Nothing is rounded: decimals are texts, since readers of JSON make numbers of limited precision of them. Bytes that are
//! no text are base64.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mysql_async::Value as SqlValue;
use mysql_async::consts::ColumnType;
use serde_json::Value;

/// What of a column decides how a value is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnKind {
    pub(super) column_type: ColumnType,
    /// Its character set is `binary` (number 63 in the protocol).
    pub(super) is_binary: bool,
}

/// The number of the character set of bytes that are no text.
pub(super) const BINARY_CHARSET: u16 = 63;

/// A value as JSON. A `TIMESTAMP` is of the session's zone, which is UTC; a `DATETIME` has no zone.
pub(super) fn json_of(value: SqlValue, kind: ColumnKind) -> Value {
    match value {
        SqlValue::NULL => Value::Null,
        SqlValue::Int(number) => number.into(),
        SqlValue::UInt(number) => number.into(),
        // By its own digits: 0.1 is not 0.10000000149011612.
        SqlValue::Float(number) => number.to_string().parse::<f64>().map_or(Value::Null, Value::from),
        SqlValue::Double(number) => number.into(),
        SqlValue::Bytes(bytes) => bytes_as_json(bytes, kind),
        SqlValue::Date(year, month, day, hour, minute, second, micros) => {
            let date = format!("{year:04}-{month:02}-{day:02}");
            match kind.column_type {
                ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => date.into(),
                column_type => {
                    let is_of_utc = matches!(
                        column_type,
                        ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2
                    );
                    let zone = if is_of_utc { "Z" } else { "" };
                    let fraction = fraction(micros);
                    format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}").into()
                }
            }
        }
        SqlValue::Time(is_negative, days, hours, minutes, seconds, micros) => {
            let sign = if is_negative { "-" } else { "" };
            let hours = u64::from(days) * 24 + u64::from(hours);
            let fraction = fraction(micros);
            format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{fraction}").into()
        }
    }
}

fn fraction(micros: u32) -> String {
    if micros == 0 {
        String::new()
    } else {
        format!(".{micros:06}")
    }
}

fn bytes_as_json(bytes: Vec<u8>, kind: ColumnKind) -> Value {
    let is_decimal = matches!(
        kind.column_type,
        ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL
    );
    match kind.column_type {
        ColumnType::MYSQL_TYPE_BIT if bytes.len() <= 8 => {
            let number = bytes
                .iter()
                .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            number.into()
        }
        // MySQL's own JSON is sent as text, with the character set `binary`.
        ColumnType::MYSQL_TYPE_JSON => serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()),
        _ if kind.is_binary && !is_decimal => BASE64_STANDARD.encode(bytes).into(),
        _ => match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) => BASE64_STANDARD.encode(error.into_bytes()).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn values_that_need_care_are_written_whole() {
        let kind = |column_type, is_binary| ColumnKind {
            column_type,
            is_binary,
        };
        let bytes = |bytes: &[u8]| SqlValue::Bytes(bytes.to_vec());
        for (value, kind, expected) in [
            (SqlValue::NULL, kind(ColumnType::MYSQL_TYPE_LONG, true), "null"),
            (
                SqlValue::UInt(u64::MAX),
                kind(ColumnType::MYSQL_TYPE_LONGLONG, true),
                "18446744073709551615",
            ),
            (
                SqlValue::Float(0.1),
                kind(ColumnType::MYSQL_TYPE_FLOAT, true),
                "0.1",
            ),
            (
                SqlValue::Float(f32::NAN),
                kind(ColumnType::MYSQL_TYPE_FLOAT, true),
                "null",
            ),
            (
                bytes(b"12345678901234567890.10"),
                kind(ColumnType::MYSQL_TYPE_NEWDECIMAL, true),
                "\"12345678901234567890.10\"",
            ),
            (bytes(b"\x01\x00"), kind(ColumnType::MYSQL_TYPE_BIT, true), "256"),
            (
                bytes(b"\x00\xff"),
                kind(ColumnType::MYSQL_TYPE_BLOB, true),
                "\"AP8=\"",
            ),
            (
                bytes(b"caf\xc3\xa9"),
                kind(ColumnType::MYSQL_TYPE_VAR_STRING, false),
                "\"café\"",
            ),
            (
                bytes(b"caf\xe9"),
                kind(ColumnType::MYSQL_TYPE_VAR_STRING, false),
                "\"Y2Fm6Q==\"",
            ),
            (
                bytes(b"{\"a\":1}"),
                kind(ColumnType::MYSQL_TYPE_JSON, true),
                "{\"a\":1}",
            ),
            (
                SqlValue::Date(2026, 11, 21, 0, 0, 0, 0),
                kind(ColumnType::MYSQL_TYPE_DATE, true),
                "\"2026-11-21\"",
            ),
            (
                SqlValue::Date(0, 0, 0, 0, 0, 0, 0),
                kind(ColumnType::MYSQL_TYPE_DATETIME, true),
                "\"0000-00-00T00:00:00\"",
            ),
            (
                SqlValue::Date(2026, 11, 21, 8, 20, 3, 5),
                kind(ColumnType::MYSQL_TYPE_TIMESTAMP, true),
                "\"2026-11-21T08:20:03.000005Z\"",
            ),
            (
                SqlValue::Time(true, 34, 22, 59, 59, 0),
                kind(ColumnType::MYSQL_TYPE_TIME, true),
                "\"-838:59:59\"",
            ),
        ] {
            assert_eq!(json_of(value.clone(), kind).to_string(), expected, "{value:?}");
        }
    }
}
