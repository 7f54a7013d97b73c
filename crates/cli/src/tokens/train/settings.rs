//! The settings of a training: the command line, and below it the configuration.

use std::path::Path;

use mert_embed::{EmbedError, EncoderConfig};
use mert_table::escape;
use mert_tokens::TrainConfig;
use mert_tokens::kmeans::{Lloyd, MiniBatch};
use mert_tokens::train::Algorithm;
use mert_tokens::vocabulary::Normalize;

use super::args::{NormalizeArg, TrainArgs};

/// Frames for each centre that are taken by default: beyond them centres hardly change, by faiss's rule.
const FRAMES_PER_CENTRE: u64 = 256;

/// The options after the configuration was read.
pub(super) struct Settings {
    pub(super) k: usize,
    pub(super) layer: i64,
    pub(super) normalize: Normalize,
    pub(super) seed: u64,
    pub(super) algorithm: Algorithm,
    pub(super) frames: u64,
}

impl Settings {
    /// The options of the command line, and below them those of the configuration.
    pub(super) fn new(args: &TrainArgs, config: Option<&TrainConfig>) -> anyhow::Result<Self> {
        let quantization = config.map(|config| config.quantization.clone()).unwrap_or_default();
        let k = args.k.map(|k| k as usize).or(quantization.n_clusters).unwrap_or(2048);
        let configured = config.and_then(|config| config.extraction.encoders().first().copied().cloned());
        let layer = match (args.layer, configured, &args.config) {
            (Some(layer), ..) => layer,
            (None, Some(section), Some(path)) => layer_of(&section, path)?.unwrap_or(-1),
            _ => -1,
        };
        let passes = args.passes.map(|passes| passes as usize).or(quantization.max_iter).unwrap_or(100);
        let algorithm = match args.batch {
            Some(batch) => Algorithm::MiniBatch(MiniBatch {
                batch: batch as usize,
                passes,
                patience: args.patience,
                reassignment: args.reassignment,
            }),
            None => Algorithm::Lloyd(Lloyd { passes, tolerance: args.tolerance }),
        };
        let normalize = match args.normalize {
            Some(NormalizeArg::L2) => Normalize::L2,
            Some(NormalizeArg::None) => Normalize::None,
            None => quantization.normalize.unwrap_or(Normalize::None),
        };
        let seed = args.seed.or(quantization.random_state).unwrap_or(0);
        let frames = args.frames.unwrap_or(FRAMES_PER_CENTRE * k as u64);
        Ok(Settings { k, layer, normalize, seed, algorithm, frames })
    }

    /// The options that centres depend on beside the frames, a line each.
    pub(super) fn lines(&self, start: Option<&Path>) -> String {
        let Settings { k, seed, algorithm, .. } = self;
        let start = start.map(escape).unwrap_or_default();
        format!("k {k}\nseed {seed}\nalgorithm {algorithm:?}\nstart {start}\n")
    }
}

/// The one hidden state that a section of the configuration names.
fn layer_of(section: &EncoderConfig, path: &Path) -> Result<Option<i64>, EmbedError> {
    match section.layer_selection(path)? {
        None => Ok(None),
        Some(mert_arch::LayerSelection::Some(layers)) if layers.len() == 1 => Ok(layers.first().copied()),
        Some(other) => Err(section.error(path, format!("layer: {other}, and a vocabulary is of one hidden state"))),
    }
}
