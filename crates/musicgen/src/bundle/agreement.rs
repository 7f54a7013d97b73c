//! The check that a bundle's `config.json` says of T5 and EnCodec what the `config.json` in their own folders say: the language
//! model is run by the first, the parts by the second.

use std::path::Path;

use mert_arch::{CONFIG_FILE, EncodecConfig, T5Config};
use serde_json::{Map, Value};

use super::config::BundleConfig;
use super::files::read_json;
use super::{ENCODEC, T5};
use crate::{MusicgenError, Result};

/// Checks every field that both files of a part have, and those that the language model depends on. A part that is missing, or
/// whose configuration is none, is reported where the part is opened.
///
/// # Errors
/// [`MusicgenError::File`] naming both files, the field and both values.
pub(super) fn check(folder: &Path, config: &BundleConfig) -> Result<()> {
    let (t5, encodec) = (T5Config::of_class().to_fields(), EncodecConfig::of_class().to_fields());
    let parts = [
        (T5, "text_encoder", &config.model.text_encoder, t5),
        (ENCODEC, "audio_encoder", &config.model.audio_encoder, encodec),
    ];
    for (part, section, stated, known) in parts {
        let path = folder.join(part).join(CONFIG_FILE);
        if !path.is_file() {
            continue;
        }
        let of_part = read_json(&path)?;
        let agreement = Agreement { config, section, path: &path };
        agreement.check_fields(stated, &of_part, &known)?;
        match part {
            T5 => agreement.check_text(&of_part)?,
            _ => agreement.check_audio(&of_part)?,
        }
    }
    Ok(())
}

/// The two files that must agree.
struct Agreement<'a> {
    config: &'a BundleConfig,
    /// The section of the bundle's `config.json`.
    section: &'static str,
    /// The `config.json` of the part.
    path: &'a Path,
}

impl Agreement<'_> {
    /// The fields that both files state.
    fn check_fields(&self, stated: &Map<String, Value>, of_part: &Value, known: &Map<String, Value>) -> Result<()> {
        for field in known.keys() {
            match (stated.get(field), of_part.get(field)) {
                (Some(found), Some(expected)) if !is_same(found, expected) => {
                    return Err(self.differs(&format!("{}.{field}", self.section), found, field, expected));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The width of the text's states, which may be stated by a default.
    fn check_text(&self, of_part: &Value) -> Result<()> {
        let Ok(t5) = T5Config::from_value(of_part) else { return Ok(()) };
        self.check_size("text_encoder.d_model", self.config.model.text_hidden_size, "d_model", t5.d_model)
    }

    /// The rates and the codes, which may be stated by defaults.
    fn check_audio(&self, of_part: &Value) -> Result<()> {
        let Ok(codec) = EncodecConfig::from_value(of_part) else { return Ok(()) };
        let (rate, hop) = (self.config.sampling_rate as usize, self.config.hop_length);
        self.check_size("audio_encoder.sampling_rate", rate, "sampling_rate", codec.sampling_rate as usize)?;
        let product = "upsampling_ratios (their product)";
        self.check_size(&format!("audio_encoder.{product}"), hop, product, codec.hop_length())?;
        let codes = self.config.model.decoder.vocab_size;
        self.check_size("decoder.vocab_size", codes, "codebook_size", codec.codebook_size)?;
        let (needed, found) = (self.config.codebooks_of_a_channel(), codec.num_quantizers());
        if found < needed {
            let field = "decoder.num_codebooks (of a channel)";
            return Err(self.differs(field, needed, "target_bandwidths (its codebooks)", found));
        }
        Ok(())
    }

    fn check_size(&self, field: &str, found: usize, of_part: &str, expected: usize) -> Result<()> {
        if found == expected { Ok(()) } else { Err(self.differs(field, found, of_part, expected)) }
    }

    fn differs(&self, field: &str, found: impl ToString, of_part: &str, expected: impl ToString) -> MusicgenError {
        let (found, expected) = (found.to_string(), expected.to_string());
        let reason = format!(
            "`{field}` is {found}, but `{of_part}` is {expected} in {}: one of them was edited, or is of another model; convert the \
             model again with mert-convert",
            self.path.display()
        );
        MusicgenError::file(&self.config.path, reason)
    }
}

/// Whether two JSON values are the same, `1` and `1.0` being one number.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        _ => a == b,
    }
}
