//! Deliveries without faults: arbitrary bytes, window names, formats of lines, real nginx, old logs by `backfill`.
//! New tests of delivered files without a fault belong here.

mod adopt;
mod any_bytes;
mod backfill;
mod line_formats;
mod nginx;
mod three_windows;
