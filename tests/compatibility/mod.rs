//! Data and exchanges of versions in the field, which later versions must accept, and state of later versions, which must be
//! refused. For a new release, add its data below `tests/data` (its README says how) and its tests here.

mod exchanges;
mod newer_state;
mod recorded;
mod version_0_1;
