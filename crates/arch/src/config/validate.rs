//! The checks of a configuration: sizes that fit each other, and variants that are supported.

use super::architecture::Config;
use super::error::ConfigError;
use crate::ModelConfig;

/// Limits far above the sizes of every published model, which keep products of sizes from overflowing.
const MAX_WIDTH: usize = 1 << 16;
const MAX_COUNT: usize = 1 << 10;

impl Config {
    /// Checks every field that the forward pass depends on.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that is impossible or unsupported.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.refuse_unsupported()?;

        let width = |field, value: usize| in_range(field, value, MAX_WIDTH);
        width("hidden_size", self.hidden_size)?;
        width("intermediate_size", self.intermediate_size)?;
        in_range("num_hidden_layers", self.num_hidden_layers, MAX_COUNT)?;
        in_range("num_attention_heads", self.num_attention_heads, MAX_COUNT)?;
        width("num_conv_pos_embeddings", self.num_conv_pos_embeddings)?;
        self.model.family().validate(self)?;
        width("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups)?;
        divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        divides("num_conv_pos_embedding_groups", self.num_conv_pos_embedding_groups, self.hidden_size)?;

        in_range("conv_dim (its length)", self.conv_dim.len(), MAX_COUNT)?;
        for (field, list) in
            [("conv_dim", &self.conv_dim), ("conv_kernel", &self.conv_kernel), ("conv_stride", &self.conv_stride)]
        {
            if list.len() != self.conv_dim.len() {
                return Err(ConfigError::invalid(
                    field,
                    format!("{} values long", list.len()),
                    format!("as many values as conv_dim has ({})", self.conv_dim.len()),
                ));
            }
            for &value in list {
                width(field, value)?;
            }
        }
        let within = |product: Option<usize>| product.filter(|&p| p <= 1 << 32);
        if self.conv_stride.iter().try_fold(1usize, |hop, &s| within(hop.checked_mul(s))).is_none() {
            return Err(ConfigError::invalid(
                "conv_stride",
                format!("{:?}", self.conv_stride),
                "strides with a product of at most 2^32 samples",
            ));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps > 0.0) {
            return Err(ConfigError::invalid("layer_norm_eps", self.layer_norm_eps, "a positive number"));
        }
        if let Some(rate) = self.sample_rate {
            check_sample_rate("sample_rate", rate)?;
        }
        if !self.attention_relax.is_finite() {
            let expected = "a finite number (positive to turn it on)";
            return Err(ConfigError::invalid("attention_relax", self.attention_relax, expected));
        }
        Ok(())
    }

    fn refuse_unsupported(&self) -> Result<(), ConfigError> {
        if self.deepnorm && self.model != ModelConfig::Mert {
            return Err(ConfigError::unsupported("deepnorm", "true", "only `mert_model` has DeepNorm"));
        }
        if self.attention_relax > 0.0 && self.model != ModelConfig::Mert {
            return Err(ConfigError::unsupported("attention_relax", "set", "only `mert_model` has it"));
        }
        if self.deepnorm && self.do_stable_layer_norm {
            return Err(ConfigError::unsupported(
                "deepnorm",
                "true together with do_stable_layer_norm",
                "DeepNorm is defined for post-LN layers only; MERT's own code refuses the pair as well",
            ));
        }
        Ok(())
    }
}

/// Checks that audio can have this sampling rate.
pub(crate) fn check_sample_rate(field: &'static str, rate: u32) -> Result<(), ConfigError> {
    if (1_000..=384_000).contains(&rate) {
        return Ok(());
    }
    Err(ConfigError::invalid(field, rate, "a rate from 1000 to 384000 hertz"))
}

fn in_range(field: &'static str, value: usize, max: usize) -> Result<(), ConfigError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::invalid(field, value, format!("a number from 1 to {max}")))
}

fn divides(field: &'static str, value: usize, hidden_size: usize) -> Result<(), ConfigError> {
    if hidden_size.is_multiple_of(value) {
        return Ok(());
    }
    Err(ConfigError::invalid(field, value, format!("a divisor of hidden_size ({hidden_size})")))
}
