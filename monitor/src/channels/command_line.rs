//! Runs the program of a channel: no shell, JSON on its standard input, a time limit.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::channel_error::ChannelError;

/// Between two looks whether the program has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Most bytes of what it says on standard error that are kept, for people.
const COMPLAINT_MAX: u64 = 400;

/// How long to wait for the rest of it. A process that it has left behind may hold the pipe.
const COMPLAINT_WAIT: Duration = Duration::from_millis(200);

/// Tells the thread of the program to end it, when the attempt is dropped.
struct EndOnDrop(Arc<AtomicBool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the program, which has taken the message if it ends with 0.
///
/// If it is dropped, the program and what it has started are killed.
pub(super) async fn run(argv: &[String], input: Vec<u8>, limit: Duration) -> Result<(), ChannelError> {
    let end = EndOnDrop(Arc::default());
    let (argv, stop) = (argv.to_vec(), Arc::clone(&end.0));
    let ran = tokio::task::spawn_blocking(move || run_blocking(&argv, input, limit, &stop)).await;
    drop(end);
    ran.unwrap_or_else(|error| Err(ChannelError::Start(error.to_string())))
}

fn run_blocking(
    argv: &[String],
    input: Vec<u8>,
    limit: Duration,
    stop: &AtomicBool,
) -> Result<(), ChannelError> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| ChannelError::Start("no program".to_owned()))?;
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Whatever it starts can be ended with it.
        .process_group(0)
        .spawn();
    let mut child = spawned.map_err(|error| ChannelError::Start(format!("{program}: {error}")))?;
    let stdin = child.stdin.take();
    // It may never read, so this thread does not wait for it. A program that ends without reading breaks the pipe, which is its
    // right.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let complaint = read_complaint(&mut child);
    let deadline = Instant::now().checked_add(limit);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return outcome(program, status, &complaint),
            Ok(None) => {}
            Err(error) => {
                kill(&mut child);
                return Err(ChannelError::Ended(format!("{program}: {error}")));
            }
        }
        let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_late || stop.load(Ordering::Relaxed) {
            kill(&mut child);
            return Err(ChannelError::CommandTimedOut {
                program: program.clone(),
                limit,
            });
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Reads all that the program says on standard error, and hands over the beginning.
fn read_complaint(child: &mut Child) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(mut stderr) = child.stderr.take() {
        thread::spawn(move || {
            let mut head = Vec::new();
            let _ = stderr.by_ref().take(COMPLAINT_MAX).read_to_end(&mut head);
            let _ = sender.send(head);
            // A full pipe would stop the program.
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        });
    }
    receiver
}

fn kill(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    let _ = child.wait();
}

fn outcome(program: &str, status: ExitStatus, complaint: &Receiver<Vec<u8>>) -> Result<(), ChannelError> {
    if status.success() {
        return Ok(());
    }
    let said = complaint.recv_timeout(COMPLAINT_WAIT).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line: String = said
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let said = if line.is_empty() {
        String::new()
    } else {
        format!(", and said: {line}")
    };
    Err(ChannelError::Ended(format!(
        "{program} ended with {status}{said}"
    )))
}
