//! Channels: how alerts reach people beside the mail, through the events that the ledger keeps for each channel; and the
//! heartbeat, whose absence tells others that the monitor is dead.
//!
//! `alert_message`, `payloads`, `routing` and `failing` are pure. `delivery` makes one attempt, `channel_outbox` decides when, and records what became of
//! it. Invariants:
//! - Each channel has its own task and its own waits: one that fails holds up no other, nor the mail, nor the looks.
//! - A message leaves the outbox only after the other side took it, or after three attempts without an answer to it. A repeat has
//!   the same id and the same text.
//! - An incident that is over before it was told is told once, with both times.
//!
//! Another kind of channel is added in `crates/config/src/monitor/channels.rs`, in `payloads` and in `delivery`.

mod alert_message;
mod channel_outbox;
mod command_line;
mod delivery;
mod failing;
pub(crate) mod heartbeat;
mod payloads;
mod probe;
mod routing;
#[cfg(test)]
mod tests;

pub(crate) use channel_outbox::{run, send_once};
pub(crate) use failing::failing;
pub use probe::{probe_channel, probe_heartbeat, test_channel};
pub(crate) use routing::events;
