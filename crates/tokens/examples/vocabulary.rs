//! A vocabulary in any format as JSON, with the tokens of vectors: what `scripts/check/vocabularies.py` compares with
//! scikit-learn and faiss.
//!
//!     vocabulary VOCABULARY [POINTS.f32]
//!
//! POINTS.f32 has frames in little-endian f32, one behind the other. Exit status: 0 read, 1 refused (the reason is printed).
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use mert_tokens::TokensError;
use mert_tokens::vocabulary::OpenedVocabulary;
use serde_json::json;

fn run(path: &std::ffi::OsStr, points: Option<&std::ffi::OsStr>) -> Result<serde_json::Value, TokensError> {
    let OpenedVocabulary { vocabulary, format, notes } = OpenedVocabulary::open(path.as_ref())?;
    let mut tokens = Vec::new();
    if let Some(points) = points {
        let bytes = std::fs::read(points).map_err(|source| TokensError::Read { path: points.into(), source })?;
        let points: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        let mut prepared = Vec::new();
        for frame in points.chunks_exact(vocabulary.input_dim()) {
            vocabulary.prepare(frame, &mut prepared)?;
            tokens.push(vocabulary.nearest(&prepared)?);
        }
    }
    let centroids: Vec<u32> = vocabulary.centroids().iter().map(|value| value.to_bits()).collect();
    Ok(json!({
        "format": format!("{format:?}"),
        "shape": [vocabulary.k(), vocabulary.dim()],
        "input_dim": vocabulary.input_dim(),
        "normalize": vocabulary.normalize.name(),
        "centroid_bits": centroids,
        "tokens": tokens.iter().map(|(token, _)| token).collect::<Vec<_>>(),
        "distances": tokens.iter().map(|(_, distance)| distance).collect::<Vec<_>>(),
        "notes": notes,
    }))
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let Some(path) = arguments.first() else {
        eprintln!("usage: vocabulary VOCABULARY [POINTS.f32]");
        return ExitCode::from(2);
    };
    match run(path, arguments.get(1).map(|points| points.as_os_str())) {
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::from(1)
        }
    }
}
