//! The configuration of the audio tower: the fields of transformers' `ClapAudioConfig` that affect its output.

use std::path::Path;

use serde::Deserialize;

use crate::{ClapError, Result};

/// The largest side of the spectrogram's image that is accepted; published models have 256.
const MAX_SIDE: usize = 2048;
/// The largest number of attention weights in a block that is accepted; published models have 2^20.
const MAX_ATTENTION: usize = 1 << 26;
/// The largest number of blocks, heads and channels that is accepted, far above any published model.
const MAX_WIDTH: usize = 1 << 16;

/// The sizes of an audio tower, with transformers' defaults
/// ([`ClapAudioConfig`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/clap/configuration_clap.py)).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct AudioConfig {
    /// The side of an attention window in patches.
    pub window_size: usize,
    /// The number of mel bands.
    pub num_mel_bins: usize,
    /// The side of the image that the spectrogram is folded into, in pixels.
    pub spec_size: usize,
    /// The activation function of the blocks; `gelu` is computed.
    pub hidden_act: String,
    patch_size: Side,
    patch_stride: Side,
    /// The width of the pooled vector.
    pub hidden_size: usize,
    /// The width of the projected vector.
    pub projection_dim: usize,
    /// The number of blocks in each stage.
    pub depths: Vec<usize>,
    /// The number of attention heads in each stage.
    pub num_attention_heads: Vec<usize>,
    enable_fusion: bool,
    patch_embed_input_channels: usize,
    flatten_patch_embeds: bool,
    /// The width of the first stage; it doubles from stage to stage.
    pub patch_embeds_hidden_size: usize,
    /// A layer norm on the patch embeddings.
    pub enable_patch_layer_norm: bool,
    /// Biases of the query, key and value projections.
    pub qkv_bias: bool,
    /// The width of a block's hidden layer by that of the block.
    pub mlp_ratio: f64,
    /// The activation function of the projection; `relu` is computed.
    pub projection_hidden_act: String,
    /// The epsilon of the blocks' layer norms.
    pub layer_norm_eps: f64,
}

/// One number for both axes, or a number for each.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Side {
    Both(usize),
    Each(Vec<usize>),
}

impl Side {
    /// The number, if it is the same for both axes.
    fn square(&self) -> Option<usize> {
        match self {
            Side::Both(side) => Some(*side),
            Side::Each(sides) => match sides[..] {
                [a, b] if a == b => Some(a),
                _ => None,
            },
        }
    }
}

impl Default for AudioConfig {
    fn default() -> Self {
        AudioConfig {
            window_size: 8,
            num_mel_bins: 64,
            spec_size: 256,
            hidden_act: "gelu".into(),
            patch_size: Side::Both(4),
            patch_stride: Side::Each(vec![4, 4]),
            hidden_size: 768,
            projection_dim: 512,
            depths: vec![2, 2, 6, 2],
            num_attention_heads: vec![4, 8, 16, 32],
            enable_fusion: false,
            patch_embed_input_channels: 1,
            flatten_patch_embeds: true,
            patch_embeds_hidden_size: 96,
            enable_patch_layer_norm: true,
            qkv_bias: true,
            mlp_ratio: 4.0,
            projection_hidden_act: "relu".into(),
            layer_norm_eps: 1e-5,
        }
    }
}

/// A `config.json` of `ClapModel`, which nests the tower's, or of `ClapAudioModelWithProjection`.
#[derive(Deserialize)]
struct File {
    model_type: Option<String>,
    audio_config: Option<AudioConfig>,
    projection_dim: Option<usize>,
}

impl AudioConfig {
    /// Reads a `config.json` of transformers' `ClapModel` or `ClapAudioModelWithProjection`.
    ///
    /// # Errors
    /// [`ClapError::Json`] if it is no such file, [`ClapError::Field`] if it describes something that is not computed.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| ClapError::Read { path: path.into(), source })?;
        let file: File = parse(path, &text)?;
        let config = match (file.model_type.as_deref(), file.audio_config) {
            (Some("clap"), Some(mut nested)) => {
                // transformers overwrites the tower's value with the whole model's, 512 by default.
                nested.projection_dim = file.projection_dim.unwrap_or(512);
                nested
            }
            (Some("clap"), None) => {
                AudioConfig { projection_dim: file.projection_dim.unwrap_or(512), ..AudioConfig::default() }
            }
            (Some("clap_audio_model"), _) => parse(path, &text)?,
            (other, _) => {
                let found = other.unwrap_or("missing");
                let problem =
                    format!("model_type is {found}, expected clap or clap_audio_model: it is not a model of CLAP");
                return Err(ClapError::Json { path: path.into(), problem });
            }
        };
        config.check()?;
        Ok(config)
    }

    /// The side of a patch in pixels.
    pub fn patch_size(&self) -> usize {
        self.patch_size.square().unwrap_or_default()
    }

    /// The side of the grid of patches that stage `stage` works on.
    pub(crate) fn grid(&self, stage: usize) -> usize {
        (self.spec_size / self.patch_size()) >> stage
    }

    /// The width of stage `stage`.
    pub(crate) fn width(&self, stage: usize) -> usize {
        self.patch_embeds_hidden_size << stage
    }

    /// The width of the hidden layers of the blocks of stage `stage`.
    pub(crate) fn hidden_width(&self, stage: usize) -> usize {
        (self.mlp_ratio * self.width(stage) as f64) as usize
    }

    /// The number of pieces of the spectrogram that lie above one another in the image.
    pub(crate) fn pieces(&self) -> usize {
        self.spec_size / self.num_mel_bins
    }

    /// The number of frames that the spectrogram is stretched to.
    pub(crate) fn frames(&self) -> usize {
        self.spec_size * self.pieces()
    }

    /// Checks that the tower is one that is computed here, with sizes that fit together.
    fn check(&self) -> Result<()> {
        let expect = |right: bool, field, found: String, expected: &str| {
            if right {
                return Ok(());
            }
            Err(ClapError::Field { file: "config.json", field, found, expected: expected.into() })
        };
        expect(
            !self.enable_fusion,
            "audio_config.enable_fusion",
            self.enable_fusion.to_string(),
            "false: give an unfused checkpoint, such as laion/clap-htsat-unfused",
        )?;
        expect(self.hidden_act == "gelu", "audio_config.hidden_act", self.hidden_act.clone(), "gelu")?;
        expect(
            self.projection_hidden_act == "relu",
            "audio_config.projection_hidden_act",
            self.projection_hidden_act.clone(),
            "relu",
        )?;
        let channels = self.patch_embed_input_channels;
        expect(channels == 1, "audio_config.patch_embed_input_channels", channels.to_string(), "1")?;
        expect(self.flatten_patch_embeds, "audio_config.flatten_patch_embeds", "false".into(), "true")?;
        let patch = self.patch_size();
        expect(
            patch > 0 && self.patch_stride.square() == Some(patch),
            "audio_config.patch_stride",
            format!("{:?} with patch_size {:?}", self.patch_stride, self.patch_size),
            "the same number above 0 as patch_size, on both axes",
        )?;
        let stages = self.depths.len();
        let lists = (1..=16).contains(&stages)
            && self.num_attention_heads.len() == stages
            && self.depths.iter().chain(&self.num_attention_heads).all(|&n| (1..=MAX_WIDTH).contains(&n));
        expect(
            lists,
            "audio_config.depths",
            format!("{:?} with num_attention_heads {:?}", self.depths, self.num_attention_heads),
            "a number above 0 of each for each stage",
        )?;
        expect(
            self.num_mel_bins > 0
                && self.spec_size <= MAX_SIDE
                && self.spec_size.is_multiple_of(self.num_mel_bins)
                && self.spec_size > 0,
            "audio_config.spec_size",
            format!("{} with num_mel_bins {}", self.spec_size, self.num_mel_bins),
            "a multiple of num_mel_bins up to 2048",
        )?;
        self.check_grids(expect)?;
        let width = self.patch_embeds_hidden_size;
        let last = width.checked_shl(stages as u32 - 1).filter(|&last| width > 0 && last <= MAX_WIDTH);
        expect(
            last == Some(self.hidden_size),
            "audio_config.hidden_size",
            self.hidden_size.to_string(),
            "patch_embeds_hidden_size, doubled from stage to stage",
        )?;
        for stage in 0..stages {
            let heads = self.num_attention_heads[stage];
            let (found, width) = (heads.to_string(), self.width(stage));
            expect(width % heads == 0, "audio_config.num_attention_heads", found, "divisors of the stages' widths")?;
        }
        let ratio = self.mlp_ratio;
        expect((0.1..=64.0).contains(&ratio), "audio_config.mlp_ratio", ratio.to_string(), "a number from 0.1 to 64")?;
        let eps = self.layer_norm_eps;
        expect((0.0..1.0).contains(&eps), "audio_config.layer_norm_eps", eps.to_string(), "a number from 0 to 1")?;
        let width = self.projection_dim;
        expect((1..=MAX_WIDTH).contains(&width), "projection_dim", width.to_string(), "a number from 1 to 65536")
    }

    /// Checks that windows tile the grid of every stage. transformers pads grids that they do not tile, which no published
    /// model needs.
    fn check_grids(&self, expect: impl Fn(bool, &'static str, String, &str) -> Result<()>) -> Result<()> {
        let (window, patch, stages) = (self.window_size, self.patch_size(), self.depths.len());
        let side = self.spec_size / patch;
        let tiled = window > 0
            && self.spec_size.is_multiple_of(patch)
            && side.is_multiple_of(1 << (stages - 1))
            && (0..stages).all(|stage| self.grid(stage) >= window && self.grid(stage).is_multiple_of(window));
        let found = format!("{window} with spec_size {}, patch_size {patch} and {stages} stages", self.spec_size);
        expect(tiled, "audio_config.window_size", found, "a divisor of the grid of patches of every stage")?;
        let weights = |stage: usize| {
            let pairs = self.grid(stage).saturating_mul(window).saturating_pow(2);
            pairs.saturating_mul(self.num_attention_heads[stage])
        };
        let most = (0..stages).map(weights).max().unwrap_or_default();
        expect(
            most <= MAX_ATTENTION,
            "audio_config.num_attention_heads",
            format!("{:?}", self.num_attention_heads),
            "fewer heads, or smaller windows: attention would need more than 256 MiB",
        )
    }
}

/// Parses JSON; an error names the field.
pub(crate) fn parse<T: for<'a> Deserialize<'a>>(path: &Path, text: &str) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let problem = if field == "." { error.inner().to_string() } else { format!("{field}: {}", error.inner()) };
        ClapError::Json { path: path.into(), problem }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AudioConfig> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        AudioConfig::read(&path)
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let config = read(r#"{"model_type": "clap"}"#).unwrap();
        assert_eq!(config, AudioConfig::default());
        assert_eq!((config.grid(0), config.grid(3), config.width(3), config.frames()), (64, 8, 768, 1024));
        let tower = read(r#"{"model_type": "clap_audio_model", "projection_dim": 32, "fusion_type": null}"#).unwrap();
        assert_eq!(tower.projection_dim, 32);
        // The whole model's value replaces the tower's.
        let whole =
            read(r#"{"model_type": "clap", "projection_dim": 16, "audio_config": {"projection_dim": 8}}"#).unwrap();
        assert_eq!(whole.projection_dim, 16);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_its_field() {
        for (tower, words) in [
            (r#""enable_fusion": true"#, "enable_fusion is true, expected false: give an unfused"),
            (r#""hidden_act": "gelu_new""#, "hidden_act is gelu_new, expected gelu"),
            (r#""projection_hidden_act": "gelu""#, "projection_hidden_act is gelu"),
            (r#""patch_embed_input_channels": 4"#, "patch_embed_input_channels is 4"),
            (r#""patch_stride": [4, 8]"#, "patch_stride"),
            (r#""patch_size": 0, "patch_stride": 0"#, "patch_stride"),
            (r#""patch_size": 7"#, "patch_stride"),
            (r#""depths": []"#, "depths"),
            (r#""depths": [2, 2]"#, "depths"),
            (r#""depths": [2, 0, 6, 2]"#, "depths"),
            (r#""spec_size": 0"#, "spec_size"),
            (r#""spec_size": 100"#, "spec_size"),
            (r#""spec_size": 1099511627776"#, "spec_size"),
            (r#""num_mel_bins": 0"#, "spec_size"),
            (r#""window_size": 7"#, "window_size"),
            (r#""window_size": 16"#, "window_size"),
            (r#""window_size": 0"#, "window_size"),
            (r#""hidden_size": 512"#, "hidden_size"),
            (r#""patch_embeds_hidden_size": 0, "hidden_size": 0"#, "hidden_size"),
            (r#""num_attention_heads": [5, 8, 16, 32]"#, "num_attention_heads is 5"),
            (r#""mlp_ratio": -1.0"#, "mlp_ratio"),
            (r#""window_size": "eight""#, "audio_config.window_size: invalid type"),
        ] {
            let error =
                read(&format!(r#"{{"model_type": "clap", "audio_config": {{{tower}}}}}"#)).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
        for (text, words) in [
            (r#"{"model_type": "hubert"}"#, "model_type is hubert"),
            ("{}", "model_type is missing"),
            ("[", "EOF"),
            (r#"{"model_type": "clap", "projection_dim": 0}"#, "projection_dim"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
