//! One source for several readers, each at its own pace, so that a file is decoded once for windows at several rates.

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::Result;
use crate::source::Source;

/// A reader of a source that other readers share. Every reader gets all samples.
///
/// What one reader has read and another has not is in memory: readers that are used in turn, a window each, keep about
/// one window there.
#[derive(Debug)]
pub struct SharedSource<S> {
    shared: Rc<RefCell<Shared<S>>>,
    /// The index of this reader.
    reader: usize,
    /// The last block that this reader got.
    block: Vec<f32>,
}

#[derive(Debug)]
struct Shared<S> {
    source: S,
    /// Blocks that not all readers have read.
    blocks: VecDeque<Vec<f32>>,
    /// The number of blocks before the first of `blocks`.
    first: usize,
    /// The number of blocks that each reader has read.
    read: Vec<usize>,
    /// The number of samples that were skipped for all readers, until a reader counts them.
    skipped: Vec<u64>,
    ended: bool,
}

impl<S: Source> SharedSource<S> {
    /// As many readers of `source` as `count`.
    pub fn split(source: S, count: usize) -> Vec<Self> {
        let shared = Shared {
            source,
            blocks: VecDeque::new(),
            first: 0,
            read: vec![0; count],
            skipped: vec![0; count],
            ended: false,
        };
        let shared = Rc::new(RefCell::new(shared));
        (0..count).map(|reader| SharedSource { shared: shared.clone(), reader, block: Vec::new() }).collect()
    }

    /// The source, for its notes.
    pub fn source(&self) -> Ref<'_, S> {
        Ref::map(self.shared.borrow(), |shared| &shared.source)
    }

    /// Skips up to `samples` samples for all readers, before any of them reads. Each learns of it by its first
    /// [`Source::skip`], which must be of at least as many samples.
    ///
    /// # Errors
    /// Those of [`Source::skip`].
    pub(crate) fn skip_for_all(&self, samples: u64) -> Result<()> {
        let mut shared = self.shared.borrow_mut();
        let skipped = shared.source.skip(samples)?;
        shared.skipped.fill(skipped);
        Ok(())
    }
}

impl<S: Source> Source for SharedSource<S> {
    fn sample_rate(&self) -> u32 {
        self.shared.borrow().source.sample_rate()
    }

    fn next_block(&mut self) -> Result<Option<&[f32]>> {
        let shared = &mut *self.shared.borrow_mut();
        let next = shared.read[self.reader] - shared.first;
        if next == shared.blocks.len() {
            if shared.ended {
                return Ok(None);
            }
            match shared.source.next_block()? {
                Some(block) => shared.blocks.push_back(block.to_vec()),
                None => {
                    shared.ended = true;
                    return Ok(None);
                }
            }
        }
        shared.read[self.reader] += 1;
        let is_last_reader = shared.read.iter().all(|&read| read > shared.first);
        if next == 0 && is_last_reader {
            shared.first += 1;
            self.block = shared.blocks.pop_front().unwrap_or_default();
        } else {
            self.block.clear();
            self.block.extend_from_slice(&shared.blocks[next]);
        }
        Ok(Some(&self.block))
    }

    /// The samples that were skipped for all readers.
    fn skip(&mut self, samples: u64) -> Result<u64> {
        let skipped = std::mem::take(&mut self.shared.borrow_mut().skipped[self.reader]);
        debug_assert!(skipped <= samples);
        Ok(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawPcm;

    fn samples(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.01).sin()).collect()
    }

    fn readers(count: usize, of: usize) -> Vec<SharedSource<RawPcm<std::io::Cursor<Vec<u8>>>>> {
        let bytes = samples(count).iter().flat_map(|x| x.to_le_bytes()).collect();
        SharedSource::split(RawPcm::new(std::io::Cursor::new(bytes), 16_000).unwrap(), of)
    }

    #[test]
    fn every_reader_gets_all_samples_at_its_own_pace() {
        for pattern in [&[0, 1][..], &[0], &[1, 1, 0], &[0, 0, 0, 1, 1]] {
            let mut readers = readers(100_000, 2);
            let mut found = [Vec::new(), Vec::new()];
            let mut read = |reader: usize, found: &mut Vec<f32>| match readers[reader].next_block().unwrap() {
                Some(block) => found.extend_from_slice(block),
                None => assert_eq!(found.len(), 100_000),
            };
            for _ in 0..20 {
                pattern.iter().for_each(|&reader| read(reader, &mut found[reader]));
            }
            // The other reader catches up.
            for _ in 0..20 {
                read(0, &mut found[0]);
                read(1, &mut found[1]);
            }
            assert!(found.iter().all(|found| *found == samples(100_000)), "{pattern:?}");
            assert!(readers[0].shared.borrow().blocks.is_empty());
        }
    }

    #[test]
    fn what_all_have_read_is_not_kept() {
        let mut readers = readers(1_000_000, 3);
        for _ in 0..20 {
            for reader in &mut readers {
                reader.next_block().unwrap();
            }
            assert!(readers[0].shared.borrow().blocks.is_empty());
        }
    }
}
