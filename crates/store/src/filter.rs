//! The filter of a frame's words: a Bloom filter whose bits for one word stand in one block of 64 bytes. Pure.
//!
//! Invariant: a word that was added is always found. A word that was not is found in about one of 300 full filters.

/// Blocks of a filter.
pub(crate) const BLOCKS: usize = 256;

/// Bytes of a block: a cache line.
pub(crate) const BLOCK_BYTES: usize = 64;

/// Bytes of a filter: 13 bits for each of 9,700 words, about as many as 0.7 MiB of access logs have.
pub(crate) const FILTER_BYTES: usize = BLOCKS * BLOCK_BYTES;

/// Bits that are set for a word.
const BITS_OF_WORD: u32 = 6;

/// With so many bits set, 36 % of all, the filter is full: 9,700 words set about as many.
const FULL_BITS: u32 = 47_000;

/// Words that were added lately are remembered in so many slots. Most words of a line are those of the lines before.
const RECENT_SLOTS: usize = 1 << 10;

/// The words of a frame.
#[derive(Debug, Clone)]
pub(crate) struct WordFilter {
    lanes: Vec<u64>,
    bits: u32,
    /// Hashes whose bits are set, each in the slot that [`slot_of`] says. A slot that has none holds a hash of another slot.
    recent: Vec<u64>,
}

impl Default for WordFilter {
    fn default() -> Self {
        Self {
            lanes: vec![0; FILTER_BYTES / 8],
            bits: 0,
            recent: (0..RECENT_SLOTS as u64).map(|slot| !slot).collect(),
        }
    }
}

impl WordFilter {
    /// Adds the word with this hash.
    pub(crate) fn add(&mut self, hash: u64) {
        if let Some(recent) = self.recent.get_mut(slot_of(hash)) {
            if *recent == hash {
                return;
            }
            *recent = hash;
        }
        let first = block_of(hash) * (BLOCK_BYTES / 8);
        let Some(block) = self.lanes.get_mut(first..first + BLOCK_BYTES / 8) else {
            return;
        };
        for (lane, bit) in bits_of(hash) {
            self.bits += u32::from(block[lane] & bit == 0);
            block[lane] |= bit;
        }
    }

    /// Whether more words would make it find too many that were not added.
    pub(crate) fn is_full(&self) -> bool {
        self.bits >= FULL_BITS
    }

    /// Removes all words.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Its bytes, block after block.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.lanes.iter().flat_map(|lane| lane.to_le_bytes())
    }
}

/// The slot in which a hash is remembered: by its lowest bits.
fn slot_of(hash: u64) -> usize {
    usize::try_from(hash % RECENT_SLOTS as u64).unwrap_or(0)
}

/// The block in which the bits of this word are.
pub(crate) fn block_of(hash: u64) -> usize {
    usize::try_from(hash >> 56).unwrap_or(0) % BLOCKS
}

/// Whether the block, which is the word's, may have the word.
pub(crate) fn block_has(block: &[u8], hash: u64) -> bool {
    bits_of(hash).all(|(lane, bit)| {
        let bytes = block.get(lane * 8..lane * 8 + 8);
        let bytes = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        bytes.is_none_or(|bytes| u64::from_le_bytes(bytes) & bit != 0)
    })
}

/// Nine bits of the hash for each: three for the lane of the block, six for the bit.
fn bits_of(hash: u64) -> impl Iterator<Item = (usize, u64)> {
    (0..BITS_OF_WORD).map(move |number| {
        let nine = hash >> (9 * number);
        let lane = usize::try_from((nine >> 6) & 7).unwrap_or(0);
        (lane, 1 << (nine & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::property_hash;

    fn hashes(name: &'static str) -> impl Iterator<Item = u64> {
        (0..).map(move |number: u32| property_hash(name, &number.to_string()))
    }

    fn has(bytes: &[u8], hash: u64) -> bool {
        let start = block_of(hash) * BLOCK_BYTES;
        block_has(&bytes[start..start + BLOCK_BYTES], hash)
    }

    #[test]
    fn full_filter_has_its_words_and_few_others() {
        let mut filter = WordFilter::default();
        let added = hashes("a").take_while(|hash| {
            filter.add(*hash);
            !filter.is_full()
        });
        let added: Vec<_> = added.collect();
        assert!((9_500..9_900).contains(&added.len()), "{}", added.len());
        let bytes: Vec<u8> = filter.bytes().collect();
        assert_eq!(bytes.len(), FILTER_BYTES);
        assert!(added.iter().all(|hash| has(&bytes, *hash)));
        let wrong = hashes("b")
            .take(100_000)
            .filter(|hash| has(&bytes, *hash))
            .count();
        assert!(wrong < 600, "{wrong} of 100,000");
    }

    #[test]
    fn word_of_any_hash_is_added_also_after_all_were_removed() {
        let mut filter = WordFilter::default();
        let edges = (0..RECENT_SLOTS as u64).flat_map(|slot| [slot, !slot, slot << 32]);
        let edges: Vec<u64> = edges.collect();
        for round in 0..2 {
            for hash in &edges {
                filter.clear();
                filter.add(*hash);
                let bytes: Vec<u8> = filter.bytes().collect();
                assert!(has(&bytes, *hash), "{hash:x} in round {round}");
            }
        }
    }
}
