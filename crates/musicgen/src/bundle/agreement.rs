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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Checks a bundle whose parts have these configurations, after a change of the bundle's own.
    fn checked(edit: impl FnOnce(&mut Value)) -> Result<()> {
        let codec = EncodecConfig { codebook_size: 64, target_bandwidths: vec![1.2], ..EncodecConfig::default() };
        let t5 = T5Config::default();
        let mut value = json!({
            "model_type": "musicgen",
            "decoder": {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 128,
                "num_codebooks": 4, "vocab_size": 64},
            "text_encoder": t5.to_fields(),
            "audio_encoder": codec.to_fields(),
        });
        edit(&mut value);
        let folder = tempfile::tempdir().unwrap();
        for (part, fields) in [(T5, t5.to_fields()), (ENCODEC, codec.to_fields())] {
            std::fs::create_dir(folder.path().join(part)).unwrap();
            std::fs::write(folder.path().join(part).join(CONFIG_FILE), Value::Object(fields).to_string()).unwrap();
        }
        std::fs::write(folder.path().join(CONFIG_FILE), value.to_string()).unwrap();
        check(folder.path(), &BundleConfig::read(folder.path())?)
    }

    #[test]
    fn files_that_say_the_same_agree() {
        checked(|_| ()).unwrap();
        checked(|v| v["audio_encoder"]["trim_right_ratio"] = 1.into()).unwrap();
        checked(|v| drop(v["audio_encoder"].as_object_mut().unwrap().remove("upsampling_ratios"))).unwrap();
        checked(|v| v["audio_encoder"]["_name_or_path"] = "facebook/encodec_32khz".into()).unwrap();
    }

    #[test]
    fn fields_that_differ_are_named_with_both_files_and_values() {
        type Edit = fn(&mut Value);
        let cases: [(&[&str], Edit); 6] = [
            (&["`audio_encoder.sampling_rate` is 16000", "`sampling_rate` is 32000 in", "encodec"], |v| {
                v["audio_encoder"]["sampling_rate"] = 16000.into();
            }),
            (&["`audio_encoder.upsampling_ratios` is [8,5,4,2]", "is [8,5,4,4] in", "encodec"], |v| {
                v["audio_encoder"]["upsampling_ratios"] = json!([8, 5, 4, 2]);
            }),
            (&["`audio_encoder.pad_mode` is \"constant\"", "is \"reflect\" in"], |v| {
                v["audio_encoder"]["pad_mode"] = "constant".into();
            }),
            (&["`decoder.vocab_size` is 128", "`codebook_size` is 64 in"], |v| v["decoder"]["vocab_size"] = 128.into()),
            (&["num_codebooks (of a channel)` is 6", "its codebooks)` is 4 in"], |v| {
                v["decoder"]["num_codebooks"] = 6.into();
            }),
            (&["`text_encoder.num_heads` is 6", "`num_heads` is 12 in", "t5"], |v| {
                v["text_encoder"]["num_heads"] = 6.into();
            }),
        ];
        for (words, edit) in cases {
            let error = checked(edit).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
        }
        // Without the field both widths are those of defaults, and differ.
        let error = checked(|v| v["text_encoder"] = json!({"d_model": 512})).unwrap_err().to_string();
        assert!(error.contains("`text_encoder.d_model` is 512"), "{error}");
    }
}
