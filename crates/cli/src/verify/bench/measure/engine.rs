//! The engines that run a workload, and the runtime as one of them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use mert_runtime::{Model, Workspace};
use mert_verify::metrics::LayerMetrics;
use ndarray::Array2;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::Workload;

/// The NMSE up to which two engines count as computing the same. Both compute in f32 with the same
/// weights, which leaves about 1e-11; leaving out any part gives far more than 1e-6.
pub(crate) const AGREEMENT: f64 = 1e-6;

/// Numbers of a hidden state that a task copies.
const COPY: usize = 1 << 16;

/// An engine that runs a [`Workload`].
pub(crate) trait Engine {
    /// The name and version.
    fn name(&self) -> &str;

    /// Runs once and returns the wall-clock seconds until all wanted hidden states are in main memory.
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
    input: Vec<f32>,
    batch: usize,
    wanted: Vec<usize>,
    /// The memory of the passes, and the wanted hidden states of the last, which each run reuses.
    memory: Mutex<(Workspace, Vec<Vec<f32>>)>,
}

impl<'a> RuntimeEngine<'a> {
    /// Prepares to run `workload` on `threads` threads. Fails if the system does not start so many, or has no memory for
    /// the input.
    pub(crate) fn new(model: &'a Model, workload: &Workload, threads: usize) -> anyhow::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|reason| anyhow::anyhow!("cannot start {threads} threads: {reason}"))?;
        let input = workload.input()?;
        let (batch, wanted) = (input.dim(0)?, workload.wanted().to_vec());
        let memory = Mutex::new((Workspace::default(), vec![Vec::new(); wanted.len()]));
        Ok(RuntimeEngine { model, pool, input: input.flatten_all()?.to_vec1()?, batch, wanted, memory })
    }

    /// The thread pool on which the engine runs.
    pub(crate) fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// Computes the wanted hidden states, and passes them to `use_states` in the order wanted.
    fn states<R>(&self, use_states: impl FnOnce(&[Vec<f32>]) -> R) -> anyhow::Result<R> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (workspace, states) = &mut *memory;
        self.pool.install(|| {
            self.model.forward_in(workspace, &self.input, self.batch, &self.wanted, |index, state| {
                for (_, copy) in self.wanted.iter().zip(&mut *states).filter(|(wanted, _)| **wanted == index) {
                    copy.resize(state.len(), 0.0);
                    copy.par_chunks_mut(COPY)
                        .zip(state.par_chunks(COPY))
                        .for_each(|(to, from)| to.copy_from_slice(from));
                }
            })
        })?;
        Ok(use_states(states))
    }
}

impl Engine for RuntimeEngine<'_> {
    fn name(&self) -> &str {
        concat!("mert-runtime ", env!("CARGO_PKG_VERSION"))
    }

    fn run(&self) -> anyhow::Result<f64> {
        let started = Instant::now();
        self.states(|_| started.elapsed().as_secs_f64())
    }

    fn highest_state(&self) -> anyhow::Result<Array2<f32>> {
        let state = self.states(|states| {
            self.wanted.iter().zip(states).max_by_key(|(index, _)| **index).map(|(_, state)| state.clone())
        })?;
        let (state, width) = (state.context("no hidden state was selected")?, self.model.config().hidden_size);
        Ok(Array2::from_shape_vec((state.len() / width, width), state)?)
    }
}
