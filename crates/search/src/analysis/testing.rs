//! A catalogue whose truth is known, for tests of learning, probes and clusters.

use std::path::Path;

use mert_table::{MemoryRows, Position, SourceFile, write};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::catalogue::{NewTrack, Value};
use crate::testing::settings;
use crate::{Catalogue, Writer};

const DIM: usize = 16;

/// A catalogue of tracks of one segment, two by each artist, with two groups of 16 values between −1 and 1. In the first group
/// the sign of value 3 is the column `side` (`left`, `right`), and `tempo` is 100 + 20 times value 5 and a little noise; `luck`
/// is a number that has nothing to do with the vectors, and `kind` is one of four directions that are added to the second
/// group. `labels` are both `side` and `kind`, and `rare` for the first track.
pub(crate) fn judged_catalogue(folder: &Path, tracks: usize) -> Catalogue {
    let mut random = ChaCha8Rng::seed_from_u64(21);
    let mut vector =
        |scale: f32| -> Vec<f32> { (0..2 * DIM).map(|_| scale * random.random_range(-1.0..1.0)).collect() };
    let artists: Vec<Vec<f32>> = (0..tracks.div_ceil(2)).map(|_| vector(0.5)).collect();
    let kinds: Vec<Vec<f32>> = (0..4).map(|_| vector(6.0)).collect();
    let mut rows = MemoryRows::default();
    let mut known = Vec::new();
    let mut random = ChaCha8Rng::seed_from_u64(22);
    for track in 0..tracks {
        let noise = |random: &mut ChaCha8Rng| random.random_range(-1.0..1.0f32);
        let mut values: Vec<f32> = (0..2 * DIM).map(|index| noise(&mut random) + artists[track / 2][index]).collect();
        let is_left = random.random::<bool>();
        values[3] = if is_left { -0.8 } else { 0.8 };
        let kind = random.random_range(0..4);
        (DIM..2 * DIM).for_each(|index| values[index] += kinds[kind][index]);
        let tempo = 100.0 + 20.0 * f64::from(values[5]) + f64::from(noise(&mut random));
        known.push((is_left, kind, tempo, f64::from(noise(&mut random))));
        rows.files.push(SourceFile::new(format!("music/{track}.flac").as_ref(), None));
        rows.push(Position { file: track, window: 0, frame: None, start: 0.0, end: 10.0 }, &values);
    }
    let table = folder.join("judged.parquet");
    write(&table, &settings(2, DIM), &mut rows).unwrap();
    let folder = folder.join("judged");
    let about = |file: &str| {
        let track: usize = file.trim_start_matches("music/").trim_end_matches(".flac").parse().unwrap();
        let (is_left, kind, tempo, luck) = known[track];
        let mut about = NewTrack::default();
        let text = |text: String| Value::Texts(vec![text]);
        let mut labels = vec![format!("kind {kind}"), if is_left { "left".into() } else { "right".into() }];
        labels.extend((track == 0).then(|| "rare".to_string()));
        about.metadata.insert("labels".into(), Value::Texts(labels));
        about.metadata.insert("artist".into(), text(format!("artist {}", track / 2)));
        about.metadata.insert("side".into(), text(if is_left { "left".into() } else { "right".into() }));
        about.metadata.insert("kind".into(), text(format!("kind {kind}")));
        about.metadata.insert("tempo".into(), Value::Number(tempo));
        about.metadata.insert("luck".into(), Value::Number(luck));
        about
    };
    Writer::open(&folder).unwrap().add(&table, about).unwrap();
    Catalogue::open(&folder).unwrap()
}
