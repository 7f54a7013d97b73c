//! The kinds of files that a MusicGen comes in, recognized by the names of their tensors.

use std::path::{Path, PathBuf};

use mert_arch::naming::{MusicgenKey, MusicgenNames, musicgen_key};
use mert_checkpoint::{Checkpoint, Listing, PlainCheckpoint, open_plain};
use serde::Serialize;

use super::error::MusicgenError;
use crate::Result;

/// The kind of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MusicgenKind {
    /// A folder of transformers' `MusicgenForConditionalGeneration`, with T5 and EnCodec inside.
    HuggingFace,
    /// audiocraft's `state_dict.bin`: the language model.
    Audiocraft,
    /// The Lightning checkpoint of Instruct-MusicGen, with or without the base model.
    Instruct,
    /// A codec: EnCodec of transformers or audiocraft.
    Codec,
    /// T5 of transformers.
    T5,
}

impl MusicgenKind {
    /// The kind in a few words.
    pub fn title(self) -> &'static str {
        match self {
            MusicgenKind::HuggingFace => "MusicGen of transformers",
            MusicgenKind::Audiocraft => "MusicGen's language model of audiocraft",
            MusicgenKind::Instruct => "Instruct-MusicGen's checkpoint",
            MusicgenKind::Codec => "EnCodec",
            MusicgenKind::T5 => "T5",
        }
    }

    /// The kind that the names of a checkpoint's tensors show; `None` for every other model.
    pub fn of_listing(listing: &Listing) -> Option<Self> {
        let has = |name: &str| listing.tensors.contains_key(name);
        let ends = |end: &str| listing.tensors.keys().any(|key| key.ends_with(end));
        let meant = |name: &str| {
            listing.tensors.keys().any(|key| match musicgen_key(key) {
                Some((_, MusicgenKey::Tensor(found))) => found == name,
                _ => false,
            })
        };
        let text = |key: &str| listing.texts.get(key).map(String::as_str);
        if meant("cp_transformer.pos_emb") || meant("cp_transformer.gates") {
            return Some(MusicgenKind::Instruct);
        }
        let first_layer = MusicgenNames::HuggingFace.from_mlx("lm.layers.0.norm1.weight").unwrap_or_default();
        if has(&first_layer) {
            return Some(MusicgenKind::HuggingFace);
        }
        if meant("lm.emb.0.weight") && meant("lm.layers.0.norm1.weight") {
            return Some(MusicgenKind::Audiocraft);
        }
        if ends("quantizer.vq.layers.0._codebook.embed")
            || ends("quantizer.layers.0.codebook.embed")
            || listing.tensors.is_empty() && text("pretrained").is_some()
        {
            return Some(MusicgenKind::Codec);
        }
        let is_t5 = has("encoder.block.0.layer.0.SelfAttention.q.weight");
        is_t5.then_some(MusicgenKind::T5)
    }
}

/// An opened input that is a MusicGen or a part of one.
pub struct RecognizedMusicgen {
    /// The path that the user named.
    pub path: PathBuf,
    /// The kind.
    pub kind: MusicgenKind,
    pub(super) opened: PlainCheckpoint,
}

impl RecognizedMusicgen {
    /// Opens a file or folder and looks at its tensors' names; `None` if it is another model, or cannot be read.
    pub fn open(path: &Path) -> Option<Self> {
        let opened = open_plain(path).ok()?;
        let kind = MusicgenKind::of_listing(opened.checkpoint.listing())?;
        Some(RecognizedMusicgen { path: path.to_path_buf(), kind, opened })
    }

    /// The name of the model that a file of audiocraft only points to; `None` for a file that has weights, or cannot be read.
    pub fn pointed_model(path: &Path) -> Option<String> {
        let opened = open_plain(path).ok()?;
        let listing = opened.checkpoint.listing();
        let name = listing.texts.get("pretrained").filter(|_| listing.tensors.is_empty())?;
        Some(name.strip_prefix("//pretrained/").unwrap_or(name).to_string())
    }

    /// Opens the value of an option, which must be of one of these kinds.
    pub(super) fn open_as(
        path: &Path,
        option: &'static str,
        kinds: &[MusicgenKind],
        advice: &'static str,
    ) -> Result<Self> {
        let opened = open_plain(path)?;
        let listing = opened.checkpoint.listing();
        let kind = MusicgenKind::of_listing(listing);
        if let (true, Some(name)) = (listing.tensors.is_empty(), listing.texts.get("pretrained")) {
            return Err(MusicgenError::Pointer { path: path.to_path_buf(), pretrained: name.clone() }.into());
        }
        match kind.filter(|kind| kinds.contains(kind)) {
            Some(kind) => Ok(RecognizedMusicgen { path: path.to_path_buf(), kind, opened }),
            None => {
                let found = match kind {
                    Some(kind) => format!("it is {}", kind.title()),
                    None => "none of its tensors has a name that the model has".to_string(),
                };
                Err(MusicgenError::OtherModel { option, path: path.to_path_buf(), found, advice }.into())
            }
        }
    }

    /// The listing of the tensors.
    pub(super) fn listing(&self) -> &Listing {
        self.checkpoint().listing()
    }

    pub(super) fn checkpoint(&self) -> &dyn Checkpoint {
        self.opened.checkpoint.as_ref()
    }
}
