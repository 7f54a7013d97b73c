//! The modules that multiply integers in a forward pass in 8-bit integers, and those of a model that keep floats there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{ComputeType, Config, Dtype};

/// A module whose products are of 8-bit integers when a forward pass computes in them, unless the model's file says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Module {
    /// The path, such as `encoder.layers.0.attention`: all linear layers and convolutions under it belong to it.
    pub path: String,
    /// The layer of the encoder that it belongs to, where 1 is the first; 0 for one before all of them.
    pub layer: usize,
    /// The multiply-adds of its products with weights, for the clip that [`int8_modules`] was given.
    pub multiply_adds: f64,
}

/// The modules of a model that can compute in 8-bit integers, in the order of the forward pass, with their multiply-adds for a
/// clip of `samples` samples: everything with weights but the first convolution. Those of a clip shorter than the receptive
/// field are 0.
pub fn int8_modules(config: &Config, samples: usize) -> Vec<Int8Module> {
    let module = |path: String, layer, multiply_adds| Int8Module { path, layer, multiply_adds };
    let frames = config.frames(samples).unwrap_or(0) as f64;
    let (width, inner) = (config.hidden_size as f64, config.intermediate_size as f64);
    let mut modules = Vec::new();
    let (mut length, mut input) = (samples, 1);
    for i in 0..config.conv_dim.len() {
        let (output, kernel) = (config.conv_dim[i], config.conv_kernel[i]);
        length = length.saturating_sub(kernel) / config.conv_stride[i] + usize::from(length >= kernel);
        if i > 0 {
            let path = format!("feature_extractor.conv_layers.{i}");
            modules.push(module(path, 0, length as f64 * (output * input * kernel) as f64));
        }
        input = output;
    }
    modules.push(module("feature_projection".into(), 0, frames * config.feature_size() as f64 * width));
    let positional = config.positional_conv();
    let taps = (positional.layers() * positional.kernel()) as f64;
    modules.push(module(
        "encoder.pos_conv_embed".into(),
        0,
        frames * width * width / positional.groups() as f64 * taps,
    ));
    for layer in 1..=config.num_hidden_layers {
        for (name, multiply_adds) in [
            ("attention", 4.0 * width * width),
            ("feed_forward.intermediate_dense", width * inner),
            ("feed_forward.output_dense", width * inner),
        ] {
            modules.push(module(format!("encoder.layers.{}.{name}", layer - 1), layer, frames * multiply_adds));
        }
    }
    modules
}

/// The modules of a model that keep floats where a forward pass computes in 8-bit integers, because integers cost them too much
/// accuracy.
///
/// ```
/// use mert_arch::{Config, Dtype, Int8Exceptions};
///
/// let config = Config::mert_v1_95m();
/// let text = r#"{"encoder.layers.3.feed_forward.output_dense": "bf16"}"#;
/// let exceptions = Int8Exceptions::from_json(text, &config)?;
/// assert_eq!(exceptions.of("encoder.layers.3.feed_forward.output_dense"), Some(Dtype::Bf16));
/// assert!(Int8Exceptions::from_json(r#"{"encoder.layers.12.attention": "bf16"}"#, &config).is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Int8Exceptions(BTreeMap<String, Dtype>);

impl Int8Exceptions {
    /// The exceptions in `modules`: the paths of [`int8_modules`] and the float type that each multiplies, bf16 or f32.
    pub fn new(modules: impl IntoIterator<Item = (String, Dtype)>) -> Self {
        Int8Exceptions(modules.into_iter().collect())
    }

    /// True if every module computes in 8-bit integers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The float type of the module at `path`; `None` if it multiplies integers.
    pub fn of(&self, path: &str) -> Option<Dtype> {
        self.0.get(path).copied()
    }

    /// The modules that multiply floats, with their types, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Dtype)> {
        self.0.iter().map(|(path, &dtype)| (path.as_str(), dtype))
    }

    /// The value of the metadata entry.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// Reads the value of the metadata entry of a file of a model.
    ///
    /// # Errors
    /// A sentence about a path that is no module of the model, a type that is neither bf16 nor f32, or text that is not an object
    /// of strings.
    pub fn from_json(text: &str, config: &Config) -> Result<Self, String> {
        let Entries(entries) =
            serde_json::from_str(text).map_err(|error| format!("expected an object of modules and types: {error}"))?;
        let known: BTreeSet<String> = int8_modules(config, 0).into_iter().map(|module| module.path).collect();
        let mut modules = BTreeMap::new();
        for (path, dtype) in entries {
            if !known.contains(&path) {
                let owner = known.iter().find(|module| path.starts_with(&format!("{module}.")));
                let advice = match owner {
                    Some(module) => format!("it belongs to `{module}`"),
                    None => "expected convolutions but the first, feature_projection, encoder.pos_conv_embed, and of each layer \
                             attention, feed_forward.intermediate_dense and feed_forward.output_dense"
                        .into(),
                };
                return Err(format!("the model does not have a module `{}`: {advice}", shortened(&path)));
            }
            let Ok(ComputeType::Float(dtype @ (Dtype::Bf16 | Dtype::F32))) = dtype.parse() else {
                return Err(format!("`{path}` has the type `{}`: expected bf16 or f32", shortened(&dtype)));
            };
            if modules.insert(path.clone(), dtype).is_some() {
                return Err(format!("`{path}` stands there twice"));
            }
        }
        Ok(Int8Exceptions(modules))
    }
}

/// An object's entries in their order, which a map would keep the last of where a name stands twice.
struct Entries(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A text from a file for a message, at most 100 characters of it.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(100).collect();
    crate::printable_line(&start) + if start.len() < text.len() { "…" } else { "" }
}

/// A line such as `2 modules in bf16 (encoder.pos_conv_embed, encoder.layers.0.attention)`.
impl fmt::Display for Int8Exceptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for dtype in [Dtype::Bf16, Dtype::F32] {
            let paths: Vec<&str> = self.iter().filter(|(_, of)| *of == dtype).map(|(path, _)| path).collect();
            if !paths.is_empty() {
                let modules = if paths.len() == 1 { "module" } else { "modules" };
                parts.push(format!("{} {modules} in {dtype} ({})", paths.len(), paths.join(", ")));
            }
        }
        f.pad(&if parts.is_empty() { "none".to_string() } else { parts.join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attention_flops, forward_flops};

    #[test]
    fn the_modules_make_up_the_forward_pass() {
        let config = Config::mert_v1_95m();
        for samples in [120_000, 720_000] {
            let modules = int8_modules(&config, samples);
            assert_eq!(modules.len(), 6 + 2 + 3 * 12);
            let first_convolution = ((samples - 10) / 5 + 1) as f64 * 512.0 * 10.0;
            let sum: f64 = modules.iter().map(|module| module.multiply_adds).sum();
            let all = 2.0 * (sum + first_convolution) + attention_flops(&config, samples, 12);
            assert!((all / forward_flops(&config, samples, 12) - 1.0).abs() < 1e-12);
        }
        assert!(int8_modules(&config, 0).iter().all(|module| module.multiply_adds == 0.0));
    }

    #[test]
    fn exceptions_are_read_back_and_defects_are_named() {
        let config = Config::mert_v1_95m();
        let exceptions = Int8Exceptions::new([
            ("encoder.pos_conv_embed".to_string(), Dtype::F32),
            ("encoder.layers.0.attention".to_string(), Dtype::Bf16),
        ]);
        assert_eq!(Int8Exceptions::from_json(&exceptions.to_json(), &config), Ok(exceptions.clone()));
        assert_eq!(
            exceptions.to_string(),
            "1 module in bf16 (encoder.layers.0.attention); 1 module in f32 (encoder.pos_conv_embed)"
        );
        for (text, words) in [
            ("[]", "expected an object"),
            (r#"{"encoder": "bf16"}"#, "does not have a module `encoder`: expected convolutions but the first"),
            (r#"{"encoder.layers.0.attention.q_proj": "bf16"}"#, "it belongs to `encoder.layers.0.attention`"),
            (r#"{"feature_extractor.conv_layers.0": "bf16"}"#, "does not have a module"),
            (r#"{"feature_projection": "bf16", "feature_projection": "f32"}"#, "stands there twice"),
            (r#"{"encoder.layers.0.attention": "f16"}"#, "expected bf16 or f32"),
            (r#"{"encoder.layers.0.attention": "int8"}"#, "expected bf16 or f32"),
        ] {
            let error = Int8Exceptions::from_json(text, &config).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        let long = format!("{{\"{}\": \"bf16\"}}", "é".repeat(10_000));
        assert!(Int8Exceptions::from_json(&long, &config).unwrap_err().len() < 600);
    }
}
