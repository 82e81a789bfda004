//! The thread that reads durable lines while somebody watches.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use logferry_config::{ConsoleSettings, FormatsByLog};
use logferry_fields::Format;
use logferry_ledger::{Ledger, SourceLogs};
use logferry_spool::follow::{FollowError, FollowEvent, Follower, LineFilter};
use logferry_store::{LineOrigin, ReadLines};

use super::hub::LiveHub;
use super::ring::{BrokenTime, LostBytes};
use crate::error::ConsoleError;
use crate::host::file_pool;

/// From one tick to the next.
const TICK: Duration = Duration::from_millis(250);
/// Wait after an error.
const RETRY: Duration = Duration::from_secs(2);
/// Bytes of one tick. What there is more comes with the next, at once.
const TICK_BYTES_MAX: usize = 8 << 20;
/// Which logs a source has is asked anew so often.
const LOGS_KEPT: Duration = Duration::from_mins(1);

/// Starts the thread. It ends when the hub is stopped.
pub(crate) fn start(hub: Arc<LiveHub>, settings: &ConsoleSettings) -> Result<JoinHandle<()>, ConsoleError> {
    let (data_dir, formats) = (settings.data_dir.clone(), settings.shared.formats.clone());
    let work = move || {
        let mut broken_since = None;
        while hub.wait_for_watchers() {
            let followed = follow(&hub, &data_dir, &formats, &mut broken_since);
            hub.set_following(false);
            if let Err(error) = followed {
                tracing::warn!(
                    error = &error as &dyn Error,
                    "new lines cannot be followed now; the console tries again"
                );
            }
            broken_since.get_or_insert_with(Timestamp::now);
            if !hub.wait_while_watched(RETRY) && !hub.wait_for_watchers() {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("live".to_owned()).spawn(work);
    thread.map_err(|error| ConsoleError::Thread(error.to_string()))
}

/// Follows until nobody watches, or until the ledger is another one.
fn follow(
    hub: &LiveHub,
    data_dir: &Path,
    formats: &FormatsByLog,
    broken_since: &mut Option<Timestamp>,
) -> Result<(), FollowError> {
    let file = data_dir.join(logferry_ledger::FILE_NAME);
    let identity = file_pool::identity(&file);
    let ledger = Ledger::open_read_only(data_dir)?;
    let mut follower = Follower::start(Ledger::open_read_only(data_dir)?, data_dir, LineFilter::default())?;
    // What is written from now on comes.
    let mut broken = broken_since.map(|since| BrokenTime {
        since,
        until: Timestamp::now(),
    });
    hub.set_following(true);
    let default = Format::default();
    let (mut logs, mut logs_since) = (SourceLogs::default(), Instant::now());
    while file_pool::identity(&file) == identity {
        if logs_since.elapsed() > LOGS_KEPT {
            (logs, logs_since) = (SourceLogs::default(), Instant::now());
        }
        let (mut blocks, mut lost, mut bytes) = (Vec::new(), Vec::new(), 0);
        let now_ms = Timestamp::now().as_millisecond();
        let mut show = |event: FollowEvent<'_>| {
            match event {
                FollowEvent::Lines {
                    batch,
                    position,
                    lines,
                } => {
                    // Without its log a line is read by the default format.
                    let log = logs.of_batch(&ledger, batch).ok().flatten();
                    let format = log.as_ref().map_or(&default, |log| formats.of(log));
                    let name = batch.name();
                    let origin = LineOrigin {
                        source: &batch.source,
                        group: &batch.group,
                        log: log.as_ref(),
                        batch: &name,
                        format: "",
                    };
                    bytes += lines.len();
                    blocks.push(ReadLines::read(origin, position, lines, format, now_ms));
                }
                FollowEvent::Skipped { batch, bytes } => lost.push(LostBytes { batch, bytes }),
            }
            Ok(bytes < TICK_BYTES_MAX)
        };
        let has_all = follower.poll(&mut show)?;
        if !blocks.is_empty() || !lost.is_empty() || broken.is_some() {
            hub.push(blocks, lost, broken.take());
            *broken_since = None;
        }
        let wait = if has_all { TICK } else { Duration::from_millis(1) };
        if !hub.wait_while_watched(wait) {
            break;
        }
    }
    Ok(())
}
