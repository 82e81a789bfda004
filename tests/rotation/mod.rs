//! Log rotation: each method of the real logrotate, bursts, very long lines, rotation during outages.
//! Tests of a new rotation method belong here.

mod logrotate;
mod outages;
