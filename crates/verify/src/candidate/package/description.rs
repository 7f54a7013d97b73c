//! The interface that a Core ML package declares, checked against its program.

use mert_arch::{Metadata, MetadataError};
use prost::Message;

use super::program::Program;
use super::proto;
use super::types::{Element, Type};

/// What the package promises to an app, checked against its program.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) lengths: Lengths,
    pub(super) metadata: Metadata,
    /// The hidden state that each row of an output is.
    pub(super) rows: Vec<usize>,
    /// Whether it returns every frame, too.
    pub(super) has_frames: bool,
}

/// How many samples the input may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lengths {
    Listed(Vec<usize>),
    Range(usize, usize),
}

impl Lengths {
    pub(super) fn admits(&self, samples: usize) -> bool {
        match self {
            Lengths::Listed(listed) => listed.contains(&samples),
            Lengths::Range(shortest, longest) => (*shortest..=*longest).contains(&samples),
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Lengths::Listed(listed) => {
                let listed: Vec<String> = listed.iter().map(usize::to_string).collect();
                listed.join(" or ")
            }
            Lengths::Range(shortest, longest) => format!("{shortest} to {longest}"),
        }
    }
}

/// The input's name.
const INPUT: &str = "input_values";
/// The output that every package has: means over frames.
pub(super) const POOLED: &str = "hidden_states";
/// The output that some have: all frames.
pub(super) const FRAMES: &str = "frame_hidden_states";

/// The longest clip that is taken for one, three hours at 24 kHz: clips of the package's own length may be made.
const MAX_SAMPLES: u64 = 1 << 28;

/// Core ML's limit of listed shapes.
const MAX_LISTED: usize = 128;

/// `ArrayDataType.FLOAT32`.
const FLOAT32: i32 = 65568;

impl Description {
    /// Without a program what it promises is taken at its word.
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
            _ => return Err(format!("its outputs are {described:?}, expected {POOLED}, and {FRAMES} or nothing else")),
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
        (None, None) => Lengths::Listed(vec![default]),
        (Some(listed), None) => {
            let count = listed.shapes.len();
            if !(2..=MAX_LISTED).contains(&count) {
                return Err(format!("it lists {count} shapes, expected 2 to {MAX_LISTED}"));
            }
            let listed: Vec<usize> =
                listed.shapes.iter().map(|shape| samples(&shape.shape)).collect::<Result<_, _>>()?;
            if listed.iter().enumerate().any(|(i, length)| listed[..i].contains(length)) {
                return Err("it lists a shape twice".into());
            }
            Lengths::Listed(listed)
        }
        (None, Some(range)) => match range.sizes[..] {
            [proto::SizeRange { lower: 1, upper: 1 }, proto::SizeRange { lower, upper }]
                if lower > 0 && upper > 0 && lower < upper.unsigned_abs() && upper.unsigned_abs() <= MAX_SAMPLES =>
            {
                Lengths::Range(lower as usize, upper as usize)
            }
            _ => {
                return Err(format!("its `shapeRange` is not that of (1, samples), from 1 to {MAX_SAMPLES} of them"));
            }
        },
        (Some(_), Some(_)) => return Err("it has both `enumeratedShapes` and `shapeRange`".into()),
    };
    if !lengths.admits(default) {
        return Err(format!("its default of {default} samples is not one of {}", lengths.shown()));
    }
    Ok(lengths)
}

/// The model must make a frame of the shortest of them.
fn check_lengths(lengths: &Lengths, metadata: &Metadata) -> Result<(), String> {
    let shortest = match lengths {
        Lengths::Listed(listed) => listed.iter().copied().min().unwrap_or_default(),
        Lengths::Range(shortest, _) => *shortest,
    };
    if metadata.config.frames(shortest).is_none() {
        let needed = metadata.config.receptive_field();
        return Err(format!("it takes {shortest} samples, but one frame needs {needed}"));
    }
    Ok(())
}

/// The program must take what is described.
fn check_input(lengths: &Lengths, program: &Program) -> Result<(), String> {
    let (name, declared) = &program.input;
    if name != INPUT {
        return Err(format!("the program's input is `{name}`, expected `{INPUT}` in both"));
    }
    if declared.element != Element::F32 || declared.dims.len() != 2 || declared.dims[0] != Some(1) {
        return Err(format!("the program declares it as {declared}, expected fp32[1, samples]"));
    }
    match (declared.dims[1], lengths) {
        (Some(fixed), Lengths::Listed(listed)) if listed[..] == [fixed] => {}
        (None, Lengths::Range(..)) => return Ok(()),
        (None, Lengths::Listed(listed)) if listed.len() > 1 => return Ok(()),
        _ => return Err(format!("it takes {} samples, but the program declares {declared}", lengths.shown())),
    }
    // Where the input's length is known, every extent is.
    match program.operations.iter().find(|operation| operation.declared.dims.contains(&None)) {
        Some(open) => Err(format!("its length is fixed, but operation `{}` is declared {}", open.name, open.declared)),
        None => Ok(()),
    }
}

fn samples(shape: &[i64]) -> Result<usize, String> {
    match *shape {
        [1, samples] if samples > 0 && samples.unsigned_abs() <= MAX_SAMPLES => Ok(samples as usize),
        _ => Err(format!("a shape of {shape:?}, expected (1, samples) with up to {MAX_SAMPLES}")),
    }
}

fn array(feature: &proto::Feature) -> Result<&proto::MultiArray, String> {
    let feature_type = feature.r#type.as_ref().ok_or("it has no type")?;
    if feature_type.is_optional {
        return Err("it is optional".into());
    }
    let array = feature_type.multi_array.as_ref().ok_or("it is no array of numbers")?;
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
        return Err("its shape is flexible, which is not known here".into());
    }
    // Core ML leaves the shape of an output that depends on the input's open.
    let described: Option<Vec<usize>> = array.shape.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let open = declared.dims.contains(&None);
    let agrees = described.is_some_and(|dims| declared.admits(Element::F32, &dims) || (open && dims.is_empty()));
    if !agrees {
        return Err(format!("its shape is {:?}, but the program declares {declared}", array.shape));
    }
    Ok(())
}

/// The entries that a converted file has, too, and `hidden_states`, the rows.
fn read_metadata(metadata: &proto::Metadata) -> Result<(Metadata, Vec<usize>), String> {
    let entries = &metadata.user_defined;
    // The format leaves no choice of layout: weights are in PyTorch's order.
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
        return Err(format!("its metadata's `sample_rate` is {found}, but its model takes {rate} Hz"));
    }
    let rows =
        entries.get("hidden_states").ok_or("its metadata has no `hidden_states`, which says what its rows are")?;
    let numbers: Option<Vec<usize>> = rows.split(',').map(|row| row.parse().ok()).collect();
    let last = read.config.num_hidden_layers;
    let numbers = numbers.filter(|rows| rows.is_sorted_by(|a, b| a < b) && rows.iter().all(|&row| row <= last));
    let rows =
        numbers.ok_or_else(|| format!("its metadata's `hidden_states` are `{rows}`, expected some of 0 to {last}"))?;
    Ok((read, rows))
}
