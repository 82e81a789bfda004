//! Data and requests of released versions, which later versions must accept.
//! For a new release, add its data below `tests/data` and a file here.

mod version_0_1;
