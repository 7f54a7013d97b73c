//! The engine of `--against`: libtorch with the weights of the converted file. Without the feature `tch` there is none,
//! and choosing it is an error.

use mert_runtime::ConvertedFile;

use super::measure::{Engine, Workload};

/// A converted file, loaded into the other engine.
#[cfg(feature = "tch")]
pub(super) struct PeerModel(mert_verify::reference::libtorch::ConvertedInLibtorch);

#[cfg(feature = "tch")]
impl PeerModel {
    pub(super) fn load(file: &ConvertedFile) -> anyhow::Result<Self> {
        Ok(PeerModel(mert_verify::reference::libtorch::ConvertedInLibtorch::load(file)?))
    }

    pub(super) fn engine(&self, workload: &Workload, threads: usize) -> anyhow::Result<Box<dyn Engine + '_>> {
        Ok(Box::new(super::measure::LibtorchEngine::new(&self.0, workload, threads)?))
    }
}

/// A value that cannot exist, because this build has no other engine.
#[cfg(not(feature = "tch"))]
pub(super) enum PeerModel {}

#[cfg(not(feature = "tch"))]
impl PeerModel {
    pub(super) fn load(_: &ConvertedFile) -> anyhow::Result<Self> {
        anyhow::bail!(
            "--against tch needs libtorch, which this build lacks: build with --features tch (see \
             scripts/install_libtorch.sh)"
        )
    }

    pub(super) fn engine(&self, _: &Workload, _: usize) -> anyhow::Result<Box<dyn Engine>> {
        match *self {}
    }
}
