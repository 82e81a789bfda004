//! Lines on their way to the SFTP server: arbitrary bytes, window names, real nginx, old logs by `backfill`.
//! A new test of what arrives, without any fault, goes here.

mod any_bytes;
mod backfill;
mod nginx;
mod three_windows;
