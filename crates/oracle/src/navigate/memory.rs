//! The memory of a navigator: an oracle file, and where its recordings end.

use std::sync::Arc;

use super::End;
use crate::{Links, Material, OracleFile};

/// A memory to navigate, shared between threads at no cost.
#[derive(Debug, Clone)]
pub struct Memory {
    file: Arc<OracleFile>,
    // The index after the last event of each source, ascending.
    ends: Arc<[u32]>,
}

impl Memory {
    /// The memory of an oracle file.
    pub fn new(file: Arc<OracleFile>) -> Self {
        let mut end = 0;
        let ends = file.sources().iter().map(|source| {
            end += source.events;
            end
        });
        let ends = ends.collect();
        Memory { file, ends }
    }

    /// The file.
    pub fn file(&self) -> &OracleFile {
        &self.file
    }

    /// The events.
    pub fn material(&self) -> &Material {
        self.file.material()
    }

    pub(super) fn links(&self) -> &Links {
        self.file.links()
    }

    pub(super) fn events(&self) -> u32 {
        self.links().events()
    }

    /// The end at an event that is the last of the memory or of its recording: what follows it in the memory does not
    /// continue it.
    pub(super) fn end(&self, event: u32) -> Option<End> {
        if event + 1 >= self.events() {
            return Some(End::Memory);
        }
        let source = self.ends.partition_point(|end| *end <= event);
        (self.ends.get(source) == Some(&(event + 1))).then_some(End::Source(source as u32))
    }
}
