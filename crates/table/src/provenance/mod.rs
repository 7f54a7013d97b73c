//! The settings that the numbers of a table depend on.

mod arithmetic;
mod text;
mod window;
mod words;

use mert_fs::hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::arithmetic::Arithmetic;
pub use self::window::WindowPolicy;
pub use self::words::{Damage, Device, Normalization, Pool, Tail};

/// All settings that the numbers of a table depend on, besides the files. Every table records them, as does the journal
/// of a run, which can be continued only with the same settings.
///
/// The schema has types of its own for what other crates decide (windows, devices): a table outlives a change of their
/// options, and can be read without audio decoders and the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name and version of the program.
    pub generator: String,
    /// SHA-256 of the model's file, in hexadecimal.
    pub model_sha256: String,
    /// The checkpoint's licence, where it is known.
    pub license: Option<String>,
    /// The hidden states, ascending: 0 enters the first layer, i is the output of layer i.
    pub hidden_states: Vec<usize>,
    /// The pooling of the frames of a window.
    pub pool: Pool,
    /// The scaling of vectors.
    pub normalize: Normalization,
    /// The parts of a file that are windows.
    pub window: WindowPolicy,
    /// The treatment of the remainder that sliding windows do not cover.
    pub tail: Tail,
    /// The treatment of damaged files.
    pub damaged: Damage,
    /// The version of the ffmpeg that decoded files that could not be read otherwise, if it was enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffmpeg: Option<String>,
    /// Samples per second that the model takes, in hertz.
    pub sample_rate: u32,
    /// Whether windows were normalised to zero mean and unit variance before they entered the model. Tables and
    /// journals of older versions, which always normalised, lack the field.
    #[serde(default = "normalized")]
    pub do_normalize: bool,
    /// The length of a vector.
    pub dim: usize,
    /// Samples from the start of a frame to the start of the next.
    pub frame_hop: usize,
    /// Samples that a frame depends on before the transformer.
    pub frame_length: usize,
    /// Element type and device of the arithmetic.
    pub arithmetic: Arithmetic,
}

const fn normalized() -> bool {
    true
}

impl Provenance {
    /// Values of one row: a vector for each hidden state.
    pub fn values_per_row(&self) -> usize {
        self.hidden_states.len().saturating_mul(self.dim)
    }

    /// The first 16 hexadecimal digits of the SHA-256 of all settings except the program's version. It identifies the
    /// settings in formats without room for them.
    pub fn digest(&self) -> String {
        let settings = Provenance { generator: String::new(), ..self.clone() };
        let json = serde_json::to_vec(&settings).unwrap_or_default();
        hex(&Sha256::digest(json)[..8])
    }

    /// The first setting, other than the program's version, in which `earlier` differs, with both values.
    pub fn difference_in_values(&self, earlier: &Provenance) -> Option<String> {
        self.difference(&Provenance { generator: self.generator.clone(), ..earlier.clone() })
    }

    /// The first setting in which `earlier` differs, with both values.
    pub fn difference(&self, earlier: &Provenance) -> Option<String> {
        let (now, then) = (serde_json::to_value(self).ok()?, serde_json::to_value(earlier).ok()?);
        let (now, then) = (now.as_object()?, then.as_object()?);
        let (key, value) = now.iter().find(|(key, value)| then.get(*key) != Some(*value))?;
        let found = then.get(key).unwrap_or(&Value::Null);
        Some(format!("{key}: now {}, then {}", as_option(key, value), as_option(key, found)))
    }
}

/// A recorded value as the user gives it on the command line, where `--damaged skip` has another word than the record.
fn as_option(key: &str, value: &Value) -> Value {
    if key == "damaged" && value == Damage::Refuse.name() { "skip".into() } else { value.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = concat!(
        r#"{"generator":"mert-embed 0.1.0","model_sha256":"00","license":null,"hidden_states":[0,6],"pool":"mean+std","#,
        r#""normalize":"l2","window":"sliding:5s/2.5s","tail":"align","damaged":"refuse","sample_rate":24000,"#,
        r#""do_normalize":true,"dim":128,"frame_hop":320,"frame_length":400,"arithmetic":"f32 on cpu"}"#
    );

    /// The bytes that are written belong to the formats: digests of them are compared with those in old tables.
    #[test]
    fn the_written_form_is_read_back_to_the_same_bytes() {
        let provenance: Provenance = serde_json::from_str(JSON).unwrap();
        assert_eq!((provenance.pool, provenance.normalize), (Pool::MeanStd, Normalization::L2));
        assert_eq!(serde_json::to_string(&provenance).unwrap(), JSON);
        assert_eq!(provenance.values_per_row(), 256);
        let old: Provenance = serde_json::from_str(&JSON.replace(r#""do_normalize":true,"#, "")).unwrap();
        assert_eq!(old, provenance);
        assert!(serde_json::from_str::<Provenance>(&JSON.replace("mean+std", "median")).is_err());
    }

    #[test]
    fn differences_name_the_setting_and_both_values() {
        let now: Provenance = serde_json::from_str(JSON).unwrap();
        let then = Provenance { generator: "mert-embed 0.0.1".into(), ..now.clone() };
        assert_eq!(now.difference_in_values(&then), None);
        assert!(now.difference(&then).unwrap().starts_with("generator: now \"mert-embed 0.1.0\", then"));
        assert_eq!(now.digest(), then.digest());
        let then = Provenance { hidden_states: vec![6], ..now.clone() };
        assert_eq!(now.difference(&then).unwrap(), "hidden_states: now [0,6], then [6]");
        assert_ne!(now.digest(), then.digest());
        let then = Provenance { damaged: Damage::Keep, ..now.clone() };
        assert_eq!(now.difference(&then).unwrap(), r#"damaged: now "skip", then "keep""#);
    }
}
