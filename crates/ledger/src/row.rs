//! Conversions between Rust types and SQLite's columns.

use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};

/// The column value of a time: milliseconds since 1970.
pub(crate) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// The column value of a count. SQLite's integers are signed; no count reaches their limit.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn conversion<E: std::error::Error + Send + Sync + 'static>(row: &Row<'_>, name: &str, error: E) -> Error {
    let index = row.as_ref().column_index(name).unwrap_or(0);
    Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

/// A column with the text form of a `T`.
pub(crate) fn text<T>(row: &Row<'_>, name: &str) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: String = row.get(name)?;
    text.parse().map_err(|error| conversion(row, name, error))
}

/// A column with the text form of a `T`, or NULL.
pub(crate) fn optional_text<T>(row: &Row<'_>, name: &str) -> Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: Option<String> = row.get(name)?;
    text.map(|text| text.parse().map_err(|error| conversion(row, name, error)))
        .transpose()
}

/// A column with a count.
pub(crate) fn count(row: &Row<'_>, name: &str) -> Result<u64> {
    let value: i64 = row.get(name)?;
    u64::try_from(value).map_err(|error| conversion(row, name, error))
}

/// A column with a count, or NULL.
pub(crate) fn optional_count(row: &Row<'_>, name: &str) -> Result<Option<u64>> {
    let value: Option<i64> = row.get(name)?;
    let convert = |value| u64::try_from(value).map_err(|error| conversion(row, name, error));
    value.map(convert).transpose()
}

/// A column with a count that fits `T`.
pub(crate) fn small<T>(row: &Row<'_>, name: &str) -> Result<T>
where
    T: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>,
{
    let value: i64 = row.get(name)?;
    T::try_from(value).map_err(|error| conversion(row, name, error))
}

/// A column with a time.
pub(crate) fn time(row: &Row<'_>, name: &str) -> Result<Timestamp> {
    let value: i64 = row.get(name)?;
    Timestamp::from_millisecond(value).map_err(|error| conversion(row, name, error))
}

/// A column with a time, or NULL.
pub(crate) fn optional_time(row: &Row<'_>, name: &str) -> Result<Option<Timestamp>> {
    let value: Option<i64> = row.get(name)?;
    let convert = |value| Timestamp::from_millisecond(value).map_err(|error| conversion(row, name, error));
    value.map(convert).transpose()
}

/// The text form that a column takes.
pub(crate) fn to_text(value: &impl Display) -> String {
    value.to_string()
}
