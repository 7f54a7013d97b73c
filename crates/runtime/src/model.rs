use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use mert_spec::Config;

use crate::encoder::Encoder;
use crate::feature_extractor::FeatureExtractor;
use crate::feature_projection::FeatureProjection;
use crate::{ComputeDtype, ConvertedFile, Error};

/// A MERT or HuBERT encoder.
#[derive(Debug, Clone)]
pub struct Model {
    config: Config,
    feature_extractor: FeatureExtractor,
    feature_projection: FeatureProjection,
    encoder: Encoder,
    device: Device,
    dtype: DType,
}

impl Model {
    /// Loads the weights of a converted file onto `device`, to compute in `dtype`.
    ///
    /// # Errors
    /// Those of [`ConvertedFile::open`] and [`Model::load`].
    pub fn open(path: &Path, dtype: ComputeDtype, device: &Device) -> Result<Self, Error> {
        let file = ConvertedFile::open(path)?;
        Model::load(file.var_builder(dtype, device), &file.metadata().config)
    }

    /// Loads the weights that `vb` holds under the checkpoint's own paths, in PyTorch's order
    /// ([`ConvertedFile::var_builder`] gives one). Its device and dtype are those of the model.
    ///
    /// # Errors
    /// [`Error::Config`] for an impossible configuration, [`Error::Candle`] naming a tensor that is
    /// missing or has another shape.
    pub fn load(vb: VarBuilder, config: &Config) -> Result<Self, Error> {
        config.validate()?;
        Ok(Model {
            config: config.clone(),
            feature_extractor: FeatureExtractor::load(vb.pp("feature_extractor"), config)?,
            feature_projection: FeatureProjection::load(vb.pp("feature_projection"), config)?,
            encoder: Encoder::load(vb.pp("encoder"), config)?,
            device: vb.device().clone(),
            dtype: vb.dtype(),
        })
    }

    /// The architecture.
    pub fn config(&self) -> &Config {
        &self.config
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

    /// The wanted hidden states of a batch of clips of equal length, in the order asked for, each
    /// `(batch, frames, hidden_size)` on the model's device and in its dtype.
    ///
    /// `input_values` is `(samples,)` or `(batch, samples)`, at the model's sample rate, each clip of
    /// zero mean and unit variance. Hidden state 0 enters the first layer, hidden state i is the output
    /// of layer i. Layers above the highest wanted one are not computed.
    ///
    /// # Errors
    /// [`Error::InputShape`], [`Error::TooShort`] or [`Error::NotFinite`] for the input,
    /// [`Error::HiddenState`] for a hidden state that does not exist or none.
    pub fn forward(&self, input_values: &Tensor, wanted: &[usize]) -> Result<Vec<Tensor>, Error> {
        let last_there_is = self.config.num_hidden_layers;
        let last = wanted.iter().copied().max().filter(|&last| last <= last_there_is);
        let last = last.ok_or_else(|| Error::HiddenState { asked: wanted.to_vec(), last: last_there_is })?;

        let input = self.prepare(input_values)?;
        let mut kept: Vec<Option<Tensor>> = vec![None; last + 1];
        let mut x = self.first_hidden_state(&input)?;
        for (index, kept) in kept.iter_mut().enumerate() {
            if index > 0 {
                x = self.encoder.layer(index, &x)?;
            }
            if wanted.contains(&index) {
                *kept = Some(self.encoder.finish(index, &x)?);
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
        let x = previous.to_device(&self.device)?.to_dtype(self.dtype)?;
        Ok(self.encoder.finish(index, &self.encoder.layer(index, &x)?)?)
    }

    fn first_hidden_state(&self, input: &Tensor) -> Result<Tensor, Error> {
        let _span = tracing::trace_span!("features").entered();
        let features = self.feature_extractor.forward(input)?;
        let features = self.feature_projection.forward(&features)?;
        Ok(self.encoder.first_hidden_state(&features)?)
    }

    /// Checks the input and brings it to `(batch, samples)` in the model's dtype on its device.
    fn prepare(&self, input_values: &Tensor) -> Result<Tensor, Error> {
        let input = match input_values.rank() {
            1 => input_values.unsqueeze(0)?,
            _ => input_values.clone(),
        };
        if input.rank() != 2 || input.elem_count() == 0 {
            return Err(Error::InputShape { shape: input_values.dims().to_vec() });
        }
        let samples = input.dim(1)?;
        if self.config.frames(samples).is_none() {
            return Err(Error::TooShort { samples, needed: self.config.receptive_field() });
        }
        let values = input.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { index, value });
        }
        Ok(input.to_device(&self.device)?.to_dtype(self.dtype)?)
    }
}
