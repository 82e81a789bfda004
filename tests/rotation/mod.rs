//! Log rotation: each method of the real logrotate, bursts, very long lines, rotation during outages.
//! A new way to rotate a log is tested here.

mod logrotate;
mod outages;
