//! Tests of vocabulary files: ours in every field, those of other programs against `fixtures/vocabularies`, and files that
//! lie.

use std::path::Path;

use mert_testkit::{Damage, fixture};
use proptest::prelude::*;

use super::*;
use crate::TokensError;

fn record() -> Record {
    Record {
        model_sha256: "ab".repeat(32),
        model_name: Some("m-a-p/MERT-v1-95M".into()),
        license: Some("cc-by-nc-4.0".into()),
        hidden_state: 12,
        sample_rate: 24_000,
        do_normalize: true,
        frame_hop: 320,
        frame_length: 400,
        window: 375,
        hop: 75,
        lookahead: 3,
        arithmetic: "f32".into(),
        training: Some(Training {
            algorithm: "lloyd, k-means++".into(),
            seed: 7,
            passes: 25,
            inertia: 0.1 + 0.2,
            held_out_inertia: Some(1.5),
            files_sha256: Training::digest(vec!["cd".repeat(32), "ab".repeat(32)]),
            files: 2,
            frames: 1000,
        }),
        generator: "mert-tokens 0.1.0".into(),
    }
}

fn vocabulary() -> Vocabulary {
    let mut vocabulary = Vocabulary::new(vec![0.0, 1.0, 2.0, 3.0, -1.0, 0.5], 2).unwrap();
    vocabulary.counts = Some(vec![5, 0, 7]);
    vocabulary.normalize = Normalize::L2;
    vocabulary.record = Some(record());
    let steps = vec![
        Step::Standardize { mean: vec![0.5, 0.0, 1.0], scale: vec![1.0, 2.0, 0.1] },
        Step::Pca {
            mean: vec![0.1, 0.2, 0.3],
            components: vec![1.0, 0.0, 0.0, 0.0, 0.6, 0.8],
            scale: Some(vec![2.0, 0.5]),
        },
        Step::L2,
        Step::Linear { matrix: vec![0.0, 1.0, 1.0, 0.0], bias: vec![0.25, 0.0], columns: 2 },
    ];
    vocabulary.set_projection(Projection::new(steps).unwrap()).unwrap();
    vocabulary
}

fn from_bytes(bytes: &[u8]) -> Result<Vocabulary, TokensError> {
    Vocabulary::from_bytes("v.safetensors".as_ref(), bytes)
}

/// The file with a text of its header replaced by another of the same length.
fn edited(vocabulary: &Vocabulary, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "{from} {to}");
    let bytes = vocabulary.to_bytes().unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect(from);
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

#[test]
fn a_vocabulary_is_written_and_read_with_all_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.safetensors");
    let vocabulary = vocabulary();
    vocabulary.write(&path, false).unwrap();
    let opened = OpenedVocabulary::open(&path).unwrap();
    assert_eq!((&opened.vocabulary, opened.format), (&vocabulary, VocabularyFormat::Safetensors));
    assert!(opened.notes.is_empty());
    assert!(matches!(vocabulary.write(&path, false), Err(TokensError::Write(_))));
    let first = std::fs::read(&path).unwrap();
    vocabulary.write(&path, true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), first);
    // Without a record, counts and steps, too.
    let plain = Vocabulary::new(vec![1.0, 2.0], 2).unwrap();
    assert_eq!(from_bytes(&plain.to_bytes().unwrap()).unwrap(), plain);
    let npy = folder.path().join("v.npy");
    write_npy(&plain, &npy, false).unwrap();
    assert_eq!(OpenedVocabulary::open(&npy).unwrap().vocabulary, plain);
}

#[test]
fn each_field_of_the_metadata_is_checked() {
    for (from, to, words) in [
        (r#""version":"1""#, r#""version":"9""#, "its `version` is `9`"),
        (r#""format":"mert"#, r#""format":"sert"#, "not one of `mert-tokens train`"),
        (r#""window":"375""#, r#""window":"3x5""#, "`window` is `3x5`, expected a whole number"),
        (r#""window":"375""#, r#""windoo":"375""#, "`window` is missing"),
        (r#""window":"375""#, r#""window":"077""#, "are more than the 77 frames"),
        (r#""hop":"75""#, r#""hop":"00""#, "`hop` is 0"),
        (r#""hop":"75""#, r#""hop":"-5""#, "`hop` is `-5`"),
        (r#""do_normalize":"true""#, r#""do_normalize":"True""#, "`do_normalize` is `True`, expected true or false"),
        (r#""sample_rate":"24000""#, r#""sample_rate":"00000""#, "`sample_rate` is 0"),
        (r#""model_sha256":"abab"#, r#""model_sha256":"abxb"#, "`model_sha256` is `abxb"),
        (r#""normalize":"l2""#, r#""normalize":"l1""#, "`normalize` is `l1`, expected l2 or none"),
        (r#""steps":"standardize"#, r#""steps":"standardise"#, "`steps` is `standardise`"),
        (r#""inertia":"0.3"#, r#""inertia":"N.3"#, "`inertia` is `N.3"),
        (r#""k":"3""#, r#""k":"4""#, "`k` is `4`, expected 3"),
        (r#""dim":"3""#, r#""dim":"2""#, "`dim` is `2`, expected 3"),
        (r#""centroids":{"#, r#""centroidz":{"#, "`centroids` is missing"),
        (r#""counts":{"data"#, r#""kounts":{"data"#, ""),
    ] {
        let read = from_bytes(&edited(&vocabulary(), from, to));
        if words.is_empty() {
            assert_eq!(read.unwrap().counts, None);
            continue;
        }
        let error = read.unwrap_err().to_string();
        assert!(error.contains("v.safetensors") && error.contains(words), "{to}: {error}");
    }
    // A NaN in the file itself.
    let mut bytes = vocabulary().to_bytes().unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("value 1 of centre 2 is NaN"), "{error}");
    bytes.truncate(end - 1);
    assert!(from_bytes(&bytes).unwrap_err().to_string().contains("structure is damaged"));
    let mut wrong = vocabulary();
    wrong.counts = Some(vec![1]);
    assert!(wrong.to_bytes().is_err());
}

#[test]
fn a_use_with_another_model_or_window_is_refused() {
    let vocabulary = vocabulary();
    let same = Expected {
        model_sha256: Some("ab".repeat(32)),
        hidden_state: Some(12),
        dim: Some(3),
        sample_rate: Some(24_000),
        do_normalize: Some(true),
        frame_hop: Some(320),
        frame_length: Some(400),
        window: Some(375),
        hop: Some(75),
        lookahead: Some(3),
        normalize: Some(Normalize::L2),
    };
    vocabulary.check(&same).unwrap();
    vocabulary.check(&Expected::default()).unwrap();
    let other = |change: fn(&mut Expected)| {
        let mut expected = same.clone();
        change(&mut expected);
        expected
    };
    for (expected, words) in [
        (other(|e| e.model_sha256 = Some("cd".repeat(32))), "another model: it was trained with abab"),
        (other(|e| e.hidden_state = Some(11)), "another hidden state: it was trained with 12, and this is 11"),
        (other(|e| e.dim = Some(768)), "another width: it was trained with 3 values a frame, and this is 768"),
        (other(|e| e.sample_rate = Some(16_000)), "another sampling rate: it was trained with 24000 Hz"),
        (other(|e| e.do_normalize = Some(false)), "another normalisation of input"),
        (other(|e| e.frame_hop = Some(640)), "another frame hop"),
        (other(|e| e.frame_length = Some(800)), "another receptive field"),
        (other(|e| e.window = Some(75)), "another window: it was trained with 375 frames, and this is 75 frames"),
        (other(|e| e.hop = Some(15)), "another hop"),
        (other(|e| e.lookahead = Some(0)), "another kept part"),
        (other(|e| e.normalize = Some(Normalize::None)), "another normalisation: it was trained with l2"),
    ] {
        let error = vocabulary.check(&expected).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("mert-tokens train"), "{error}");
    }
    let foreign = Vocabulary::new(vec![1.0, 2.0], 2).unwrap();
    assert!(matches!(foreign.check(&Expected::default()), Err(TokensError::NoRecord)));
    assert!(matches!(
        foreign.check(&Expected { dim: Some(3), ..Expected::default() }),
        Err(TokensError::Mismatch { .. })
    ));
    let stated = foreign.with_stated_record(record()).unwrap();
    stated.check(&Expected { window: Some(375), ..Expected::default() }).unwrap();
    assert!(stated.with_stated_record(record()).is_err());
    let wrong = Record { hop: 400, ..record() };
    assert!(Vocabulary::new(vec![1.0], 1).unwrap().with_stated_record(wrong).is_err());
}

#[test]
fn windows_in_samples() {
    // One second of MERT is 24,080 samples: 75 frames.
    let record = Record { window: 75, hop: 15, lookahead: 0, ..record() };
    assert_eq!((record.window_samples(), record.hop_samples(), record.kept()), (24_080, 4800, 60..75));
    assert_eq!(Record { lookahead: 10, ..record }.kept(), 50..65);
}

#[test]
fn frames_are_normalised_and_projected() {
    let vocabulary = vocabulary();
    let mut prepared = Vec::new();
    vocabulary.prepare(&[3.0, 0.0, 4.0], &mut prepared).unwrap();
    // By hand: (0.6, 0, 0.8) → (0.1, 0, −2) → ((0.1 − 0.1)/2, (−0.12 − 1.84)/0.5) → (0, −1) → (−0.75, 0).
    let expected = [-0.75, 0.0];
    assert!(prepared.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{prepared:?}");
    assert_eq!(vocabulary.nearest(&prepared).unwrap().0, 2);
    assert!(vocabulary.prepare(&[1.0; 2], &mut prepared).is_err());
    assert!(vocabulary.nearest(&[f32::NAN, 0.0]).is_err());
    // Of centres that are equally near the lowest.
    assert_eq!(Vocabulary::new(vec![1.0, -1.0, 1.0], 1).unwrap().nearest(&[0.0]).unwrap(), (0, 1.0));
}

#[derive(serde::Deserialize)]
struct Known {
    centres: Vec<Vec<f32>>,
    tokens: Vec<u32>,
}

fn fixtures() -> std::collections::BTreeMap<String, Known> {
    serde_json::from_slice(&std::fs::read(fixture("vocabularies/expected.json")).unwrap()).unwrap()
}

/// The centres bit for bit, and the tokens that scikit-learn and faiss give.
#[test]
fn files_of_scikit_learn_numpy_and_faiss() {
    let points = crate::npy::read(&std::fs::read(fixture("vocabularies/points.npy")).unwrap()).unwrap();
    let points: Vec<f32> = points.values.iter().map(|&value| value as f32).collect();
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 9);
    for (name, Known { centres, tokens }) in fixtures {
        let OpenedVocabulary { vocabulary, notes, .. } =
            OpenedVocabulary::open(&fixture(&format!("vocabularies/{name}"))).unwrap();
        assert_eq!(vocabulary.centroids(), centres.concat(), "{name}");
        assert!(notes.iter().any(|note| note.contains("does not record its model")), "{name}");
        let is_wide = name.contains("minibatch") || name.contains("f64");
        assert_eq!(notes.iter().any(|note| note.contains("rounded to f32")), is_wide, "{name}: {notes:?}");
        let mut prepared = Vec::new();
        for (frame, token) in points.chunks_exact(6).zip(tokens) {
            vocabulary.prepare(frame, &mut prepared).unwrap();
            assert_eq!(vocabulary.nearest(&prepared).unwrap().0, token, "{name}");
        }
    }
}

fn refused(bytes: &[u8]) -> String {
    OpenedVocabulary::from_bytes(Path::new("x.bin"), bytes).unwrap_err().to_string()
}

#[test]
fn other_files_are_refused_by_name() {
    for (bytes, words) in [
        (&b""[..], "it is empty"),
        (b"PK\x03\x04x", "zip archive"),
        (b"BZh91AY", "compressed with bz2"),
        (b"\xfd7zXZ\0", "compressed with xz"),
        (b"\x04\x22\x4d\x18", "compressed with lz4"),
        (b"ZF0x20", "joblib before 0.10"),
        (b"\x80\x02cposix\nsystem\nX\x05\0\0\0touchX\x01\0\0\0a\x86R.", "`posix.system`, which was not executed"),
        (b"\x80\x02cjoblib.numpy_pickle\nNDArrayWrapper\n)\x81.", "joblib before 0.10"),
        (b"\x80\x02}q\0X\x01\0\0\0ah\0s.", "a dictionary without a k-means (its entries: a)"),
        (b"\x80\x02csklearn.cluster._bisect_k_means\nBisectingKMeans\n)\x81.", "BisectingKMeans"),
        (b"\x80\x02csklearn.cluster._kmeans\nKMeans\n)\x81}b.", "has no `cluster_centers_`: it was not fitted"),
        (b"IxSQ", "a faiss index of the kind `IxSQ`"),
        (b"IxF2\x04\0\0\0", "its index is cut off"),
        (b"hello", "expected a .safetensors of `mert-tokens train`"),
        (b"\x93NUMPY\x01\0\xff", "header is invalid"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(words), "{bytes:?}: {error}");
    }
}

/// Lengths that a file claims are compared with the file before anything is allocated.
#[test]
fn huge_shapes_are_refused() {
    let flat = std::fs::read(fixture("vocabularies/flat.index")).unwrap();
    let mut huge = flat.clone();
    huge[37..45].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refused(&huge).contains("cut off"), "{}", refused(&huge));
    let mut wide = flat;
    wide[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
    assert!(refused(&wide).contains("it is damaged"));
    let npy = crate::npy::header("<f4", &[usize::MAX / 8, 3]);
    assert!(refused(&npy).contains("for the shape"));
    // The shape (4, 6) of the array in the pickle becomes (200, 6).
    let joblib = std::fs::read(fixture("vocabularies/kmeans.joblib")).unwrap();
    let shape = [b'K', 4, b'K', 6, 0x86];
    let at = joblib.windows(5).position(|window| window == shape).unwrap();
    let mut long = joblib.clone();
    long[at + 1] = 200;
    assert!(refused(&long).contains("cut off"), "{}", refused(&long));
    // Decompression is limited by what is there.
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zlib, &joblib[..100]).unwrap();
    assert!(refused(&zlib.finish().unwrap()).contains("cut off"));
}

#[test]
fn inner_products_and_other_ids_are_refused() {
    let flat = std::fs::read(fixture("vocabularies/flat.index")).unwrap();
    // The metric of an IndexFlatIP.
    let mut inner = flat.clone();
    inner[33..37].copy_from_slice(&0i32.to_le_bytes());
    assert!(refused(&inner).contains("the largest inner product"));
    let map = |ids: [i64; 4]| {
        let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        [b"IxMp", &flat[4..37], &flat, &4u64.to_le_bytes(), &ids].concat()
    };
    let same = OpenedVocabulary::from_bytes(Path::new("x"), &map([0, 1, 2, 3])).unwrap();
    assert_eq!((same.vocabulary.k(), same.format), (4, VocabularyFormat::Faiss));
    assert!(refused(&map([0, 1, 3, 2])).contains("IndexIDMap"));
    // Indexes in each other without end.
    let deep = [b"IxMp", &flat[4..37]].concat().repeat(20);
    assert!(refused(&deep).contains("too many indexes"));
}

/// A damaged file is refused, or its vocabulary is finite and whole.
#[test]
fn damaged_files_never_panic() {
    let mut damage = Damage::new(4);
    let (mut refused, mut read) = (0, 0);
    let ours = vocabulary().to_bytes().unwrap();
    let files: Vec<Vec<u8>> = fixtures()
        .keys()
        .map(|name| std::fs::read(fixture(&format!("vocabularies/{name}"))).unwrap())
        .chain([ours])
        .collect();
    for bytes in &files {
        for _ in 0..200 {
            let damaged = damage.flip(bytes, 0..bytes.len());
            match OpenedVocabulary::from_bytes(Path::new("x"), &damaged) {
                Ok(OpenedVocabulary { vocabulary, .. }) => {
                    assert!(vocabulary.centroids().iter().all(|value| value.is_finite()));
                    read += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        for cut in 0..bytes.len().min(200) {
            let _ = OpenedVocabulary::from_bytes(Path::new("x"), &bytes[..cut]);
        }
    }
    assert!(refused > 200 && read > 200, "{refused} refused, {read} read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_centres_survive_the_file(
        values in proptest::collection::vec(-1e30f32..1e30, 1..60), dim in 1usize..6, unit: bool,
    ) {
        let rows = values.len().div_ceil(dim);
        let mut values = values;
        values.resize(rows * dim, 0.0);
        let mut vocabulary = Vocabulary::new(values, dim).unwrap();
        vocabulary.normalize = if unit { Normalize::L2 } else { Normalize::None };
        let bytes = vocabulary.to_bytes().unwrap();
        prop_assert_eq!(from_bytes(&bytes).unwrap(), vocabulary);
    }
}
