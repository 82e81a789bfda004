//! Conversions between Rust types and SQLite's columns.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use jiff::Timestamp;
use logferry_time_windows::Window;
use rusqlite::types::{FromSql, Type};
use rusqlite::{Result, Row};
use serde::Deserialize;
use serde::de::value::Error as VariantError;
use serde::de::{DeserializeOwned, IntoDeserializer};

/// The column value of a time: milliseconds since 1970.
pub(crate) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// The column value of a count. SQLite's integers are signed; no count reaches their limit.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The text form that a column takes.
pub(crate) fn to_text(value: &impl Display) -> String {
    value.to_string()
}

/// A column with the text form of a `T`.
pub(crate) fn text<T: FromStr<Err: Error + Send + Sync + 'static>>(row: &Row<'_>, name: &str) -> Result<T> {
    converted(row, name, |text: String| text.parse())
}

/// A column with the text form of a `T`, or NULL.
pub(crate) fn optional_text<T: FromStr<Err: Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    name: &str,
) -> Result<Option<T>> {
    converted(row, name, |text: Option<String>| {
        text.map(|text| text.parse()).transpose()
    })
}

/// A column with the name of a variant, as serde writes it.
pub(crate) fn variant<T: DeserializeOwned>(row: &Row<'_>, name: &str) -> Result<T> {
    converted(row, name, read_variant)
}

/// A column with the name of a variant, or NULL.
pub(crate) fn optional_variant<T: DeserializeOwned>(row: &Row<'_>, name: &str) -> Result<Option<T>> {
    converted(row, name, |variant: Option<String>| {
        variant.map(read_variant).transpose()
    })
}

/// A column with a time.
pub(crate) fn time(row: &Row<'_>, name: &str) -> Result<Timestamp> {
    converted(row, name, Timestamp::from_millisecond)
}

/// A column with a time, or NULL.
pub(crate) fn optional_time(row: &Row<'_>, name: &str) -> Result<Option<Timestamp>> {
    converted(row, name, |at: Option<i64>| {
        at.map(Timestamp::from_millisecond).transpose()
    })
}

/// As [`variant`], without an allocation, of the column with this number.
pub(crate) fn variant_at<'a, T: Deserialize<'a>>(row: &'a Row<'_>, column: usize) -> Result<T> {
    let name = row.get_ref(column)?.as_str()?;
    T::deserialize(IntoDeserializer::<VariantError>::into_deserializer(name))
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// As [`optional_time`], of the column with this number.
pub(crate) fn optional_time_at(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    let millis: Option<i64> = row.get(column)?;
    let time = millis.map(Timestamp::from_millisecond).transpose();
    time.map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error)))
}

/// The window of a batch or a manifest.
pub(crate) fn window(row: &Row<'_>) -> Result<Window> {
    Ok(Window {
        start: row.get("window_start")?,
        seconds: row.get("window_seconds")?,
        utc_offset: row.get("utc_offset")?,
    })
}

fn read_variant<T: DeserializeOwned>(name: String) -> std::result::Result<T, VariantError> {
    T::deserialize(name.into_deserializer())
}

fn converted<V: FromSql, T, E: Error + Send + Sync + 'static>(
    row: &Row<'_>,
    name: &str,
    convert: impl FnOnce(V) -> std::result::Result<T, E>,
) -> Result<T> {
    convert(row.get(name)?).map_err(|error| {
        let index = row.as_ref().column_index(name).unwrap_or(0);
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
    })
}
