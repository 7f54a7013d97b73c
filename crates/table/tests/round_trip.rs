//! Random tables are written and read back in every format, with the same rows bit for bit.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use mert_arch::ComputeType;
use mert_table::{
    Alignment, Arithmetic, Damage, Device, FileVersion, Hybrid, MemoryRows, Normalization, OtherEncoder, Pool,
    Position, Projection, Provenance, Settings, SourceFile, TableError, TableReader, Tail, WindowPolicy, escape,
    rows_file, write,
};
use proptest::prelude::*;

const FORMATS: [&str; 5] = ["npy", "npz", "safetensors", "parquet", "jsonl"];

/// Comparable rows: file, version, window, frame, the bits of start and end, and those of the vectors.
type Rows = Vec<(PathBuf, Option<FileVersion>, u32, Option<u32>, [u64; 2], Vec<u32>)>;

/// A table with its rows.
#[derive(Debug, Clone)]
struct Case {
    provenance: Provenance,
    files: Vec<(PathBuf, Option<FileVersion>)>,
    rows: Vec<(Position, Vec<f32>)>,
}

/// File names: any text and, where the system has them, bytes that are not Unicode. A path has no NUL.
fn name() -> impl Strategy<Value = PathBuf> {
    let text = "\\PC{0,8}".prop_map(OsString::from);
    let awkward = prop::sample::select(vec!["a\\xe9.wav", "\u{feff}b", "new\nline", " ", "-", "\"'", "日本\u{1f3b5}"]);
    let name = prop_oneof![text, awkward.prop_map(OsString::from), bytes()];
    name.prop_map(PathBuf::from)
}

#[cfg(unix)]
fn bytes() -> impl Strategy<Value = OsString> {
    use std::os::unix::ffi::OsStringExt;

    prop::collection::vec(1u8.., 0..8).prop_map(OsString::from_vec)
}

#[cfg(not(unix))]
fn bytes() -> impl Strategy<Value = OsString> {
    Just(OsString::from("name"))
}

/// Finite numbers: subnormals and negative zero among them.
fn number() -> impl Strategy<Value = f32> {
    use prop::num::f32;

    f32::NORMAL | f32::SUBNORMAL | f32::ZERO
}

fn seconds() -> impl Strategy<Value = f64> {
    prop_oneof![(0u64..1 << 40).prop_map(|sample| sample as f64 / 24_000.0), prop::num::f64::POSITIVE]
}

fn version() -> impl Strategy<Value = Option<FileVersion>> {
    let version = (0..=i64::MAX as u64, any::<i64>()).prop_map(|(size, modified)| FileVersion { size, modified });
    prop::option::of(version)
}

/// Further encoders, with other hidden states and lengths of vectors.
fn hybrid() -> impl Strategy<Value = Option<Hybrid>> {
    let layers = prop::collection::btree_set(0usize..25, 1..4);
    let other = ("[0-9a-f]{64}", layers, 1usize..9, prop::sample::select(Pool::ALL)).prop_map(
        |(model_sha256, layers, dim, pool)| OtherEncoder {
            name: "wav2vec".into(),
            model_sha256,
            license: None,
            hidden_states: layers.into_iter().collect(),
            pool,
            sample_rate: 16_000,
            do_normalize: false,
            assumed: None,
            dim,
            frame_hop: 320,
            frame_length: 400,
            arithmetic: Arithmetic { dtype: ComputeType::F32, device: Device::Cpu },
        },
    );
    let hybrid = (other, prop::sample::select(Alignment::ALL)).prop_map(|(other, alignment)| Hybrid {
        first: "mert".into(),
        alignment,
        others: vec![other],
    });
    prop::option::of(hybrid)
}

fn provenance() -> impl Strategy<Value = Provenance> {
    let duration = || (1u64..86_400_000_000).prop_map(Duration::from_micros);
    let window = prop_oneof![
        Just(WindowPolicy::Whole),
        duration().prop_map(WindowPolicy::Middle),
        (duration(), duration()).prop_map(|(length, hop)| WindowPolicy::Sliding { length, hop }),
    ];
    let words = (
        prop::sample::select(Pool::ALL),
        prop::sample::select(Normalization::ALL),
        prop::sample::select(Tail::ALL),
        prop::sample::select(Damage::ALL),
        prop::sample::select(Device::ALL),
        prop::sample::select(&ComputeType::ALL[..]),
    );
    let texts = ("\\PC{0,12}", "[0-9a-f]{64}", prop::option::of("\\PC{1,9}"), prop::option::of("\\PC{0,9}"));
    let layers = prop::collection::btree_set(0usize..25, 1..4);
    (texts, layers, words, window, any::<bool>(), 1usize..9, hybrid()).prop_map(
        |((generator, model_sha256, license, ffmpeg), layers, words, window, do_normalize, dim, hybrid)| Provenance {
            generator,
            model_sha256,
            license,
            hidden_states: layers.into_iter().collect(),
            projection: do_normalize.then_some(Projection::FinalProj),
            pool: words.0,
            normalize: words.1,
            window,
            tail: words.2,
            damaged: words.3,
            ffmpeg,
            sample_rate: 24_000,
            do_normalize,
            assumed: (dim > 4).then(|| "do_normalize".to_string()),
            dim,
            frame_hop: 320,
            frame_length: 400,
            arithmetic: Arithmetic { dtype: words.5, device: words.4 },
            hybrid,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    (provenance(), prop::collection::vec((name(), version()), 0..5)).prop_flat_map(|(provenance, files)| {
        let (width, has_frames) = (provenance.values_per_row(), provenance.pool.has_frames());
        let position = (0..files.len().max(1), any::<u32>(), any::<u32>(), seconds(), seconds()).prop_map(
            move |(file, window, frame, start, end)| {
                let frame = has_frames.then_some(frame);
                Position { file, window, frame, start, end }
            },
        );
        let row = (position, prop::collection::vec(number(), width));
        let most = if files.is_empty() { 0 } else { 20 };
        (Just(provenance), Just(files), prop::collection::vec(row, 0..=most))
            .prop_map(|(provenance, files, rows)| Case { provenance, files, rows })
    })
}

impl Case {
    fn memory_rows(&self) -> MemoryRows {
        let mut rows = MemoryRows::default();
        rows.files = self.files.iter().map(|(path, version)| SourceFile::new(path, *version)).collect();
        self.rows.iter().for_each(|(position, values)| rows.push(*position, values));
        rows
    }

    fn expected(&self) -> Rows {
        let row = |(position, values): &(Position, Vec<f32>)| {
            let (path, version) = self.files[position.file].clone();
            let values = values.iter().map(|value| value.to_bits()).collect();
            let times = [position.start.to_bits(), position.end.to_bits()];
            (path, version, position.window, position.frame, times, values)
        };
        self.rows.iter().map(row).collect()
    }
}

fn read(table: &mut TableReader) -> Result<Rows, TableError> {
    let mut rows = Rows::new();
    table.for_each_row(|row| {
        let values = row.values.iter().map(|value| value.to_bits()).collect();
        let times = [row.start.to_bits(), row.end.to_bits()];
        rows.push((row.path(), row.version, row.window, row.frame, times, values));
        Ok::<(), TableError>(())
    })?;
    Ok(rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_format_reads_back_what_it_wrote(case in case()) {
        let folder = tempfile::tempdir().unwrap();
        for format in FORMATS {
            let path = folder.path().join(format!("table.{format}"));
            write(&path, &case.provenance, &mut case.memory_rows()).unwrap();
            let mut table = TableReader::open(&path).unwrap();
            let expected = case.expected();
            prop_assert_eq!(&read(&mut table).unwrap(), &expected, "{}", format);
            // Read again, without vectors.
            let mut position = 0;
            table.for_each_position(|row| {
                assert_eq!((row.file, row.window), (&*escape(&expected[position].0), expected[position].2));
                assert!(row.values.is_empty());
                position += 1;
                Ok::<(), TableError>(())
            }).unwrap();
            prop_assert_eq!(position, expected.len());

            let records_all = matches!(format, "npz" | "safetensors" | "parquet");
            match table.settings() {
                Some(Settings::Full(provenance)) => prop_assert_eq!(&**provenance, &case.provenance),
                Some(Settings::Digest(digest)) => prop_assert_eq!(digest, &case.provenance.digest()),
                None => prop_assert!(expected.is_empty()),
            }
            prop_assert_eq!(matches!(table.settings(), Some(Settings::Full(_))), records_all);
            if records_all || !expected.is_empty() {
                prop_assert_eq!(table.model_sha256(), Some(&*case.provenance.models_sha256()));
                prop_assert_eq!(table.values_per_row(), case.provenance.values_per_row());
                let layers = (format != "npy").then_some(&case.provenance.hidden_states[..]);
                prop_assert_eq!(table.hidden_states(), layers);
            }

            // The same rows give the same bytes.
            let again = folder.path().join(format!("again.{format}"));
            write(&again, &case.provenance, &mut case.memory_rows()).unwrap();
            prop_assert!(std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap());
            if format == "npy" {
                let bytes = |path| std::fs::read(rows_file(path)).unwrap();
                prop_assert!(bytes(&path) == bytes(&again));
            }
        }
    }
}

/// The caller ends the reading with an error of its own type.
#[test]
fn an_error_of_the_caller_ends_the_reading() {
    #[derive(Debug, PartialEq)]
    struct Enough(u32);

    impl From<TableError> for Enough {
        fn from(error: TableError) -> Self {
            panic!("{error}")
        }
    }

    let case = example();
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join(format!("table.{format}"));
        write(&path, &case.provenance, &mut case.memory_rows()).unwrap();
        let mut table = TableReader::open(&path).unwrap();
        let stop = |window: u32| if window == 1 { Err(Enough(window)) } else { Ok(()) };
        assert_eq!(table.for_each_row(|row| stop(row.window)), Err(Enough(1)), "{format}");
        assert_eq!(read(&mut table).unwrap().len(), 3, "{format}");
    }
}

/// A file that ends early, has other bytes, or is of another format is an error, not a panic and not other rows.
#[test]
fn damaged_tables_are_errors() {
    let case = example();
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join(format!("table.{format}"));
        write(&path, &case.provenance, &mut case.memory_rows()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let is_read = || TableReader::open(&path).and_then(|mut table| read(&mut table)).is_ok();
        assert!(is_read());
        for length in (0..bytes.len() - 1).step_by(11) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            // Whole lines, and none, are a table.
            let is_whole = format == "jsonl" && (length == 0 || bytes[length - 1] == b'\n');
            assert!(!is_read() || is_whole, "{format} cut to {length} of {} bytes", bytes.len());
        }
        for place in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[place] ^= 0x55;
            std::fs::write(&path, &changed).unwrap();
            let _ = is_read();
        }
    }
}

#[test]
fn rows_that_do_not_fit_the_settings_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let path = folder.path().join(format!("table.{format}"));
        let refused = |change: fn(&mut Case)| {
            let mut case = example();
            change(&mut case);
            assert!(write(&path, &case.provenance, &mut case.memory_rows()).is_err(), "{format}");
            assert!(!path.exists(), "{format}");
        };
        refused(|case| case.provenance.dim = 0);
        refused(|case| case.provenance.hidden_states.clear());
        refused(|case| case.provenance.dim += 1);
        refused(|case| case.provenance.pool = Pool::None);
        refused(|case| case.files.clear());
    }
    assert!(matches!(TableReader::open("a.csv".as_ref()), Err(TableError::Format { .. })));
}

/// Three windows of one file.
fn example() -> Case {
    let provenance = Provenance {
        generator: "test".into(),
        model_sha256: "0".repeat(64),
        license: None,
        hidden_states: vec![0, 6],
        projection: None,
        pool: Pool::Mean,
        normalize: Normalization::None,
        window: WindowPolicy::Whole,
        tail: Tail::Align,
        damaged: Damage::Refuse,
        ffmpeg: None,
        sample_rate: 24_000,
        do_normalize: true,
        assumed: None,
        dim: 2,
        frame_hop: 320,
        frame_length: 400,
        arithmetic: Arithmetic { dtype: ComputeType::F32, device: Device::Cpu },
        hybrid: None,
    };
    let position = |window| Position { file: 0, window, frame: None, start: f64::from(window), end: 3.0 };
    let rows = (0..3).map(|window| (position(window), vec![0.5, -1.0, 2.0, window as f32])).collect();
    Case { provenance, files: vec![("a.wav".into(), None)], rows }
}
