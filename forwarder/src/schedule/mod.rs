//! When each batch is tried, and in which order: the plan, the queue that the sessions share, waits after failures.
//! Everything here but the inotify watch is pure and takes the time as an argument. The order of deliveries, the waits and
//! the circuit breaker may be changed here without looking elsewhere.

pub(crate) mod plan;
pub(crate) mod plan_throttle;
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod spool_watch;
pub(crate) mod suspects;
