//! The settings of a generation, checked.

use crate::bundle::GenerationConfig;
use crate::{MusicgenError, Result};

/// The choice of each code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The likeliest code.
    Greedy,
    /// A draw by probability.
    Random {
        /// The number of likeliest codes that are drawn from, and those as likely as the last of them; 0 for all. Without effect
        /// beside `top_p`, as in audiocraft.
        top_k: usize,
        /// The total probability of the likeliest codes that are drawn from; 0 for no such limit.
        top_p: f64,
        /// The divisor of the logits.
        temperature: f64,
    },
}

/// The settings of a generation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The choice of each code.
    pub sampling: Sampling,
    /// The factor of classifier-free guidance; 1 for none, which takes half the time.
    pub guidance_scale: f64,
    /// The seed of the draws.
    pub seed: u64,
    /// The length of a window in seconds; `None` for the model's usual one.
    pub window: Option<f64>,
    /// The least part of a window that it shares with the one before, in seconds; `None` for the model's usual one.
    pub overlap: Option<f64>,
}

impl Settings {
    /// The settings that a model comes with.
    pub fn of_model(config: &GenerationConfig) -> Self {
        let GenerationConfig { guidance_scale, top_k, top_p, temperature, do_sample } = *config;
        // transformers writes 1 where there is no limit.
        let top_p = if top_p == 1.0 { 0.0 } else { top_p };
        let sampling = if do_sample { Sampling::Random { top_k, top_p, temperature } } else { Sampling::Greedy };
        Settings { sampling, guidance_scale, seed: 0, window: None, overlap: None }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] naming the setting.
    pub fn check(&self) -> Result<()> {
        let invalid = |name: &str, found: f64, expected: &str| {
            Err(MusicgenError::Request(format!("invalid {name} {found}: expected {expected}")))
        };
        // Far beyond any use, and far from where logits would overflow.
        if !(-1e4..=1e4).contains(&self.guidance_scale) {
            return invalid("guidance scale", self.guidance_scale, "-10000 to 10000");
        }
        if let Sampling::Random { top_p, temperature, .. } = self.sampling {
            if !(0.0..=1.0).contains(&top_p) {
                return invalid("top-p", top_p, "0 to 1");
            }
            // Dividing by less would overflow f32.
            if !(1e-3..=1e3).contains(&temperature) {
                return invalid("temperature", temperature, "0.001 to 1000; use --greedy for the likeliest codes");
            }
        }
        for (name, seconds) in [("window", self.window), ("overlap", self.overlap)] {
            if let Some(seconds) = seconds
                && !(0.0..=3600.0).contains(&seconds)
            {
                return invalid(name, seconds, "0 to 3600 seconds");
            }
        }
        Ok(())
    }
}
