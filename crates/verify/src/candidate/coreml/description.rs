//! The interface that a Core ML package declares to an application, checked against its program.

use std::fmt;

use mert_arch::{Metadata, MetadataError};
use prost::Message;

use super::program::Program;
use super::proto;
use super::types::{Element, Type};

/// The declared interface of a package.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) lengths: Lengths,
    pub(super) metadata: Metadata,
    /// The index of the hidden state in each row of an output.
    pub(super) rows: Vec<usize>,
    /// Whether the package also returns every frame.
    pub(super) has_frames: bool,
}

/// The numbers of samples that the input may have, as the `EnumeratedShapes` or `ShapeRange` of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lengths {
    Enumerated(Vec<usize>),
    Range(usize, usize),
}

impl Lengths {
    pub(super) fn contains(&self, samples: usize) -> bool {
        match self {
            Lengths::Enumerated(lengths) => lengths.contains(&samples),
            Lengths::Range(shortest, longest) => (*shortest..=*longest).contains(&samples),
        }
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lengths::Enumerated(lengths) => {
                let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
                f.write_str(&lengths.join(" or "))
            }
            Lengths::Range(shortest, longest) => write!(f, "{shortest} to {longest}"),
        }
    }
}

/// The name of the input.
const INPUT: &str = "input_values";
/// The output that every package has: the hidden states' means over frames.
pub(super) const POOLED: &str = "hidden_states";
/// The output that some packages have: the hidden states' frames.
pub(super) const FRAMES: &str = "frame_hidden_states";

/// The longest accepted clip, three hours at 24 kHz. A clip of the package's own length may be generated, so that a
/// damaged length must not exhaust the memory.
const MAX_SAMPLES: u64 = 1 << 28;

/// Core ML's limit of enumerated shapes.
const MAX_ENUMERATED: usize = 128;

/// The number of `ArrayFeatureType.ArrayDataType.FLOAT32`.
const FLOAT32: i32 = 65568;

impl Description {
    /// Decodes a description and, if the program is given, checks it against the program.
    pub(super) fn decode(description: &proto::Description, program: Option<&Program>) -> Result<Self, String> {
        let [input] = &description.input[..] else {
            return Err(format!("it describes {} inputs, expected `{INPUT}` alone", description.input.len()));
        };
        let at_input = |e| format!("described input `{}`: {e}", input.name);
        let lengths = input_lengths(input).map_err(at_input)?;
        let described: Vec<&str> = description.output.iter().map(|output| output.name.as_str()).collect();
        let metadata = description.metadata.as_ref().ok_or("it has no metadata")?;
        let metadata = proto::Metadata::decode(&metadata[..]).map_err(|e| format!("its metadata: {e}"))?;
        let (metadata, rows) = read_metadata(&metadata)?;
        check_lengths(&lengths, &metadata).map_err(at_input)?;
        if let Some(program) = program {
            check_input(&lengths, program).map_err(at_input)?;
            let returned: Vec<&str> = program.outputs.iter().map(String::as_str).collect();
            if described != returned {
                return Err(format!("it describes the outputs {described:?}, its program returns {returned:?}"));
            }
            for output in &description.output {
                check_output(output, program, &metadata, rows.len())
                    .map_err(|e| format!("described output `{}`: {e}", output.name))?;
            }
        }
        let has_frames = match described[..] {
            [POOLED] => false,
            [POOLED, FRAMES] | [FRAMES, POOLED] => true,
            _ => return Err(format!("its outputs are {described:?}, expected {POOLED}, or {POOLED} and {FRAMES}")),
        };
        Ok(Description { lengths, metadata, rows, has_frames })
    }
}

fn input_lengths(input: &proto::Feature) -> Result<Lengths, String> {
    if input.name != INPUT {
        return Err(format!("expected `{INPUT}`"));
    }
    let array = array(input)?;
    let default = samples(&array.shape)?;
    let lengths = match (&array.enumerated, &array.range) {
        (None, None) => Lengths::Enumerated(vec![default]),
        (Some(listed), None) => {
            let count = listed.shapes.len();
            if !(2..=MAX_ENUMERATED).contains(&count) {
                return Err(format!("it lists {count} shapes, expected 2 to {MAX_ENUMERATED}"));
            }
            let listed: Vec<usize> =
                listed.shapes.iter().map(|shape| samples(&shape.shape)).collect::<Result<_, _>>()?;
            if listed.iter().enumerate().any(|(i, length)| listed[..i].contains(length)) {
                return Err("it lists a shape twice".into());
            }
            Lengths::Enumerated(listed)
        }
        (None, Some(range)) => match range.sizes[..] {
            [proto::SizeRange { lower: 1, upper: 1 }, proto::SizeRange { lower, upper }]
                if lower > 0 && upper > 0 && lower < upper.unsigned_abs() && upper.unsigned_abs() <= MAX_SAMPLES =>
            {
                Lengths::Range(lower as usize, upper as usize)
            }
            _ => {
                return Err(format!("its `shapeRange` is not (1, samples) with 1 to {MAX_SAMPLES} samples"));
            }
        },
        (Some(_), Some(_)) => return Err("it has both `enumeratedShapes` and `shapeRange`".into()),
    };
    if !lengths.contains(default) {
        return Err(format!("its default of {default} samples is not one of {lengths}"));
    }
    Ok(lengths)
}

/// Checks that the shortest input gives at least one frame.
fn check_lengths(lengths: &Lengths, metadata: &Metadata) -> Result<(), String> {
    let shortest = match lengths {
        Lengths::Enumerated(lengths) => lengths.iter().copied().min().unwrap_or_default(),
        Lengths::Range(shortest, _) => *shortest,
    };
    if metadata.config.frames(shortest).is_none() {
        let needed = metadata.config.receptive_field();
        return Err(format!("it takes {shortest} samples, but one frame needs {needed}"));
    }
    Ok(())
}

/// Checks that the program accepts the described input.
fn check_input(lengths: &Lengths, program: &Program) -> Result<(), String> {
    let (name, declared) = &program.input;
    if name != INPUT {
        return Err(format!("the program's input is `{name}`, expected `{INPUT}` in both"));
    }
    if declared.element != Element::F32 || declared.dims.len() != 2 || declared.dims[0] != Some(1) {
        return Err(format!("the program declares it as {declared}, expected fp32[1, samples]"));
    }
    match (declared.dims[1], lengths) {
        (Some(fixed), Lengths::Enumerated(lengths)) if lengths[..] == [fixed] => {}
        (None, Lengths::Range(..)) => return Ok(()),
        (None, Lengths::Enumerated(lengths)) if lengths.len() > 1 => return Ok(()),
        _ => return Err(format!("it takes {lengths} samples, but the program declares {declared}")),
    }
    // If the length of the input is known, every extent is.
    match program.operations.iter().find(|operation| operation.declared.dims.contains(&None)) {
        Some(open) => Err(format!("its length is fixed, but operation `{}` is declared {}", open.name, open.declared)),
        None => Ok(()),
    }
}

fn samples(shape: &[i64]) -> Result<usize, String> {
    match *shape {
        [1, samples] if samples > 0 && samples.unsigned_abs() <= MAX_SAMPLES => Ok(samples as usize),
        _ => Err(format!("its shape is {shape:?}, expected (1, samples) with up to {MAX_SAMPLES}")),
    }
}

fn array(feature: &proto::Feature) -> Result<&proto::MultiArray, String> {
    let feature_type = feature.r#type.as_ref().ok_or("it has no type")?;
    if feature_type.is_optional {
        return Err("it is optional".into());
    }
    let array = feature_type.multi_array.as_ref().ok_or("it is not a MultiArray")?;
    if array.data_type != FLOAT32 {
        return Err(format!("its element type is {}, expected FLOAT32 ({FLOAT32})", array.data_type));
    }
    Ok(array)
}

fn check_output(output: &proto::Feature, program: &Program, metadata: &Metadata, rows: usize) -> Result<(), String> {
    let array = array(output)?;
    let operation = program.operations.iter().find(|operation| operation.name == output.name);
    let declared = &operation.ok_or("the program does not compute it")?.declared;
    let width = metadata.config.hidden_size;
    let expected: Vec<Option<usize>> =
        if output.name == FRAMES { vec![Some(rows), None, Some(width)] } else { vec![Some(rows), Some(width)] };
    let fits = declared.element == Element::F32
        && declared.dims.len() == expected.len()
        && declared.dims.iter().zip(&expected).all(|(found, expected)| expected.is_none() || found == expected);
    if !fits {
        let expected = Type { element: Element::F32, dims: expected };
        return Err(format!("the program declares {declared}, expected {expected} for {rows} hidden states"));
    }
    if array.enumerated.is_some() || array.range.is_some() {
        return Err("its shape is flexible, which is not supported".into());
    }
    // Core ML leaves out the shape of an output that depends on the length of the input.
    let described: Option<Vec<usize>> = array.shape.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let open = declared.dims.contains(&None);
    let agrees = described.is_some_and(|dims| declared.accepts(Element::F32, &dims) || (open && dims.is_empty()));
    if !agrees {
        return Err(format!("its shape is {:?}, but the program declares {declared}", array.shape));
    }
    Ok(())
}

/// Reads the metadata entries that a converted file also has, and `hidden_states`, the rows of the outputs.
fn read_metadata(metadata: &proto::Metadata) -> Result<(Metadata, Vec<usize>), String> {
    let entries = &metadata.user_defined;
    // The format has no choice of layout: weights are in PyTorch's order.
    let lookup = |key: &str| if key == "layout" { Some("candle") } else { entries.get(key).map(String::as_str) };
    let read = Metadata::from_lookup(lookup).map_err(|error| match error {
        MetadataError::Missing(key) => format!(
            "its metadata has no `{key}`; mert-convert writes it, and another writer can \
             (`user_defined_metadata[\"{key}\"]` in coremltools)"
        ),
        other => other.to_string(),
    })?;
    let rate = read.preprocessor.sampling_rate.to_string();
    if let Some(found) = entries.get("sample_rate").filter(|&found| *found != rate) {
        return Err(format!("its metadata's `sample_rate` is {found}, but its model expects {rate} Hz"));
    }
    let rows = entries
        .get("hidden_states")
        .ok_or("its metadata has no `hidden_states`, which lists the rows of its outputs")?;
    let numbers: Option<Vec<usize>> = rows.split(',').map(|row| row.parse().ok()).collect();
    let last = read.config.num_hidden_layers;
    let numbers = numbers.filter(|rows| rows.is_sorted_by(|a, b| a < b) && rows.iter().all(|&row| row <= last));
    let rows =
        numbers.ok_or_else(|| format!("its metadata's `hidden_states` are `{rows}`, expected some of 0 to {last}"))?;
    Ok((read, rows))
}
