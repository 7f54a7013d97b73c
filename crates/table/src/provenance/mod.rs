//! The settings that the numbers of a table depend on.

mod arithmetic;
mod hybrid;
mod text;
mod window;
mod words;

use mert_fs::hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::arithmetic::Arithmetic;
pub use self::hybrid::{Hybrid, OtherEncoder, Vector};
pub use self::window::WindowPolicy;
pub use self::words::{Alignment, Damage, Device, Normalization, Pool, Projection, Tail};

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
    /// The linear map of frames before they are pooled, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<Projection>,
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
    /// What of `sample_rate` and `do_normalize` no file of the model states, so that it is an assumption, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed: Option<String>,
    /// The length of a vector.
    pub dim: usize,
    /// Samples from the start of a frame to the start of the next.
    pub frame_hop: usize,
    /// Samples that a frame depends on before the transformer.
    pub frame_length: usize,
    /// Element type and device of the arithmetic.
    pub arithmetic: Arithmetic,
    /// The encoders whose vectors follow in each row, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hybrid: Option<Hybrid>,
}

const fn normalized() -> bool {
    true
}

impl Provenance {
    /// The vectors of a row, in order.
    pub fn vectors(&self) -> impl Iterator<Item = Vector<'_>> {
        let first = self.hybrid.as_ref().map(|hybrid| hybrid.first.as_str());
        let vectors = |encoder, layers: &'_ [usize], dim| {
            layers.iter().map(move |&hidden_state| Vector { encoder, hidden_state, dim }).collect::<Vec<_>>()
        };
        let others = self.others().flat_map(move |other| vectors(Some(&other.name), &other.hidden_states, other.dim));
        vectors(first, &self.hidden_states, self.dim).into_iter().chain(others)
    }

    /// The encoders after the first.
    pub fn others(&self) -> impl Iterator<Item = &OtherEncoder> {
        self.hybrid.iter().flat_map(|hybrid| &hybrid.others)
    }

    /// Values of one row: those of all its vectors.
    pub fn values_per_row(&self) -> usize {
        self.vectors().fold(0, |values: usize, vector| values.saturating_add(vector.dim))
    }

    /// SHA-256 of the models' files in the order of the encoders, with `+` between them.
    pub fn models_sha256(&self) -> String {
        let others = self.others().map(|other| &other.model_sha256);
        std::iter::once(&self.model_sha256).chain(others).cloned().collect::<Vec<_>>().join("+")
    }

    /// The first 16 hexadecimal digits of the SHA-256 of all settings except the program's version. It identifies the
    /// settings in formats without room for them.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(&Provenance { generator: String::new(), ..self.without_remarks() });
        hex(&Sha256::digest(json.unwrap_or_default())[..8])
    }

    /// The settings without what says nothing about the numbers: the origin of a setting.
    fn without_remarks(&self) -> Provenance {
        let mut settings = Provenance { assumed: None, ..self.clone() };
        settings.hybrid.iter_mut().flat_map(|hybrid| &mut hybrid.others).for_each(|other| other.assumed = None);
        settings
    }

    /// The first setting, other than the program's version, in which `earlier` differs, with both values.
    pub fn difference_in_values(&self, earlier: &Provenance) -> Option<String> {
        self.difference(&Provenance { generator: self.generator.clone(), ..earlier.clone() })
    }

    /// The first setting in which `earlier` differs, with both values.
    pub fn difference(&self, earlier: &Provenance) -> Option<String> {
        let (now, then) = (self.without_remarks(), earlier.without_remarks());
        let (now, then) = (serde_json::to_value(now).ok()?, serde_json::to_value(then).ok()?);
        let (now, then) = (now.as_object()?, then.as_object()?);
        // A setting that is not used is not recorded.
        let key = now.keys().chain(then.keys()).find(|&key| now.get(key) != then.get(key))?;
        let [now, then] = [now, then].map(|settings| as_option(key, settings.get(key).unwrap_or(&Value::Null)));
        Some(format!("{key}: now {now}, then {then}"))
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
    fn rows_of_several_encoders() {
        let one: Provenance = serde_json::from_str(JSON).unwrap();
        assert_eq!(
            one.vectors().map(|vector| vector.column()).collect::<Vec<_>>(),
            ["hidden_state_0", "hidden_state_6"]
        );
        assert_eq!(one.models_sha256(), "00");
        let other = r#"{"name":"wav2vec","model_sha256":"11","license":null,"hidden_states":[9],"pool":"mean","#;
        let other = format!("{other}{}", r#""sample_rate":16000,"do_normalize":false,"dim":5,"frame_hop":320,"#);
        let other = format!("{other}{}", r#""frame_length":400,"arithmetic":"f32 on cpu"}"#);
        let hybrid = format!(r#","hybrid":{{"first":"mert","alignment":"window","others":[{other}]}}}}"#);
        let json = JSON.strip_suffix('}').unwrap().to_string() + &hybrid;
        let both: Provenance = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&both).unwrap(), json);
        let columns: Vec<(String, String, usize)> =
            both.vectors().map(|vector| (vector.column(), vector.key(), vector.dim)).collect();
        let expected = [("mert_hidden_state_0", "mert_0", 128), ("mert_hidden_state_6", "mert_6", 128)];
        let expected = expected.into_iter().chain([("wav2vec_hidden_state_9", "wav2vec_9", 5)]);
        assert!(columns.iter().map(|(column, key, dim)| (&column[..], &key[..], *dim)).eq(expected), "{columns:?}");
        assert_eq!((both.values_per_row(), both.models_sha256().as_str()), (261, "00+11"));
        assert!(both.difference(&one).unwrap().starts_with("hybrid: now {"));
        assert!(one.difference(&both).unwrap().starts_with("hybrid: now null"));
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
        // Settings that only one of the two has.
        let with = Provenance { ffmpeg: Some("6.1".into()), ..now.clone() };
        assert_eq!(now.difference(&with).unwrap(), r#"ffmpeg: now null, then "6.1""#);
        assert_eq!(with.difference(&now).unwrap(), r#"ffmpeg: now "6.1", then null"#);
        // An assumption says where a setting comes from, and tables of older versions do not have it.
        let remarked = Provenance { assumed: Some("do_normalize".into()), ..now.clone() };
        assert_eq!((now.difference(&remarked), now.digest()), (None, remarked.digest()));
        let then = Provenance { damaged: Damage::Keep, ..now.clone() };
        assert_eq!(now.difference(&then).unwrap(), r#"damaged: now "skip", then "keep""#);
    }
}
