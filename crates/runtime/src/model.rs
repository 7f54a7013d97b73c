//! The MERT and HuBERT encoder: loading, forward pass, and the memory that passes reuse.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use mert_arch::{Config, Preprocessor};

use crate::candle::CandleModel;
use crate::cpu::{self, CpuModel};
use crate::device::candle_dtype;
use crate::{ConvertedFile, Dtype, Error};

/// A MERT or HuBERT encoder. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    preprocessor: Preprocessor,
    engine: Engine,
    device: Device,
    dtype: DType,
}

/// What [`Model::hidden_states_in`] works in: any model, any length, any hidden states.
///
/// It grows to the largest pass and stays. On a CPU that computes in f32 a pass like one before, of the same
/// model, length and hidden states, allocates nothing, on any thread, with two exceptions:
///
/// - Called from a thread outside rayon's pool, it hands rayon one task for each hidden state that it shows, and
///   every 63 of those cost a block of rayon's queue, of 1.5 kB. `rayon::ThreadPool::install` around all the calls
///   puts them inside; they have to stay in one pool.
/// - The pool's threads have memory of their own, which all models share. After a pass elsewhere in the program
///   that needed more of it than any before, the next one here lets all threads grow, once.
///
/// GPUs and half precision allocate as [`Model::hidden_states`] does.
#[derive(Debug, Default)]
pub struct Workspace {
    cpu: cpu::Workspace,
}

/// Who computes.
#[derive(Debug, Clone)]
enum Engine {
    /// f32 on the processor.
    Cpu(Arc<CpuModel>),
    /// Everything else.
    Candle(Arc<CandleModel>),
}

impl Model {
    /// Loads the weights of a converted file onto `device`, to compute in `dtype`.
    ///
    /// # Errors
    /// Those of [`ConvertedFile::open`] and [`Model::load`].
    pub fn open(path: &Path, dtype: Dtype, device: &Device) -> Result<Self, Error> {
        Model::from_file(&ConvertedFile::open(path)?, dtype, device)
    }

    /// As [`Model::open`], from a file that is open. A CPU that computes in f32 keeps the weights in the
    /// type that the file has.
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn from_file(file: &ConvertedFile, dtype: Dtype, device: &Device) -> Result<Self, Error> {
        let stored = candle_dtype(file.metadata().dtype);
        let model = Model::load_stored(file.var_builder(dtype, device), stored, &file.metadata().config)?;
        Ok(Model { preprocessor: file.metadata().preprocessor, ..model })
    }

    /// Loads the weights in `vb`, stored under the checkpoint's own names in PyTorch's order
    /// ([`ConvertedFile::var_builder`] returns one). The model takes its device and dtype from `vb`; its preprocessor
    /// is [`Preprocessor::assumed`].
    ///
    /// # Errors
    /// [`Error::Config`] for an impossible configuration, [`Error::Candle`] naming a tensor that is
    /// missing or has another shape.
    pub fn load(vb: VarBuilder, config: &Config) -> Result<Self, Error> {
        let stored = vb.dtype();
        Model::load_stored(vb, stored, config)
    }

    /// Weights that the CPU keeps are kept as `stored`.
    fn load_stored(vb: VarBuilder, stored: DType, config: &Config) -> Result<Self, Error> {
        config.validate()?;
        let (device, dtype) = (vb.device().clone(), vb.dtype());
        let engine = match (&device, dtype) {
            (Device::Cpu, DType::F32) if CpuModel::runs(config) => {
                Engine::Cpu(Arc::new(CpuModel::load(vb, stored, config)?))
            }
            _ => Engine::Candle(Arc::new(CandleModel::load(vb, config)?)),
        };
        let preprocessor = Preprocessor::assumed(config);
        Ok(Model { config: config.clone(), preprocessor, engine, device, dtype })
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The preprocessing of audio before it enters the model.
    pub fn preprocessor(&self) -> Preprocessor {
        self.preprocessor
    }

    /// Hidden states of one clip: as [`Model::forward`] on a batch of one.
    ///
    /// # Errors
    /// Those of [`Model::forward`].
    pub fn hidden_states(&self, input_values: &[f32], wanted: &[usize]) -> Result<Vec<Tensor>, Error> {
        if input_values.is_empty() {
            return Err(Error::InputShape { shape: vec![0] });
        }
        self.forward(&Tensor::from_slice(input_values, (1, input_values.len()), &Device::Cpu)?, wanted)
    }

    /// Memory for [`Model::hidden_states_in`].
    pub fn workspace(&self) -> Workspace {
        Workspace::default()
    }

    /// The wanted hidden states of one clip, in ascending order and each once, shown to `show` on this thread as
    /// `(frames, hidden_size)`: what [`Model::hidden_states`] gives, to the last bit, in memory that is kept from
    /// clip to clip ([`Workspace`] says which).
    ///
    /// # Errors
    /// Those of [`Model::forward`].
    pub fn hidden_states_in(
        &self,
        workspace: &mut Workspace,
        input_values: &[f32],
        wanted: &[usize],
        mut show: impl FnMut(usize, &[f32]),
    ) -> Result<(), Error> {
        if input_values.is_empty() {
            return Err(Error::InputShape { shape: vec![0] });
        }
        self.last(wanted)?;
        match &self.engine {
            Engine::Cpu(model) => {
                self.check(input_values, input_values.len())?;
                let show = |index, state: &[f32]| -> Result<(), Error> {
                    show(index, state);
                    Ok(())
                };
                model.forward(&mut workspace.cpu, input_values, input_values.len(), wanted, show)?;
                workspace.cpu.settle();
            }
            Engine::Candle(_) => {
                let mut ascending = wanted.to_vec();
                ascending.sort_unstable();
                ascending.dedup();
                for (&index, state) in ascending.iter().zip(self.hidden_states(input_values, &ascending)?) {
                    show(index, &state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
                }
            }
        }
        Ok(())
    }

    /// Returns the wanted hidden states of a batch of clips of equal length, in the order given, each `(batch, frames,
    /// hidden_size)` on the model's device and in its dtype.
    ///
    /// `input_values` is `(samples,)` or `(batch, samples)`, prepared according to [`Model::preprocessor`]: at its rate
    /// and, with `do_normalize`, each clip with zero mean and unit variance. Hidden state 0 enters the first layer,
    /// hidden state i is the output of layer i. Layers above the highest wanted one are not computed.
    ///
    /// # Errors
    /// [`Error::InputShape`], [`Error::TooShort`] or [`Error::NotFinite`] for the input,
    /// [`Error::HiddenState`] for a hidden state that does not exist or none.
    pub fn forward(&self, input_values: &Tensor, wanted: &[usize]) -> Result<Vec<Tensor>, Error> {
        let last = self.last(wanted)?;
        let input = match input_values.rank() {
            1 => input_values.unsqueeze(0)?,
            _ => input_values.clone(),
        };
        if input.rank() != 2 || input.elem_count() == 0 {
            return Err(Error::InputShape { shape: input_values.dims().to_vec() });
        }
        let (clips, samples) = input.dims2()?;
        let values = input.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        self.check(&values, samples)?;

        let mut kept: Vec<Option<Tensor>> = vec![None; last + 1];
        match &self.engine {
            Engine::Cpu(model) => {
                let keep = |index: usize, state: &[f32]| -> Result<(), Error> {
                    let frames = state.len() / clips / self.config.hidden_size;
                    kept[index] = Some(cpu::tensor(state, (clips, frames, self.config.hidden_size))?);
                    Ok(())
                };
                model.forward(&mut cpu::Workspace::default(), &values, samples, wanted, keep)?;
            }
            Engine::Candle(model) => {
                let keep = |index: usize, state: &dyn Fn() -> candle_core::Result<Tensor>| {
                    if wanted.contains(&index) {
                        kept[index] = Some(state()?);
                    }
                    Ok(())
                };
                model.forward(&input.to_device(&self.device)?.to_dtype(self.dtype)?, last, keep)?;
            }
        }
        Ok(wanted.iter().filter_map(|&index| kept[index].clone()).collect())
    }

    /// Hidden state `index` computed from a given hidden state `index − 1` of shape
    /// `(batch, frames, hidden_size)`: one layer in isolation.
    ///
    /// # Errors
    /// [`Error::HiddenState`] unless 1 ≤ `index` ≤ the number of layers; [`Error::Candle`] for another
    /// shape.
    pub fn hidden_state_from_previous(&self, index: usize, previous: &Tensor) -> Result<Tensor, Error> {
        let last = self.config.num_hidden_layers;
        if !(1..=last).contains(&index) {
            return Err(Error::HiddenState { asked: vec![index], last });
        }
        let previous = previous.to_device(&self.device)?.to_dtype(self.dtype)?;
        Ok(match &self.engine {
            Engine::Cpu(model) => model.layer(index, &previous)?,
            Engine::Candle(model) => model.layer(index, &previous)?,
        })
    }

    /// The highest of the wanted hidden states.
    fn last(&self, wanted: &[usize]) -> Result<usize, Error> {
        let last = self.config.num_hidden_layers;
        let highest = wanted.iter().copied().max().filter(|&highest| highest <= last);
        highest.ok_or_else(|| Error::HiddenState { asked: wanted.to_vec(), last })
    }

    /// Whether clips of `samples` samples, one after the other, can be run.
    fn check(&self, values: &[f32], samples: usize) -> Result<(), Error> {
        if self.config.frames(samples).is_none() {
            return Err(Error::TooShort { samples, needed: self.config.receptive_field() });
        }
        match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            Some((index, &value)) => Err(Error::NotFinite { index, value }),
            None => Ok(()),
        }
    }
}
