//! The engines that run a workload, and the runtime as one of them.

use std::time::Instant;

use anyhow::Context;
use candle_core::{Device, Tensor};
use mert_runtime::Model;
use mert_verify::candidate::to_array;
use mert_verify::metrics::LayerMetrics;
use ndarray::Array2;
use rayon::ThreadPool;

use super::Workload;

/// The NMSE up to which two engines count as computing the same. Both compute in f32 with the same
/// weights, which leaves about 1e-11; leaving out any part gives far more than 1e-6.
pub(crate) const AGREEMENT: f64 = 1e-6;

/// An engine that runs a [`Workload`].
pub(crate) trait Engine {
    /// The name and version.
    fn name(&self) -> &str;

    /// Runs once and returns the wall-clock seconds until all wanted hidden states are in main memory.
    /// Freeing them is not counted.
    fn run(&self) -> anyhow::Result<f64>;

    /// Runs once and returns the highest wanted hidden state, `(batch · frames, width)`.
    fn highest_state(&self) -> anyhow::Result<Array2<f32>>;
}

/// Computes the NMSE of one engine's highest wanted hidden state against another's; NaN if their shapes differ.
pub(crate) fn nmse_between(candidate: &dyn Engine, reference: &dyn Engine) -> anyhow::Result<f64> {
    let (candidate, reference) = (candidate.highest_state()?, reference.highest_state()?);
    Ok(LayerMetrics::compare(candidate.view(), reference.view()).map_or(f64::NAN, |metrics| metrics.nmse))
}

/// `mert-runtime` on a thread pool of its own.
pub(crate) struct RuntimeEngine<'a> {
    model: &'a Model,
    pool: ThreadPool,
    input: Tensor,
    wanted: Vec<usize>,
}

impl<'a> RuntimeEngine<'a> {
    /// Prepares to run `workload` on `threads` threads. Fails if the system does not start so many, or has no memory for
    /// the input.
    pub(crate) fn new(model: &'a Model, workload: &Workload, threads: usize) -> anyhow::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|reason| anyhow::anyhow!("cannot start {threads} threads: {reason}"))?;
        Ok(RuntimeEngine { model, pool, input: workload.input()?, wanted: workload.wanted().to_vec() })
    }

    /// The thread pool on which the engine runs.
    pub(crate) fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    fn states(&self) -> anyhow::Result<Vec<Tensor>> {
        self.pool.install(|| {
            let states = self.model.forward(&self.input, &self.wanted)?;
            // Waits for a GPU; on the CPU this is free.
            Ok(states.iter().map(|state| state.to_device(&Device::Cpu)).collect::<Result<_, _>>()?)
        })
    }
}

impl Engine for RuntimeEngine<'_> {
    fn name(&self) -> &str {
        concat!("mert-runtime ", env!("CARGO_PKG_VERSION"))
    }

    fn run(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let states = self.states()?;
        let seconds = started.elapsed().as_secs_f64();
        drop(states);
        Ok(seconds)
    }

    fn highest_state(&self) -> anyhow::Result<Array2<f32>> {
        let states = self.states()?;
        let highest = self.wanted.iter().zip(&states).max_by_key(|(index, _)| **index);
        let (_, state) = highest.context("no hidden state was selected")?;
        Ok(to_array(state)?)
    }
}
