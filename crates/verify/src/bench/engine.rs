use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use mert_runtime::Model;
use ndarray::Array2;
use rayon::ThreadPool;

use super::Workload;
use crate::metrics::LayerMetrics;
use crate::{Result, VerifyError};

/// The NMSE up to which two engines count as computing the same. Both compute in f32 with the same
/// weights, which leaves about 1e-11; 1e-6 is far below what leaving out any part would give.
pub const AGREEMENT: f64 = 1e-6;

/// Something that runs a [`Workload`].
pub trait Engine {
    /// Its name and version.
    fn name(&self) -> &str;

    /// Runs once and returns the wall-clock seconds until all wanted hidden states are in main memory.
    /// Freeing them is not counted.
    ///
    /// # Errors
    /// [`VerifyError`] if the model cannot be run.
    fn run(&self) -> Result<f64>;

    /// Runs once and returns the highest wanted hidden state, `(batch · frames, width)`.
    ///
    /// # Errors
    /// As [`Engine::run`].
    fn highest_state(&self) -> Result<Array2<f32>>;
}

/// The NMSE of one engine's highest wanted hidden state against another's; NaN if their shapes differ.
///
/// # Errors
/// [`VerifyError`] if one of the two cannot be run.
pub fn nmse_between(candidate: &dyn Engine, reference: &dyn Engine) -> Result<f64> {
    let (candidate, reference) = (candidate.highest_state()?, reference.highest_state()?);
    Ok(LayerMetrics::compare(candidate.view(), reference.view()).map_or(f64::NAN, |metrics| metrics.nmse))
}

/// `mert-runtime`, on threads of its own.
pub struct Runtime<'a> {
    model: &'a Model,
    pool: ThreadPool,
    input: Tensor,
    wanted: Vec<usize>,
}

impl<'a> Runtime<'a> {
    /// Prepares to run `workload` on `threads` threads.
    ///
    /// # Errors
    /// [`VerifyError::Threads`] if there cannot be so many, [`VerifyError::Runtime`] if the input cannot
    /// be allocated.
    pub fn new(model: &'a Model, workload: &Workload, threads: usize) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|source| VerifyError::Threads { threads, reason: source.to_string() })?;
        Ok(Runtime { model, pool, input: workload.input()?, wanted: workload.wanted().to_vec() })
    }

    /// The threads that it runs on.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    fn states(&self) -> Result<Vec<Tensor>> {
        self.pool.install(|| {
            let states = self.model.forward(&self.input, &self.wanted)?;
            // Waits for a GPU; on the CPU this is free.
            Ok(states.iter().map(|state| state.to_device(&Device::Cpu)).collect::<Result<_, _>>()?)
        })
    }
}

impl Engine for Runtime<'_> {
    fn name(&self) -> &str {
        concat!("mert-runtime ", env!("CARGO_PKG_VERSION"))
    }

    fn run(&self) -> Result<f64> {
        let started = Instant::now();
        let states = self.states()?;
        let seconds = started.elapsed().as_secs_f64();
        drop(states);
        Ok(seconds)
    }

    fn highest_state(&self) -> Result<Array2<f32>> {
        let states = self.states()?;
        let highest = self.wanted.iter().zip(&states).max_by_key(|(index, _)| **index);
        let Some((_, state)) = highest else {
            return Err(VerifyError::NothingToCompare("no hidden state is asked for".into()));
        };
        let (batch, frames, width) = state.dims3()?;
        let values = state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        // The product of the extents is the number of values.
        Array2::from_shape_vec((batch * frames, width), values)
            .map_err(|e| candle_core::Error::Msg(format!("hidden state of shape {:?}: {e}", state.shape())).into())
    }
}
