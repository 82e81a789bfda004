//! Generated lives of a capture: a source that reads rows by position and clients that post again until they are answered, with
//! failing operations, kills, power cuts, rotations and removals in between. A reader follows the files like the sender does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use logferry_durable::{Disk, DiskOperation};
use logferry_testkit::SimDisk;
use proptest::prelude::*;

use crate::capture::error::CaptureError;
use crate::capture::receipts::{RequestKey, RequestReceipt};
use crate::capture::state::CapturePaths;
use crate::capture::store::{CaptureStore, Round, remove_shipped_unopened};

const ROTATE: u64 = 400;

fn paths() -> CapturePaths {
    CapturePaths {
        state_dir: "/state".into(),
        source: "api".parse().expect("a name"),
    }
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The source reads so many rows and appends them with its new position; so many clients post with it.
    Append { rows: u64, posts: u8 },
    /// A client posts again what it was answered, or was not.
    Repeat { post: u8 },
    /// The answers to all posts so far have arrived.
    Confirm,
    /// The next operation of this kind fails.
    Fail(DiskOperation, io::ErrorKind),
    /// The process dies after so many changes; what it has written stays.
    Kill { after: u64, rows: u64 },
    /// The power goes after so many changes.
    PowerCut { after: u64, rows: u64, seed: u64 },
    /// The disk has so much room for the next appends.
    Full { free: u64, rows: u64 },
    /// The reader reads what there is.
    Read,
    /// The relay has all rotated files that the reader has read.
    Remove,
}

fn step() -> impl Strategy<Value = Step> {
    let operation = prop_oneof![
        Just(DiskOperation::Append),
        Just(DiskOperation::Sync),
        Just(DiskOperation::Rename),
        Just(DiskOperation::Open),
        Just(DiskOperation::Truncate),
        Just(DiskOperation::Remove),
        Just(DiskOperation::Read),
        Just(DiskOperation::List),
    ];
    let kind = prop_oneof![
        Just(io::ErrorKind::StorageFull),
        Just(io::ErrorKind::ReadOnlyFilesystem),
        Just(io::ErrorKind::Other),
    ];
    prop_oneof![
        6 => (0u64..6, 0u8..3).prop_map(|(rows, posts)| Step::Append { rows, posts }),
        2 => any::<u8>().prop_map(|post| Step::Repeat { post }),
        1 => Just(Step::Confirm),
        3 => (operation, kind).prop_map(|(operation, kind)| Step::Fail(operation, kind)),
        2 => (0u64..12, 1u64..6).prop_map(|(after, rows)| Step::Kill { after, rows }),
        2 => (0u64..12, 1u64..6, any::<u64>()).prop_map(|(after, rows, seed)| Step::PowerCut { after, rows, seed }),
        1 => (0u64..300, 1u64..6).prop_map(|(free, rows)| Step::Full { free, rows }),
        2 => Just(Step::Read),
        1 => Just(Step::Remove),
    ]
}

/// The world around a capture.
struct World {
    disk: SimDisk,
    store: Option<CaptureStore<SimDisk>>,
    /// The row that the source reads next.
    next_row: u64,
    /// Rows whose append was acknowledged.
    acked_rows: u64,
    /// Posts that were answered; each is posted until it is.
    acked_posts: u64,
    posts: u64,
    confirmed: Vec<RequestKey>,
    /// Posts whose answers have arrived; they are not posted again.
    arrived: u64,
    /// What the reader has read of each file, by the order of the files.
    read: BTreeMap<PathBuf, Vec<u8>>,
    /// The contents of removed files, which the relay has.
    shipped: Vec<u8>,
}

fn post_key(post: u64) -> RequestKey {
    RequestKey::of(&[&post.to_le_bytes()])
}

fn post_line(post: u64) -> Vec<u8> {
    format!("post {post}\n").into_bytes()
}

impl World {
    fn new() -> Self {
        Self {
            disk: SimDisk::new(),
            store: None,
            next_row: 0,
            acked_rows: 0,
            acked_posts: 0,
            posts: 0,
            confirmed: Vec::new(),
            arrived: 0,
            read: BTreeMap::new(),
            shipped: Vec::new(),
        }
    }

    /// Opens the capture if it is not, as a start does; the source goes on from the position.
    fn open(&mut self) -> bool {
        if self.store.is_none() {
            let Ok(store) = CaptureStore::open(self.disk.clone(), paths(), ROTATE) else {
                return false;
            };
            let position = store.state().position.as_ref();
            self.next_row = position.map_or(0, |position| position.as_u64().expect("a number"));
            assert!(
                self.next_row >= self.acked_rows,
                "acknowledged rows are forgotten"
            );
            self.store = Some(store);
        }
        true
    }

    /// One round; whether it was acknowledged.
    fn append(&mut self, rows: u64, posts: &[u64]) -> bool {
        if !self.open() {
            return false;
        }
        let store = self.store.as_mut().expect("open");
        let mut round = Round {
            confirmed: std::mem::take(&mut self.confirmed),
            ..Round::default()
        };
        for row in self.next_row..self.next_row + rows {
            round
                .lines
                .extend(format!("row {row} {}\n", "x".repeat(30)).bytes());
        }
        let after = self.next_row + rows;
        round.position = (rows > 0).then(|| after.into());
        for post in posts {
            let key = post_key(*post);
            let is_known = store
                .state()
                .receipts
                .answer(&key, Timestamp::UNIX_EPOCH)
                .is_some();
            if !is_known || round.confirmed.contains(&key) {
                round.lines.extend(post_line(*post));
                round.receipts.push(RequestReceipt {
                    key,
                    at: 0,
                    answer: post.to_string(),
                    lasting: false,
                });
            }
        }
        match store.commit(round) {
            Ok(()) => {
                self.next_row = after;
                self.acked_rows = self.acked_rows.max(after);
                true
            }
            Err(CaptureError::Disk(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Posts that nobody was answered yet: each client posts until it is.
    fn unanswered(&self) -> Vec<u64> {
        (self.acked_posts..self.posts).collect()
    }

    fn append_and_post(&mut self, rows: u64, posts: u64) {
        self.posts += posts;
        let posts = self.unanswered();
        if self.append(rows, &posts) {
            self.acked_posts += posts.len() as u64;
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = self.disk.files().into_iter();
        let mut captures: Vec<_> = files
            .filter(|path| {
                path.file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .starts_with("api.log")
            })
            .collect();
        // The live file is the last, though its name sorts first.
        captures.sort_by_key(|path| (*path == paths().live(), path.clone()));
        captures
    }

    /// Reads on, and checks that what was read before is still there. A file is followed through its rotation.
    fn read(&mut self) {
        let before = std::mem::take(&mut self.read);
        let seen: Vec<_> = before.into_values().collect();
        for path in self.files() {
            let contents = self.disk.contents(&path).expect("a file");
            self.read.insert(path, contents);
        }
        for earlier in seen.into_iter().filter(|earlier| !earlier.is_empty()) {
            let is_there = self.read.values().any(|now| now.starts_with(&earlier));
            assert!(is_there, "{}\nhas changed", String::from_utf8_lossy(&earlier));
        }
    }

    /// Removes the rotated files that were read to their ends.
    fn remove(&mut self) {
        let Some(store) = &self.store else { return };
        let (disk, read) = (self.disk.clone(), self.read.clone());
        let is_read = |path: &Path| read.get(path) == disk.contents(path).as_ref();
        let before: Vec<_> = self.read.keys().cloned().collect();
        let _ = store.remove_shipped(is_read);
        for path in before {
            if self.disk.contents(&path).is_none() && path != paths().live() {
                self.shipped.extend(self.read.remove(&path).expect("read"));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Append { rows, posts } => self.append_and_post(rows, posts.into()),
            Step::Repeat { post } if self.posts > 0 => {
                // Only a request whose answer has not arrived is posted again.
                let post = u64::from(post) % self.posts;
                if post >= self.arrived {
                    self.append(0, &[post]);
                }
            }
            Step::Repeat { .. } => {}
            Step::Confirm => {
                let arrived = self.arrived..self.acked_posts;
                self.confirmed.extend(arrived.map(post_key));
                self.arrived = self.acked_posts;
            }
            Step::Fail(operation, kind) => self.disk.fail_next(operation, kind),
            Step::Kill { after, rows } => {
                self.disk.fail_after(after);
                self.append_and_post(rows, 1);
                self.append_and_post(rows, 0);
                self.disk.heal();
                self.store = None;
            }
            Step::PowerCut { after, rows, seed } => {
                self.disk.fail_after(after);
                self.append_and_post(rows, 1);
                self.append_and_post(rows, 0);
                self.disk.power_loss(seed);
                self.store = None;
                // The sender begins to read again when the collector has repaired its files.
                while !self.open() {}
            }
            Step::Full { free, rows } => {
                self.disk.set_free_bytes(free);
                self.append_and_post(rows, 1);
                self.append_and_post(rows, 1);
                self.disk.set_free_bytes(1 << 40);
            }
            Step::Read => self.read(),
            Step::Remove => {
                self.read();
                self.remove();
            }
        }
    }

    /// All lines of all files, the removed ones too.
    fn lines(&self) -> Vec<String> {
        let mut bytes = self.shipped.clone();
        for path in self.files() {
            bytes.extend(self.disk.contents(&path).expect("a file"));
        }
        let text = String::from_utf8(bytes).expect("text");
        assert!(text.is_empty() || text.ends_with('\n'), "half a line is left");
        text.lines().map(str::to_owned).collect()
    }

    /// At last the disk is well: every client is answered, and everything is there once.
    fn finish(&mut self) {
        self.disk.heal();
        self.store = None;
        for _ in 0..4 {
            self.append_and_post(1, 0);
        }
        assert_eq!(self.acked_posts, self.posts, "all are answered");
        self.read();
        let lines = self.lines();
        let rows: Vec<u64> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("row ")?.split(' ').next()?.parse().ok())
            .collect();
        assert_eq!(
            rows,
            (0..self.next_row).collect::<Vec<_>>(),
            "rows are in order, once"
        );
        let mut posts: Vec<u64> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("post ")?.parse().ok())
            .collect();
        posts.sort_unstable();
        assert_eq!(posts, (0..self.posts).collect::<Vec<_>>(), "posts are there once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_happens_each_row_and_each_post_is_captured_once(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.finish();
    }
}

#[test]
fn confirmed_request_is_new_though_the_disk_failed_in_between() {
    let mut world = World::new();
    world.append_and_post(0, 1);
    world.confirmed.push(post_key(0));
    // The confirmation is written and not synced; the sync that would have covered it fails.
    assert!(world.append(0, &[]));
    world.disk.fail_next(DiskOperation::Sync, io::ErrorKind::Other);
    assert!(!world.append(1, &[]));
    assert!(world.append(1, &[0]));
    assert_eq!(
        world.lines().iter().filter(|line| *line == "post 0").count(),
        2,
        "it was posted twice"
    );
}

/// A round is durable and cannot be finished; its client has its answer, and the disk stays bad for so many more changes.
#[test]
fn confirmation_that_comes_while_the_disk_is_bad_is_not_forgotten() {
    for changes in 0..8 {
        let mut world = World::new();
        assert!(world.append(1, &[]));
        // The entry and its sync; then the capture refuses its lines.
        world.disk.fail_after(2);
        world.append_and_post(0, 1);
        assert_eq!(world.acked_posts, 1);
        world.confirmed.push(post_key(0));
        world.disk.fail_after(changes);
        let is_taken = world.append(1, &[]);
        assert!(changes > 0 || !is_taken);
        // The client waits for its answer, so that the next equal request is another one.
        world.disk.heal();
        assert!(world.append(1, &[0]));
        let posts = world.lines().iter().filter(|line| *line == "post 0").count();
        assert_eq!(posts, 2, "it was posted twice; {changes} changes");
    }
}

#[test]
fn confirmation_survives_a_kill_though_nothing_was_synced_after_it() {
    let mut world = World::new();
    world.append_and_post(0, 1);
    world.confirmed.push(post_key(0));
    assert!(world.append(0, &[]));
    world.store = None;
    assert!(world.append(0, &[0]));
    assert_eq!(world.lines().len(), 2);
}

#[test]
fn unconfirmed_request_is_known_after_a_restart() {
    let mut world = World::new();
    world.append_and_post(0, 1);
    world.store = None;
    world.disk.power_loss(1);
    assert!(world.append(0, &[0]));
    assert_eq!(world.lines().len(), 1);
}

#[test]
fn full_capture_gets_a_number_and_goes_when_it_is_shipped() {
    let mut world = World::new();
    for _ in 0..40 {
        world.append_and_post(1, 0);
    }
    let numbers = paths().rotated_numbers(&world.disk).expect("readable");
    assert_eq!(numbers, [1, 2, 3]);
    let store = world.store.as_ref().expect("open");
    let first = paths().rotated(1);
    assert_eq!(
        store.remove_shipped(|path| *path == first).expect("removed"),
        (1, 2)
    );
    assert_eq!(store.remove_shipped(|_| false).expect("none"), (0, 2));
    assert!(world.disk.contents(&first).is_none() && world.disk.contents(&paths().live()).is_some());
}

/// A full disk goes on when the captures that the relay has are removed, whether the capture is open, or cannot be opened.
#[test]
fn shipped_captures_make_room_on_a_disk_that_is_full() {
    for is_opened in [true, false] {
        let mut world = World::new();
        for _ in 0..40 {
            world.append_and_post(1, 0);
        }
        world.disk.set_free_bytes(0);
        if !is_opened {
            world.store = None;
        }
        assert!(!world.append(1, &[]), "full");
        let removed = match &world.store {
            Some(store) => store.remove_shipped(|_| true),
            None => remove_shipped_unopened(&world.disk, &paths(), |_| true),
        };
        // Of the last one it may not be recorded yet that it was rotated.
        assert_eq!(removed.expect("removed"), (2, 1), "opened: {is_opened}");
        assert!(world.append(1, &[]), "opened: {is_opened}");
        assert_eq!(paths().rotated_numbers(&world.disk).expect("readable")[0], 3);
    }
}

#[test]
fn state_of_another_version_is_refused_with_advice_and_left_alone() {
    let world = World::new();
    let commits = paths().commits();
    world.disk.create_dir_all(&paths().dir()).expect("a folder");
    world
        .disk
        .replace(&commits, b"logferry capture commits 2\nwhat\n")
        .expect("written");
    let error = CaptureStore::open(world.disk.clone(), paths(), ROTATE).expect_err("another version");
    assert_eq!(
        error.to_string(),
        "/state/api/commits says `logferry capture commits 2`, and this program reads `logferry capture commits 1`; run the \
         version that wrote it, or let the sender ship all of the source and move its folder away"
    );
    assert_eq!(
        world.disk.contents(&commits).expect("left"),
        b"logferry capture commits 2\nwhat\n"
    );
}

#[test]
fn capture_that_somebody_removed_is_told_and_does_not_stop_the_source() {
    let mut world = World::new();
    for _ in 0..3 {
        world.append_and_post(1, 0);
    }
    world.store = None;
    assert!(world.open(), "the log begins behind what is lost now");
    world.store = None;
    world.disk.remove(&paths().live()).expect("removed");
    assert!(world.append(1, &[]));
    assert_eq!(world.next_row, 4, "the source goes on where it was");
    assert_eq!(world.lines().len(), 1);
}
