//! The model: loading, and the forward pass on either engine. `layers.rs` runs a part of the layers.

mod layers;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use mert_arch::{ComputeType, Config, Dtype, Int8Exceptions, Preprocessor};
use mert_simd::Factors;
use rayon::prelude::*;

use crate::candle::CandleModel;
use crate::cpu::{self, CpuModel, FinalProj, ModuleFactors};
use crate::device::candle_dtype;
use crate::{ConvertedFile, Error};

/// An encoder of the MERT and HuBERT family. Clones share the weights.
///
/// The forward pass takes slices ([`Model::hidden_states_in`], [`Model::hidden_states`]); [`Model::forward`] takes
/// tensors, for batches.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    preprocessor: Preprocessor,
    engine: Engine,
    final_proj: Option<Arc<FinalProj>>,
    device: Device,
    dtype: DType,
    compute: ComputeType,
}

/// The memory that forward passes reuse, for any model, length and hidden states.
///
/// It grows to the largest pass and stays. On a CPU that computes in f32, bf16 or int8, a pass with the same model, length and hidden
/// states as an earlier one allocates nothing, on any thread, with two exceptions:
///
/// - Called from a thread outside rayon's pool, it hands rayon one task for each hidden state, and every 63 tasks cost a
///   block of rayon's queue, of 1.5 kB. `rayon::ThreadPool::install` around all the calls puts them inside; they have to
///   stay in one pool.
/// - The pool's threads have memory of their own, which all models share. After a pass elsewhere in the program that
///   needed more of it than any before, the next pass with this workspace grows it on all threads, once.
///
/// GPUs and f16 allocate as [`Model::hidden_states`] does.
#[derive(Debug, Default)]
pub struct Workspace {
    cpu: cpu::Workspace,
}

/// The backend that runs the forward pass.
#[derive(Debug, Clone)]
enum Engine {
    /// The engine for f32, bf16 and int8 on the processor.
    Cpu(Arc<CpuModel>),
    /// The engine for every other device and dtype.
    Candle(Arc<CandleModel>),
}

/// The output of an engine for one hidden state.
enum EngineOutput<'a> {
    /// The values as `(clips · frames, hidden_size)`.
    Rows(&'a [f32]),
    /// A tensor `(clips, frames, hidden_size)`, on the model's device and in its dtype.
    Tensor(Tensor),
}

impl Model {
    /// Loads the weights of a converted file onto `device`, to compute with `compute`, which may be a [`Dtype`].
    ///
    /// # Errors
    /// The errors of [`ConvertedFile::open`] and [`Model::load`].
    pub fn open(path: &Path, compute: impl Into<ComputeType>, device: &Device) -> Result<Self, Error> {
        Model::from_file(&ConvertedFile::open(path)?, compute, device)
    }

    /// Loads the weights of an open file, as [`Model::open`] does. A CPU that computes in f32 keeps the weights as
    /// the file has them, in its dtype or quantized. In bf16 it rounds float weights to bf16, in int8 the weights of the large
    /// layers to 8 bits with a scale for each output. GPUs and f16 decode quantized weights as they are loaded.
    ///
    /// # Errors
    /// The errors of [`Model::load`]; [`Error::ComputeType`] for integers on a GPU or for a model that the CPU's own engine does
    /// not support.
    pub fn from_file(file: &ConvertedFile, compute: impl Into<ComputeType>, device: &Device) -> Result<Self, Error> {
        let compute = compute.into();
        // The CPU engine's weights come from the file, and all else in f32.
        let dtype =
            if device.is_cpu() && compute != Dtype::F16 { Dtype::F32 } else { compute.float().unwrap_or(Dtype::F32) };
        let vb = file.var_builder(dtype, device);
        let exceptions = file.metadata().int8_exceptions.clone().unwrap_or_default();
        let model = Model::load_from(vb, Some(file), &file.metadata().config, (compute, &exceptions))?;
        let head = |size| cpu::load_final_proj(file, size);
        let final_proj = file.metadata().final_proj.map(head).transpose()?.map(Arc::new);
        Ok(Model { preprocessor: file.metadata().preprocessor, final_proj, ..model })
    }

    /// Loads the weights of an open file to compute in 8-bit integers on the CPU, but for `exceptions`, whatever those of the file's
    /// metadata are.
    ///
    /// # Errors
    /// The errors of [`Model::load`]; [`Error::ComputeType`] for a model that the CPU's own engine does not support.
    pub fn from_file_in_int8(file: &ConvertedFile, exceptions: &Int8Exceptions) -> Result<Self, Error> {
        let vb = file.var_builder(Dtype::F32, &Device::Cpu);
        let model = Model::load_from(vb, Some(file), &file.metadata().config, (ComputeType::Int8, exceptions))?;
        Ok(Model { preprocessor: file.metadata().preprocessor, ..model })
    }

    /// Loads the weights in `vb`, under the checkpoint's own names and in PyTorch's order, as
    /// [`ConvertedFile::var_builder`] returns them. The model takes its device and compute type from `vb`; its preprocessor is
    /// [`Preprocessor::assumed`], and it has no `final_proj`.
    ///
    /// # Errors
    /// [`Error::Config`] for an impossible configuration, [`Error::Candle`] naming a tensor that is missing or has
    /// another shape.
    pub fn load(vb: VarBuilder, config: &Config) -> Result<Self, Error> {
        let compute = match vb.dtype() {
            DType::F16 => ComputeType::F16,
            DType::BF16 => ComputeType::BF16,
            _ => ComputeType::F32,
        };
        Model::load_as(vb, config, compute)
    }

    /// Loads the weights in `vb` as [`Model::load`] does, to compute with `compute`, whatever the dtype of `vb`.
    ///
    /// # Errors
    /// The errors of [`Model::load`], and [`Error::ComputeType`].
    pub fn load_as(vb: VarBuilder, config: &Config, compute: impl Into<ComputeType>) -> Result<Self, Error> {
        Model::load_from(vb, None, config, (compute.into(), &Int8Exceptions::default()))
    }

    /// Loads the weights in `vb`, which is that of `file` if there is one.
    fn load_from(
        vb: VarBuilder,
        file: Option<&ConvertedFile>,
        config: &Config,
        (compute, exceptions): (ComputeType, &Int8Exceptions),
    ) -> Result<Self, Error> {
        config.validate()?;
        let device = vb.device().clone();
        let factors = match compute {
            ComputeType::Float(Dtype::F32) => Some(Factors::F32),
            ComputeType::Float(Dtype::Bf16) => Some(Factors::Bf16),
            ComputeType::Float(Dtype::F16) => None,
            ComputeType::Int8 => Some(Factors::Int8),
        };
        let (engine, dtype) = match factors.filter(|_| device.is_cpu() && CpuModel::supports(config)) {
            Some(factors) => {
                let modules = match factors {
                    Factors::Int8 => ModuleFactors::of(exceptions),
                    _ => ModuleFactors::default(),
                };
                let model = CpuModel::load(vb.to_dtype(DType::F32), file, config, (factors, &modules))?;
                (Engine::Cpu(Arc::new(model)), DType::F32)
            }
            None => {
                let dtype = compute.float().ok_or(Error::ComputeType { compute })?;
                let vb = vb.to_dtype(candle_dtype(dtype));
                (Engine::Candle(Arc::new(CandleModel::load(vb, config)?)), candle_dtype(dtype))
            }
        };
        let preprocessor = Preprocessor::assumed(config);
        Ok(Model { config: config.clone(), preprocessor, engine, final_proj: None, device, dtype, compute })
    }

    /// The numbers that it computes with.
    pub fn compute_type(&self) -> ComputeType {
        self.compute
    }

    /// True if it rounds the factors of products only, and keeps sums, norms and hidden states in f32: on the CPU in f32, bf16 and
    /// int8.
    pub fn rounds_factors_only(&self) -> bool {
        matches!(self.engine, Engine::Cpu(_))
    }

    /// True if it runs on the processor.
    pub fn computes_on_cpu(&self) -> bool {
        self.device.is_cpu()
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The preprocessing of audio before it enters the model.
    pub fn preprocessor(&self) -> Preprocessor {
        self.preprocessor
    }

    /// The number of values to which [`Model::final_proj`] maps a frame; `None` if the file keeps no `final_proj`.
    pub fn final_proj_size(&self) -> Option<usize> {
        self.final_proj.as_ref().map(|head| head.outputs())
    }

    /// Maps `frames` `(frames, hidden_size)` of a hidden state to `out` `(frames, final_proj_size)` with the linear layer
    /// `final_proj`, as [RVC](https://github.com/RVC-Project/Retrieval-based-Voice-Conversion-WebUI) does with hidden
    /// state 9. It computes on the processor in f32, whatever the model's device and dtype.
    ///
    /// # Errors
    /// [`Error::NoFinalProj`] if the file keeps no `final_proj`, [`Error::FrameCount`] if the lengths of `frames` and
    /// `out` do not fit.
    pub fn final_proj(&self, frames: &[f32], out: &mut [f32]) -> Result<(), Error> {
        let head = self.final_proj.as_ref().ok_or(Error::NoFinalProj)?;
        let (inputs, outputs) = (head.inputs(), head.outputs());
        let count = frames.len() / inputs;
        if count * inputs != frames.len() || count * outputs != out.len() {
            return Err(Error::FrameCount { values: frames.len(), inputs, projected: out.len(), outputs });
        }
        head.forward(frames, out);
        Ok(())
    }

    /// Computes the hidden states `indices` of one clip in memory that is reused from clip to clip. `on_state` gets
    /// each once, in ascending order, as `(frames, hidden_size)`, on this thread: the values of
    /// [`Model::hidden_states`], to the last bit.
    ///
    /// ```
    /// use mert_runtime::{DeviceKind, Dtype, Model, Workspace};
    ///
    /// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/model.safetensors");
    /// # // let path = "model.safetensors";
    /// let model = Model::open(path.as_ref(), Dtype::F32, &DeviceKind::Cpu.open()?)?;
    /// let mut workspace = Workspace::default();
    /// for clip in [vec![0.1; 24_000], vec![0.2; 24_000]] {
    ///     model.hidden_states_in(&mut workspace, &clip, &[6], |index, state| {
    ///         assert_eq!((index, state.len()), (6, 74 * model.config().hidden_size));
    ///     })?;
    /// }
    /// # Ok::<(), mert_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`Model::forward`].
    pub fn hidden_states_in(
        &self,
        workspace: &mut Workspace,
        input_values: &[f32],
        indices: &[usize],
        on_state: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        self.forward_in(workspace, input_values, 1, indices, on_state)
    }

    /// Computes the hidden states `indices` of `batch` clips of equal length, `(batch, samples)`, in memory that is reused, as
    /// [`Model::hidden_states_in`] does. `on_state` gets each as `(batch · frames, hidden_size)`.
    ///
    /// # Errors
    /// The errors of [`Model::forward`]; [`Error::InputShape`] too if the samples are not those of `batch` clips of equal length.
    pub fn forward_in(
        &self,
        workspace: &mut Workspace,
        input_values: &[f32],
        batch: usize,
        indices: &[usize],
        mut on_state: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        if batch == 0 || !input_values.len().is_multiple_of(batch) {
            return Err(Error::InputShape { shape: vec![batch, input_values.len()] });
        }
        self.run(workspace, input_values, batch, indices, |index, state| {
            match state {
                EngineOutput::Rows(rows) => on_state(index, rows),
                EngineOutput::Tensor(state) => {
                    on_state(index, &state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
                }
            }
            Ok(())
        })?;
        workspace.cpu.reserve();
        Ok(())
    }

    /// Computes the hidden states `indices` of one clip: as [`Model::forward`] on a batch of one.
    ///
    /// # Errors
    /// The errors of [`Model::forward`].
    pub fn hidden_states(&self, input_values: &[f32], indices: &[usize]) -> Result<Vec<Tensor>, Error> {
        self.tensors(input_values, 1, indices)
    }

    /// Computes the hidden states `indices` of a batch of clips of equal length, in the order given, each
    /// `(batch, frames, hidden_size)` on the model's device, in f32 on the CPU and in the model's dtype elsewhere.
    ///
    /// `input_values` is `(samples,)` or `(batch, samples)`, prepared according to [`Model::preprocessor`]: at its rate
    /// and, with `do_normalize`, each clip with zero mean and unit variance. Hidden state 0 enters the first layer,
    /// hidden state i is the output of layer i. Layers above the highest of them are not computed.
    ///
    /// # Errors
    /// [`Error::InputShape`], [`Error::TooShort`] or [`Error::NotFinite`] for the input, [`Error::HiddenState`] if
    /// `indices` is empty or names a hidden state that does not exist.
    pub fn forward(&self, input_values: &Tensor, indices: &[usize]) -> Result<Vec<Tensor>, Error> {
        let clips = match *input_values.dims() {
            [_] => 1,
            [clips, _] if clips > 0 => clips,
            _ => return Err(Error::InputShape { shape: input_values.dims().to_vec() }),
        };
        if input_values.elem_count() == 0 {
            return Err(Error::InputShape { shape: input_values.dims().to_vec() });
        }
        self.tensors(&input_values.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?, clips, indices)
    }

    /// Computes hidden state `index` from a given hidden state `index − 1` `(batch, frames, hidden_size)`: one layer in
    /// isolation.
    ///
    /// # Errors
    /// [`Error::HiddenState`] unless 1 ≤ `index` ≤ the number of layers; [`Error::Candle`] for another shape.
    pub fn hidden_state_from_previous(&self, index: usize, previous: &Tensor) -> Result<Tensor, Error> {
        let last = self.config.num_hidden_layers;
        if !(1..=last).contains(&index) {
            return Err(Error::HiddenState { requested: vec![index], last });
        }
        let previous = previous.to_device(&self.device)?.to_dtype(self.dtype)?;
        let (clips, frames, _) = previous.dims3()?;
        let expected = Shape::from((clips, frames, self.config.hidden_size));
        if previous.shape() != &expected || previous.elem_count() == 0 {
            let (msg, got) = ("the previous hidden state".to_string(), previous.shape().clone());
            return Err(candle_core::Error::UnexpectedShape { msg, expected, got }.into());
        }
        Ok(match &self.engine {
            Engine::Cpu(model) => {
                let state = model.layer(index, &previous.flatten_all()?.to_vec1::<f32>()?, frames);
                Tensor::from_vec(state, expected, &Device::Cpu)?
            }
            Engine::Candle(model) => model.layer(index, &previous)?,
        })
    }

    /// Computes the hidden states `indices` of the clips in `input_values` `(clips, samples)`, as tensors in the order
    /// given.
    fn tensors(&self, input_values: &[f32], clips: usize, indices: &[usize]) -> Result<Vec<Tensor>, Error> {
        let mut states = HashMap::new();
        self.run(&mut Workspace::default(), input_values, clips, indices, |index, state| {
            let state = match state {
                EngineOutput::Tensor(state) => state,
                EngineOutput::Rows(rows) => {
                    let width = self.config.hidden_size;
                    let shape = (clips, rows.len() / clips / width, width);
                    // On all threads: most of the cost of the copy is that its pages are new.
                    let copy = rows.par_iter().with_min_len(1 << 16).copied().collect();
                    Tensor::from_vec(copy, shape, &Device::Cpu)?
                }
            };
            states.insert(index, state);
            Ok(())
        })?;
        Ok(indices.iter().filter_map(|index| states.get(index).cloned()).collect())
    }

    /// Checks the request, computes the hidden states `indices` of the clips in `input_values` `(clips, samples)` and
    /// passes each once, in ascending order, to `on_state`.
    fn run(
        &self,
        workspace: &mut Workspace,
        input_values: &[f32],
        clips: usize,
        indices: &[usize],
        mut on_state: impl FnMut(usize, EngineOutput<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if input_values.is_empty() {
            return Err(Error::InputShape { shape: vec![0] });
        }
        let last = self.config.num_hidden_layers;
        if indices.is_empty() || indices.iter().any(|&index| index > last) {
            return Err(Error::HiddenState { requested: indices.to_vec(), last });
        }
        let samples = input_values.len() / clips;
        if self.config.frames(samples).is_none() {
            return Err(Error::TooShort { samples, needed: self.config.receptive_field() });
        }
        if let Some((index, &value)) = input_values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { index, value });
        }
        match &self.engine {
            Engine::Cpu(model) => model.forward(&mut workspace.cpu, input_values, samples, indices, |index, rows| {
                on_state(index, EngineOutput::Rows(rows))
            }),
            Engine::Candle(model) => {
                let input = Tensor::from_slice(input_values, (clips, samples), &self.device)?.to_dtype(self.dtype)?;
                model.forward(&input, indices, |index, state| on_state(index, EngineOutput::Tensor(state)))
            }
        }
    }
}
