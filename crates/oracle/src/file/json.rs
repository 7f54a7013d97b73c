//! The JSON form: an object with a line for each of its arrays, and for each event.

use std::io::Write;

use mert_events::Event;
use serde::{Deserialize, Serialize};

use super::arrays::Arrays;
use super::{Content, FORMAT, Header, Matching, Material, OracleFile, Source, VERSION};
use crate::{OracleError, Result};

/// The fields that tell another format or version, before anything else is read.
#[derive(Deserialize)]
struct Identity {
    format: Option<String>,
    version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u32,
    vocabulary_sha256: Option<String>,
    model_sha256: Option<String>,
    #[serde(rename = "match")]
    matching: Matching,
    feature_names: Option<Vec<String>>,
    sources: Vec<Source>,
    sfx: Vec<Option<u32>>,
    lrs: Vec<u32>,
    trn: Vec<Vec<u32>>,
    symbols: Option<Vec<u32>>,
    vectors: Option<Vec<Vec<f64>>>,
    events: Option<Vec<Event>>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Content> {
    let identity: Identity = parse(bytes)?;
    check_identity(identity.format.as_deref(), identity.version)?;
    let document: Document = parse(bytes)?;
    let material = match (document.symbols, document.vectors, document.events) {
        (Some(symbols), None, None) => Material::Symbols(symbols),
        (None, Some(vectors), None) => Material::Vectors(vectors),
        (None, None, Some(events)) => Material::Events(events),
        _ => {
            let expected = "exactly one of the three";
            return Err(OracleError::field("symbols, vectors or events", expected, "missing or there twice"));
        }
    };
    let header = Header {
        vocabulary_sha256: document.vocabulary_sha256,
        model_sha256: document.model_sha256,
        matching: document.matching,
        feature_names: document.feature_names,
        sources: document.sources,
    };
    Ok(Content { header, material, arrays: Arrays { sfx: document.sfx, lrs: document.lrs, trn: document.trn } })
}

/// Reads JSON of a type; the error has the path of the field.
pub(super) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| OracleError::Json { path: error.path().to_string(), source: error.into_inner() })?;
    reader.end().map_err(|source| OracleError::Json { path: ".".to_string(), source })?;
    Ok(value)
}

fn check_identity(format: Option<&str>, version: Option<u64>) -> Result<()> {
    if format != Some(FORMAT) {
        return Err(OracleError::field("format", format!("`{FORMAT}`"), format.unwrap_or("missing")));
    }
    if version != Some(u64::from(VERSION)) {
        let found = version.map_or("missing".to_string(), |version| version.to_string());
        let expected = format!("{VERSION}; use the mert-tokens that wrote the file, or build the oracle again");
        return Err(OracleError::field("version", expected, found));
    }
    Ok(())
}

pub(super) fn write(file: &OracleFile, output: impl Write) -> Result<()> {
    let mut output = std::io::BufWriter::new(output);
    let header = Header::of(file);
    write!(output, "{{\n\"format\": \"{FORMAT}\",\n\"version\": {VERSION}")?;
    field(&mut output, "vocabulary_sha256", &header.vocabulary_sha256)?;
    field(&mut output, "model_sha256", &header.model_sha256)?;
    field(&mut output, "match", &header.matching)?;
    if let Some(names) = &header.feature_names {
        field(&mut output, "feature_names", names)?;
    }
    lines(&mut output, "sources", header.sources.iter())?;
    let links = file.links();
    let states = || 0..links.states();
    line(&mut output, "sfx", states().map(|state| links.sfx(state)))?;
    line(&mut output, "lrs", states().map(|state| links.lrs(state)))?;
    line(&mut output, "trn", states().map(|state| links.trn(state).collect::<Vec<u32>>()))?;
    match file.material() {
        Material::Symbols(symbols) => line(&mut output, "symbols", symbols.iter())?,
        Material::Vectors(vectors) => lines(&mut output, "vectors", vectors.iter())?,
        Material::Events(events) => lines(&mut output, "events", events.iter())?,
    }
    writeln!(output, "\n}}")?;
    output.flush()?;
    Ok(())
}

fn field(output: &mut impl Write, name: &str, value: &impl Serialize) -> Result<()> {
    write!(output, ",\n\"{name}\": ")?;
    item(output, value)
}

fn line<T: Serialize>(output: &mut impl Write, name: &str, items: impl Iterator<Item = T>) -> Result<()> {
    array(output, name, items, ["", ", ", ""])
}

fn lines<T: Serialize>(output: &mut impl Write, name: &str, items: impl Iterator<Item = T>) -> Result<()> {
    array(output, name, items, ["\n  ", ",\n  ", "\n"])
}

fn array<T: Serialize>(
    output: &mut impl Write,
    name: &str,
    items: impl Iterator<Item = T>,
    [before, between, after]: [&str; 3],
) -> Result<()> {
    write!(output, ",\n\"{name}\": [")?;
    let mut any = false;
    for value in items {
        output.write_all(if any { between } else { before }.as_bytes())?;
        item(output, &value)?;
        any = true;
    }
    if any {
        output.write_all(after.as_bytes())?;
    }
    output.write_all(b"]")?;
    Ok(())
}

fn item(output: &mut impl Write, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer(output, value).map_err(|error| OracleError::Write(error.into()))
}
