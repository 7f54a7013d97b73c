//! The description of a package: the features that an app and Xcode see, and the metadata.

use std::collections::BTreeMap;

use mert_arch::{Config, Preprocessor, known_by_sha256};

use super::graph::{Dim, Tensor};
use super::options::InputSamples;
use super::proto::{
    ArrayDataType, ArrayFeatureType, EnumeratedShapes, FeatureDescription, FeatureType, Metadata, Shape,
    ShapeFlexibility, ShapeRange, SizeRange,
};
use crate::plan::Plan;

/// The program's input, f32 `(1, samples)`.
pub(super) const INPUT: &str = "input_values";
/// The program's output, f32 `(hidden states, hidden_size)`.
pub(super) const POOLED_OUTPUT: &str = "hidden_states";
/// The program's optional second output, f32 `(hidden states, frames, hidden_size)`.
pub(super) const FRAMES_OUTPUT: &str = "frame_hidden_states";

/// The input: one clip.
pub(super) fn input(preprocessor: Preprocessor, samples: &InputSamples) -> FeatureDescription {
    let shape = |samples: usize| vec![1, samples as i64];
    let (default, shape_flexibility) = match samples {
        InputSamples::Fixed(samples) => (*samples, None),
        InputSamples::Listed(listed) => {
            let shapes = listed.iter().map(|&samples| Shape { shape: shape(samples) }).collect();
            (listed[0], Some(ShapeFlexibility::Enumerated(EnumeratedShapes { shapes })))
        }
        InputSamples::Range(shortest, longest) => {
            let range = |lower: usize, upper: usize| SizeRange { lower_bound: lower as u64, upper_bound: upper as i64 };
            let size_ranges = vec![range(1, 1), range(*shortest, *longest)];
            (*shortest, Some(ShapeFlexibility::Range(ShapeRange { size_ranges })))
        }
    };
    let Preprocessor { do_normalize, sampling_rate } = preprocessor;
    let level = if do_normalize {
        "normalised to zero mean and unit variance over its length"
    } else {
        "from -1 to 1 and not normalised"
    };
    let text = format!("One clip of {sampling_rate} Hz mono samples, {level}, without padding.");
    feature(INPUT, text, shape(default), shape_flexibility)
}

/// An output. Its shape is left open if its number of frames depends on the clip.
pub(super) fn output(tensor: &Tensor, layers: &[usize]) -> FeatureDescription {
    let rows = if layers.iter().copied().eq(0..layers.len()) {
        "row i is hidden state i".to_string()
    } else {
        format!("the rows are hidden states {}", list(layers))
    };
    let what =
        if tensor.name == FRAMES_OUTPUT { "Hidden states of each frame" } else { "Hidden states, mean over frames" };
    let text = format!("{what}: {rows}. Hidden state 0 enters the first layer, i is the output of layer i.");
    let known: Option<Vec<i64>> =
        tensor.dims.iter().map(|dim| if let Dim::Fixed(extent) = dim { Some(*extent as i64) } else { None }).collect();
    feature(&tensor.name, text, known.unwrap_or_default(), None)
}

/// A feature of f32 values.
fn feature(name: &str, text: String, shape: Vec<i64>, flexibility: Option<ShapeFlexibility>) -> FeatureDescription {
    let multi_array_type =
        Some(ArrayFeatureType { shape, data_type: ArrayDataType::Float32.into(), shape_flexibility: flexibility });
    FeatureDescription { name: name.into(), short_description: text, r#type: Some(FeatureType { multi_array_type }) }
}

/// The metadata of a converted file that applies to a package, and a guide to the rows of its output.
pub(super) fn metadata(plan: &Plan, layers: &[usize], source_sha256: String) -> Metadata {
    let known = known_by_sha256(&source_sha256);
    let config = &plan.config;
    let written = plan.metadata(source_sha256);
    let name = known.map_or(config.family().title, |known| known.name);
    let author = match known.and_then(|known| known.name.split_once('/')) {
        Some((author, _)) => format!("{author}; converted by {}", written.generator),
        None => format!("unknown; converted by {}", written.generator),
    };
    let license = known.map_or_else(
        || format!("unknown: that of the checkpoint with SHA-256 {}", written.source_sha256),
        |known| known.license.to_string(),
    );
    let mut user_defined: BTreeMap<String, String> = written.to_map();
    // These describe Conv1d weights in a safetensors file; a package has only one layout.
    user_defined.remove("layout");
    user_defined.remove("format");
    if let Some(compression) = &plan.compression {
        user_defined.insert("compression".into(), compression.to_string());
    }
    user_defined.insert("hidden_states".into(), list(layers));
    user_defined.insert("sample_rate".into(), written.preprocessor.sampling_rate.to_string());
    user_defined.insert("layer_guide".into(), layer_guide(config, layers));
    Metadata {
        short_description: format!(
            "{name}: encoder of {} layers, {} wide. A clip in, {} hidden states out.",
            config.num_hidden_layers,
            config.hidden_size,
            layers.len()
        ),
        version_string: written.generator,
        author,
        license,
        user_defined,
    }
}

/// A guide to the rows of the output.
fn layer_guide(config: &Config, layers: &[usize]) -> String {
    let last = config.num_hidden_layers;
    let rows: Vec<String> = layers
        .iter()
        .enumerate()
        .map(|(row, &layer)| match layer {
            0 => format!("row {row}: hidden state 0, which enters layer 1"),
            _ if layer == last => format!("row {row}: hidden state {layer}, the output of the last layer"),
            _ => format!("row {row}: hidden state {layer}, the output of layer {layer}"),
        })
        .collect();
    format!(
        "{}. Low layers are nearer to sound (timbre, pitch), high ones to what the model was trained to predict; which \
         serves a task best is to be tried, the middle is a fair start.",
        rows.join("; ")
    )
}

/// Numbers, separated by commas.
fn list(layers: &[usize]) -> String {
    let names: Vec<String> = layers.iter().map(usize::to_string).collect();
    names.join(",")
}
