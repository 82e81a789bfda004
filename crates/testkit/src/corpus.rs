//! The corpora of the fuzz targets (`fuzz/corpus/TARGET/`): ordinary tests run the inputs that fuzzing has found.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Every entry of a target's corpus, sorted by name. Without a corpus a test checks nothing.
///
/// # Panics
///
/// If the corpus is missing or empty.
pub fn entries(target: &str) -> Vec<Vec<u8>> {
    static READ: Mutex<Option<HashMap<String, Vec<Vec<u8>>>>> = Mutex::new(None);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let corpora = read.get_or_insert_default();
    let corpus = corpora.entry(target.to_owned());
    let entries = corpus.or_insert_with(|| read_all(target));
    assert!(!entries.is_empty(), "fuzz/corpus/{target} is missing or empty");
    entries.clone()
}

fn read_all(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    let read = |path| std::fs::read(path).unwrap_or_default();
    paths.iter().map(read).collect()
}

/// A changed entry of the corpus. `dice` chooses the change: cut, one bit flipped, a piece doubled, or spliced with
/// another entry.
pub fn mutant(target: &str, dice: [u16; 6]) -> Vec<u8> {
    let entries = entries(target);
    let [one, other, how, at, until, bit] = dice.map(usize::from);
    let mut entry = entries.get(one % entries.len()).cloned().unwrap_or_default();
    let other = entries.get(other % entries.len()).cloned().unwrap_or_default();
    let (at, until) = (at % (entry.len() + 1), until % (entry.len() + 1));
    let (from, to) = (at.min(until), at.max(until));
    match how % 5 {
        0 => entry.truncate(at),
        1 => drop(entry.drain(from..to)),
        2 => {
            if let Some(byte) = entry.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        3 => {
            let piece = entry.get(from..to).unwrap_or_default().to_vec();
            drop(entry.splice(from..from, piece));
        }
        _ => {
            let start = bit % (other.len() + 1);
            entry.truncate(at);
            entry.extend(other.iter().skip(start));
        }
    }
    entry
}
