//! Faults of the relay as the sender sees them: refusals, requests to wait, cut connections, long outages, an emptied or
//! restored data folder.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use logferry_protocol::{CHUNKS_PATH, STREAMS_PATH};
use logferry_traffic::LogFile;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::logs::comparison::{LineOrder, WrittenLog};
use crate::support::logs::writer::{LogWriter, append, traffic};
use crate::support::network::http_client::{request, send};
use crate::support::network::http_interceptor::{Interception, intercept_http};
use crate::support::pipeline::{Pipeline, Role, files_below, spool_lines};
use crate::support::test_folder::free_port;
use crate::support::{WAIT_LIMIT, seed, wait_for};

const LINES: usize = 1_000;

#[test]
fn refused_chunk_blocks_only_its_own_log_and_is_never_dropped() {
    const POISON: &[u8] = b"the-line-that-is-refused";
    let mut pipeline = Pipeline::new("poison", "2s");
    let other = pipeline.test_folder.path("log").join("other.log");
    pipeline.config.other_log = Some(other.clone());
    let (mut log, mut other) = (
        LogFile::open(&pipeline.config.log).unwrap(),
        LogFile::open(other).unwrap(),
    );
    let (mut lines, mut other_lines) = (traffic("log", 1), traffic("other", 2));
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    let before = WrittenLog::read(log.path()).kept_lines();
    let poisoned = [b"192.0.2.1 ", POISON, b" poison\n"].concat();
    log.append(&poisoned).unwrap();
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    append(&mut other, &mut other_lines, Timestamp::now(), LINES);

    let (refusing, refused) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let interceptor = intercept_http(pipeline.config.relay_port, {
        let (refusing, refused) = (Arc::clone(&refusing), Arc::clone(&refused));
        move |request| {
            let is_refused = refusing.load(Ordering::Relaxed) && request.contains(POISON);
            refused.fetch_add(usize::from(is_refused), Ordering::Relaxed);
            if is_refused {
                Interception::Respond("HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\n\r\nnot so\n")
            } else {
                Interception::Pass
            }
        }
    });
    pipeline.config.sender_target_port = interceptor.port;
    pipeline.start_all();
    let of_other = WrittenLog::read(other.path()).kept_lines();
    wait_for("several refusals", WAIT_LIMIT, || {
        refused.load(Ordering::Relaxed) > 5
    });
    // The relay has the whole other log, and nothing after the refused chunk of this log.
    pipeline.wait_for_received(of_other);
    append(&mut other, &mut other_lines, Timestamp::now(), LINES);
    let of_other = WrittenLog::read(other.path()).kept_lines();
    wait_for(
        "the other log, and what comes before the line",
        WAIT_LIMIT,
        || {
            let received = spool_lines(&pipeline.config.data_dir).unwrap_or_default();
            assert!(received <= of_other + before, "{received} lines were received");
            received > of_other
        },
    );
    let output = pipeline.output(Role::Sender);
    let refusal = output.lines().find(|line| line.contains("the relay refuses"));
    assert!(
        refusal.is_some_and(|line| line.contains("access.log")),
        "{output}"
    );

    refusing.store(false, Ordering::Relaxed);
    let written = WrittenLog::read(log.path()).and(WrittenLog::read(other.path()));
    pipeline.finish(&written, LineOrder::WithinWindow);
}

#[test]
fn sender_respects_the_wait_time_of_the_relay() {
    const WAITS: [(u64, &str); 3] = [
        (
            2,
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            1,
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            2,
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n",
        ),
    ];
    let mut pipeline = Pipeline::new("retry-after", "1s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    // One chunk in flight: no other chunk is under way when the relay refuses it.
    append(&mut log, &mut traffic("retry-after", 1), Timestamp::now(), 50);
    let retry_state = Arc::new(Mutex::new((0, None::<Instant>)));
    let interceptor = intercept_http(pipeline.config.relay_port, {
        let retry_state = Arc::clone(&retry_state);
        move |request| {
            if !matches!(request.path(), CHUNKS_PATH | STREAMS_PATH) {
                return Interception::Pass;
            }
            let (times, not_before) = &mut *retry_state.lock().unwrap();
            let now = Instant::now();
            assert!(
                not_before.is_none_or(|not_before| now >= not_before),
                "asked too early"
            );
            match WAITS.get(*times) {
                Some((seconds, answer)) if *times > 0 || request.path() == CHUNKS_PATH => {
                    *times += 1;
                    *not_before = Some(now + Duration::from_secs(*seconds));
                    Interception::Respond(answer)
                }
                _ => Interception::Pass,
            }
        }
    });
    pipeline.config.sender_target_port = interceptor.port;
    pipeline.start_all();
    let written = WrittenLog::read(log.path());
    pipeline.wait_for_received(written.kept_lines());
    // A failed assertion poisons the lock.
    assert_eq!(retry_state.lock().unwrap().0, WAITS.len());
    pipeline.finish(&written, LineOrder::WholeLog);
}

#[test]
fn chunk_cut_at_any_byte_is_stored_once() {
    const CUTS: usize = 60;
    let seed = seed();
    let mut pipeline = Pipeline::new("cut-off", "2s");
    // With more chunks in flight, each cut makes the later chunks wait at the relay.
    pipeline.config.in_flight = 1;
    let cuts = Arc::new(AtomicUsize::new(0));
    let interceptor = intercept_http(pipeline.config.relay_port, {
        let (cuts, rng) = (Arc::clone(&cuts), Mutex::new(StdRng::seed_from_u64(seed)));
        move |request| {
            let mut rng = rng.lock().unwrap();
            if request.path() == CHUNKS_PATH && rng.random_bool(0.3) {
                cuts.fetch_add(1, Ordering::Relaxed);
                // The cut may come after the whole request; the response is then lost.
                Interception::Cut(rng.random_range(0..=request.len()))
            } else {
                Interception::Pass
            }
        }
    });
    pipeline.config.sender_target_port = interceptor.port;
    let load = LogWriter::start(&pipeline.config.log, 4_000, seed);
    pipeline.start_all();
    wait_for("chunks to be cut off", WAIT_LIMIT, || {
        cuts.load(Ordering::Relaxed) >= CUTS
    });
    load.stop();
    let written = WrittenLog::read(&pipeline.config.log);
    pipeline.finish(&written, LineOrder::WholeLog);
}

/// The restored relay does not have the lines received after the backup. None of them was delivered, so its senders
/// ship them again.
#[test]
fn restored_relay_receives_the_lines_after_the_backup_again() {
    let mut pipeline = Pipeline::new("restored", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut lines = traffic("restored", 1);
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    pipeline.start(Role::Relay);
    pipeline.start(Role::Sender);
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    pipeline.stop(Role::Relay, Signal::SIGTERM);
    let (data, backup) = (
        pipeline.config.data_dir.clone(),
        pipeline.test_folder.path("backup"),
    );
    copy_folder(&data, &backup);

    // The sender keeps running. The rotation makes two of its files affected.
    pipeline.start(Role::Relay);
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    finish_rotated(&mut pipeline, &log.rotated(1));
    pipeline.stop(Role::Relay, Signal::SIGTERM);
    fs::remove_dir_all(&data).unwrap();
    copy_folder(&backup, &data);

    pipeline.start(Role::Relay);
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    let written = WrittenLog::read(log.path());
    pipeline.wait_for_received(written.kept_lines());
    pipeline.start(Role::Forwarder);
    pipeline.finish(&written, LineOrder::WithinWindow);
}

#[test]
fn emptied_relay_receives_every_line_still_on_disk() {
    let mut pipeline = Pipeline::new("emptied", "2s");
    let mut log = LogFile::open(&pipeline.config.log).unwrap();
    let mut lines = traffic("emptied", 1);
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    pipeline.start(Role::Relay);
    pipeline.start(Role::Sender);
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    log.rename().unwrap();
    log.reopen().unwrap();
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    pipeline.wait_for_received(WrittenLog::read(log.path()).kept_lines());
    finish_rotated(&mut pipeline, &log.rotated(1));
    pipeline.stop(Role::Relay, Signal::SIGTERM);
    fs::remove_dir_all(&pipeline.config.data_dir).unwrap();

    pipeline.start(Role::Relay);
    append(&mut log, &mut lines, Timestamp::now(), LINES);
    let written = WrittenLog::read(log.path());
    pipeline.wait_for_received(written.kept_lines());
    pipeline.start(Role::Forwarder);
    pipeline.finish(&written, LineOrder::WithinWindow);
}

/// The log on disk is the queue. The sender's buffers do not grow with the waiting part.
#[test]
fn memory_stays_flat_while_the_relay_is_away_and_the_log_grows() {
    const MIB: u64 = 1 << 20;
    const GROWTH: u64 = 300 * MIB;
    /// A sender with this chunk size uses about 10 MiB. A debug build does not use less.
    const MOST: u64 = 48 * MIB;
    let mut pipeline = Pipeline::new("memory", "1h");
    let mut log = fs::File::create(&pipeline.config.log).unwrap();
    log.write_all(b"192.0.2.1 the first line\n").unwrap();
    pipeline.start(Role::Sender);
    pipeline.wait_for_output(Role::Sender, "nothing can be shipped", 1);
    let mut written = 0;
    for number in 0.. {
        let mut block = Vec::new();
        for line in 0..2_000 {
            writeln!(block, "192.0.2.1 {number:08}.{line:08} {}", "x".repeat(480)).unwrap();
        }
        log.write_all(&block).unwrap();
        written += u64::try_from(block.len()).unwrap();
        let memory = peak_memory(pipeline.process_id(Role::Sender));
        assert!(
            memory < MOST,
            "{memory} bytes of memory for {written} bytes that wait"
        );
        if written >= GROWTH {
            break;
        }
    }
    pipeline.start(Role::Relay);
    let size = fs::metadata(&pipeline.config.log).unwrap().len();
    let open = pipeline.config.data_dir.join("open");
    let received = || -> u64 {
        let files = files_below(&open).unwrap_or_default();
        files
            .iter()
            .map(|file| fs::metadata(file).map_or(0, |facts| facts.len()))
            .sum()
    };
    wait_for("the whole backlog at the relay", 5 * WAIT_LIMIT, || {
        received() >= size
    });
    assert_eq!(received(), size);
    let memory = peak_memory(pipeline.process_id(Role::Sender));
    assert!(
        memory < MOST,
        "{memory} bytes of memory after the backlog was shipped"
    );
    pipeline.stop(Role::Sender, Signal::SIGTERM);
}

/// Makes the sender finish a rotated file: sets its age so that the sender expects no further writes.
fn finish_rotated(pipeline: &mut Pipeline, rotated: &Path) {
    pipeline.stop(Role::Sender, Signal::SIGTERM);
    let file = fs::File::options().append(true).open(rotated).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(1))
        .unwrap();
    drop(file);
    pipeline.start(Role::Sender);
    let checkpoint = pipeline.config.state_dir.join("checkpoint");
    wait_for("the rotated file to be finished", WAIT_LIMIT, || {
        fs::read_to_string(&checkpoint).is_ok_and(|text| text.contains("\"finished\":true"))
    });
}

/// The peak memory of a process, in bytes: `VmHWM` in `proc_pid_status(5)`.
fn peak_memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn sender_is_healthy_while_the_relay_is_away() {
    let mut pipeline = Pipeline::new("healthy", "1s");
    let port = free_port();
    pipeline.config.sender_metrics = Some(port);
    pipeline.start(Role::Sender);
    let is_listening = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
    wait_for("the port for health", WAIT_LIMIT, is_listening);
    let healthz = request("GET", "/healthz", &[], b"");
    wait_for("a healthy sender", WAIT_LIMIT, || {
        send(port, &healthz).status == 200
    });
    pipeline.stop(Role::Sender, Signal::SIGTERM);
}
