//! Vocabularies of other programs and of this one, and files with tokens, as `mert-tokens` opens them.

use std::path::PathBuf;

use mert_testkit::fuzz::Seed;
use mert_tokens::output::{ReadTokens, read_tokens};
use mert_tokens::train::FeatureFile;
use mert_tokens::vocabulary::{Normalize, OpenedVocabulary, Record, Vocabulary};

use super::{fuzz_file, said};

const FIXTURES: [&str; 9] = [
    "vocabularies/centres-protocol5.pkl",
    "vocabularies/dictionary.joblib",
    "vocabularies/flat.index",
    "vocabularies/fortran-f64.npy",
    "vocabularies/kmeans-protocol0.pkl",
    "vocabularies/kmeans.joblib",
    "vocabularies/minibatch-zlib.joblib",
    "vocabularies/opq-ivf-hnsw.index",
    "vocabularies/pipeline.joblib",
];

/// A vocabulary of this project.
fn ours() -> Seed {
    let mut vocabulary = Vocabulary::new(vec![0.5; 12], 3).unwrap();
    vocabulary.counts = Some(vec![1, 2, 3, 4]);
    vocabulary.normalize = Normalize::L2;
    vocabulary.record = Some(Record {
        model_sha256: "ab".repeat(32),
        model_name: None,
        license: None,
        hidden_state: 12,
        sample_rate: 24_000,
        do_normalize: true,
        frame_hop: 320,
        frame_length: 400,
        window: 375,
        hop: 75,
        lookahead: 0,
        arithmetic: "f32".into(),
        training: None,
        generator: "mert-tokens".into(),
    });
    Seed { name: "ours.safetensors".into(), bytes: vocabulary.to_bytes().unwrap() }
}

/// A vocabulary that is read has finite centres, and frames of its width get a token of it.
fn open(path: PathBuf) -> Result<(), String> {
    let vocabulary = match OpenedVocabulary::open(&path) {
        Ok(opened) => opened.vocabulary,
        Err(error) => return said(error),
    };
    if vocabulary.centroids().iter().any(|value| !value.is_finite()) {
        return Err("a centre that is not finite".into());
    }
    let mut prepared = Vec::new();
    vocabulary.prepare(&vec![0.25; vocabulary.input_dim()], &mut prepared).map_err(|error| error.to_string())?;
    match vocabulary.nearest(&prepared) {
        Ok((token, _)) if vocabulary.centroid(token).is_none() => {
            Err(format!("the token {token} of {}", vocabulary.k()))
        }
        Ok(_) => Ok(()),
        // Values of a damaged projection may overflow.
        Err(error) => said(error),
    }
}

#[test]
fn vocabulary() {
    fuzz_file("vocabulary", FIXTURES.map(Seed::fixture).into_iter().chain([ours()]).collect(), None, open);
}

#[test]
fn tokens() {
    let seed = |name: &str, text: &str| Seed { name: name.into(), bytes: text.as_bytes().to_vec() };
    let corpus = vec![
        seed("list.json", "[3, 1, 2, 2, 7]"),
        seed("vectors.json", "[[1.5, 2], [3, -4e2]]"),
        seed(
            "lines.jsonl",
            "{\"file\":\"a\",\"tokens\":[1,2],\"frames\":2}\n{\"name\":\"b\",\"units\":[1],\"durations\":[3]}\n",
        ),
        seed("labels.km", "1 2 3\n\n4 4\n"),
        seed("units.txt", "a|1 2\nb|3\n"),
        Seed::fixture("vocabularies/points.npy"),
    ];
    fuzz_file("tokens", corpus, None, |path| match read_tokens(&path) {
        Ok(ReadTokens::Vectors { dim, values }) if dim == 0 || values.len() % dim != 0 => {
            Err(format!("{} values of {dim}", values.len()))
        }
        Ok(_) => Ok(()),
        Err(error) => said(error),
    });
}

#[test]
fn features() {
    let corpus = ["vocabularies/points.npy", "vocabularies/fortran-f64.npy"].map(Seed::fixture);
    fuzz_file("features", corpus.into(), None, |path| match FeatureFile::open(&path) {
        Ok(file) if file.dim() == 0 => Err("frames of no values".into()),
        Ok(_) => Ok(()),
        Err(error) => said(error),
    });
}
