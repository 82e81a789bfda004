//! The writer's thread with handles, on a real disk.

use std::path::Path;

use logferry_captures::{ShippedCapture, ShippedCaptures, write_shipped};
use logferry_durable::RealDisk;
use logferry_protocol::names::LogName;
use logferry_testkit::SimDisk;

use crate::capture::handle::{AppendRequest, WriterRequest};
use crate::capture::receipts::{RequestKey, RequestReceipt};
use crate::capture::{Appended, CaptureHandle, CaptureSettings, CaptureWriter, Position, Refused};
use crate::record::Record;

fn settings(dir: &Path) -> CaptureSettings {
    CaptureSettings {
        state_dir: dir.join("collector"),
        sender_state_dir: dir.join("sender"),
        rotate_max_bytes: 64 << 10,
        min_free_disk: 0,
    }
}

fn source() -> LogName {
    "api".parse().expect("a name")
}

fn start(settings: &CaptureSettings) -> (CaptureHandle, std::thread::JoinHandle<()>) {
    let (handle, writer) = CaptureWriter::open(RealDisk, settings, &source()).expect("opened");
    (handle, std::thread::spawn(|| writer.run()))
}

fn record(number: usize) -> Record {
    let now = "2026-11-29T18:00:00Z".parse().expect("a time");
    Record::of_text(now, "test", format!("record {number}"))
}

async fn append(
    handle: &CaptureHandle,
    records: &[Record],
    position: Option<Position>,
) -> Result<(), Refused> {
    handle.append_once(records, position, None).await.map(|_| ())
}

fn receipt(request: &str, answer: &str) -> RequestReceipt {
    RequestReceipt {
        key: RequestKey::of(&[request.as_bytes()]),
        at: jiff::Timestamp::now().as_second(),
        answer: answer.to_owned(),
        lasting: false,
    }
}

#[tokio::test]
async fn records_of_many_handles_are_there_once_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(dir.path());
    let (handle, thread) = start(&settings);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..20_usize {
        let handle = handle.clone();
        tasks.spawn(async move {
            for number in 0..10 {
                let position = (task == 0).then(|| number.into());
                append(&handle, &[record(task * 10 + number)], position)
                    .await
                    .expect("taken");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(handle.report().records, 200);
    drop(handle);
    thread.join().expect("no panic");
    let (handle, thread) = start(&settings);
    assert_eq!(handle.position(), Some(9.into()));
    let live = logferry_captures::live_path(&settings.state_dir, &source());
    let text = std::fs::read_to_string(live).expect("a capture");
    let mut numbers: Vec<usize> = text
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let message = record["message"].as_str().expect("a text");
            message
                .strip_prefix("record ")
                .expect("ours")
                .parse()
                .expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    drop(handle);
    thread.join().expect("no panic");
}

#[tokio::test]
async fn request_that_comes_again_is_answered_and_not_stored_until_it_is_confirmed() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(dir.path());
    let (handle, thread) = start(&settings);
    let post = |answer| {
        let handle = handle.clone();
        async move {
            let receipt = receipt("a", answer);
            handle
                .append_once(&[record(1)], None, Some(receipt))
                .await
                .expect("taken")
        }
    };
    assert_eq!(post("first").await, Appended::Stored);
    assert_eq!(post("second").await, Appended::Before("first".into()));
    handle.confirm(RequestKey::of(&[b"a"]));
    assert_eq!(post("third").await, Appended::Stored);
    let (one, other) = tokio::join!(post("fourth"), post("fifth"));
    assert_eq!(
        (one, other),
        (Appended::Before("third".into()), Appended::Before("third".into()))
    );
    assert_eq!((handle.report().records, handle.report().repeats), (2, 3));
    drop(handle);
    thread.join().expect("no panic");
}

#[tokio::test]
async fn disk_with_too_little_room_refuses_and_says_when_to_come_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = CaptureSettings {
        min_free_disk: u64::MAX,
        ..settings(dir.path())
    };
    let (handle, thread) = start(&settings);
    let Err(Refused::Wait { retry_after, reason }) = append(&handle, &[record(1)], None).await else {
        panic!("not taken")
    };
    assert!(
        retry_after.as_secs() > 0 && reason.contains("less than collector.min_free_disk"),
        "{reason}"
    );
    assert_eq!(handle.report().refusing, Some(reason));
    drop(handle);
    thread.join().expect("no panic");
}

#[test]
fn disk_that_is_well_again_is_told_before_the_next_record_comes() {
    let disk = SimDisk::new();
    let settings = CaptureSettings {
        min_free_disk: 1000,
        ..settings(Path::new("/state"))
    };
    let (handle, mut writer) = CaptureWriter::open(disk.clone(), &settings, &source()).expect("opened");
    let is_refusing = || handle.report().refusing.is_some();
    let append = |writer: &mut CaptureWriter<SimDisk>| {
        let (done, answer) = tokio::sync::oneshot::channel();
        let lines = b"{}\n".to_vec();
        let (position, receipt) = (None, None);
        writer.work(WriterRequest::Append(AppendRequest {
            lines,
            records: 1,
            position,
            receipt,
            done,
        }));
        answer.blocking_recv().expect("answered").is_ok()
    };
    // Too little room.
    disk.set_free_bytes(999);
    assert!(!append(&mut writer) && is_refusing());
    writer.work(WriterRequest::RemoveShipped);
    assert!(is_refusing());
    disk.set_free_bytes(1 << 30);
    writer.work(WriterRequest::RemoveShipped);
    assert!(!is_refusing());
    // A disk that fails.
    assert!(append(&mut writer));
    disk.fail_after(0);
    assert!(!append(&mut writer));
    writer.work(WriterRequest::RemoveShipped);
    assert!(is_refusing());
    disk.heal();
    writer.work(WriterRequest::RemoveShipped);
    assert!(!is_refusing());
    assert!(append(&mut writer));
}

#[tokio::test]
async fn rotated_capture_goes_when_the_sender_says_that_the_relay_has_all_of_it() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(dir.path());
    std::fs::create_dir_all(&settings.sender_state_dir).expect("a folder");
    let (handle, thread) = start(&settings);
    let records: Vec<_> = (0..1000).map(record).collect();
    append(&handle, &records, None).await.expect("taken");
    let rotated = logferry_captures::rotated_path(&settings.state_dir, &source(), 1);
    let metadata = std::fs::metadata(&rotated).expect("rotated");
    let beginning = std::fs::read(&rotated).expect("a file");
    let head = logferry_protocol::stream::Head::of(&beginning).expect("a line");
    let say = |acknowledged| {
        let file = ShippedCapture {
            source: source(),
            inode: metadata.ino(),
            head,
            acknowledged,
            finished: true,
        };
        let shipped = ShippedCaptures { files: vec![file] };
        write_shipped(&RealDisk, &settings.sender_state_dir, shipped).expect("written");
    };
    say(metadata.len() - 1);
    handle.remove_shipped();
    // A later request is worked on after it.
    append(&handle, &[record(1)], None).await.expect("taken");
    append(&handle, &[record(2)], None).await.expect("taken");
    assert!(rotated.exists());
    assert_eq!(handle.report().rotated_files, 1);
    say(metadata.len());
    handle.remove_shipped();
    append(&handle, &[record(3)], None).await.expect("taken");
    append(&handle, &[record(4)], None).await.expect("taken");
    assert!(!rotated.exists());
    drop(handle);
    thread.join().expect("no panic");
}
