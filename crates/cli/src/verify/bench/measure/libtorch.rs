//! libtorch as an engine, in the same process: eager, with its own convolutions, GELU and norms.

use std::time::Instant;

use anyhow::Context;
use mert_verify::reference::libtorch::{ConvertedInLibtorch, LibtorchForward};
use ndarray::Array2;

use super::{Engine, Workload};

/// libtorch with the weights of a converted file.
pub(crate) struct LibtorchEngine<'a>(LibtorchForward<'a>);

impl<'a> LibtorchEngine<'a> {
    /// Prepares to run `workload` on `threads` threads.
    pub(crate) fn new(model: &'a ConvertedInLibtorch, workload: &Workload, threads: usize) -> anyhow::Result<Self> {
        let threads = i32::try_from(threads).with_context(|| format!("libtorch cannot start {threads} threads"))?;
        let forward = model.forward(workload.clip(), workload.batch(), workload.highest(), threads)?;
        Ok(LibtorchEngine(forward))
    }
}

impl Engine for LibtorchEngine<'_> {
    fn name(&self) -> &str {
        // The only version that `tch` binds.
        "libtorch 2.13.0"
    }

    fn run(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let states = self.0.run()?;
        let seconds = started.elapsed().as_secs_f64();
        drop(states);
        Ok(seconds)
    }

    fn highest_state(&self) -> anyhow::Result<Array2<f32>> {
        Ok(self.0.run()?.into_highest()?)
    }
}
