//! Log rotation: each method of the real logrotate, bursts, very long lines, rotation during outages, the compressors.
//! Tests of a new rotation method belong here.

mod compressors;
mod logrotate;
mod outages;
