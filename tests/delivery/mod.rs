//! Deliveries without faults: arbitrary bytes, window names, real nginx, old logs by `backfill`.
//! New tests of delivered files without a fault belong here.

mod any_bytes;
mod backfill;
mod nginx;
mod three_windows;
