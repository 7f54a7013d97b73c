//! Embeddings of live sound, beside those of files with the same sound.

use std::path::Path;

use mert_audio::{Damage, Tail, Track, WindowPolicy};
use mert_embed::{Normalization, Pool, StreamingEmbedder, StreamingOptions};
use tempfile::TempDir;

use crate::embeddings::{embedder, model, track};

/// A stream that arrives in blocks gives what a file of it gives, bit for bit, resampled or not.
#[test]
fn live_sound_is_embedded_as_a_file_of_it() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let policy: WindowPolicy = "sliding:0.5s/0.2s".parse().unwrap();
    for (name, rate) in [("f32-24k-mono.wav", 24_000), ("f32-8k-mono.aifc", 8_000)] {
        let embedder = embedder(&model, "6,12", Pool::Mean, Normalization::L2);
        let mut workspace = embedder.workspace();
        let mut windows =
            Track::open(&track(name), 24_000, Damage::Refuse).unwrap().windows(&policy, Tail::Drop, 400).unwrap();
        let mut expected = Vec::new();
        while let Some(mut window) = windows.next_window().unwrap() {
            expected.push(embedder.embed(&mut workspace, &mut window.samples, 24_000).unwrap().values);
        }
        let samples = mono_samples(&track(name));
        let options =
            StreamingOptions { input_rate: rate, window: "0.5s".parse().unwrap(), hop: "0.2s".parse().unwrap() };
        let mut stream = StreamingEmbedder::new(embedder, options).unwrap();
        for block in [1, 480, 100_000] {
            let mut found = Vec::new();
            for samples in samples.chunks(block) {
                stream
                    .push(samples, |window| {
                        assert_eq!(window.index, found.len() as u64);
                        assert!((window.end - window.start - 0.5).abs() < 1e-9);
                        found.push(window.values.unwrap().to_vec());
                    })
                    .unwrap();
            }
            // The last window may still be in the resampler when the stream ends.
            let late = (stream.delay() / 0.2).ceil() as usize;
            assert!(found.len() >= expected.len() - late && found.len() > 2, "{} of {}", found.len(), expected.len());
            assert_eq!(found, expected[..found.len()], "{name} in blocks of {block}");
            stream.reset();
        }
    }
}

fn mono_samples(path: &Path) -> Vec<f32> {
    use mert_audio::Source;
    let mut file = mert_audio::AudioFile::open(path, Damage::Refuse).unwrap();
    let mut samples = Vec::new();
    while let Some(block) = file.next_block().unwrap() {
        samples.extend_from_slice(block);
    }
    samples
}

#[test]
fn silence_and_samples_that_are_not_finite_are_reported() {
    let folder = TempDir::new().unwrap();
    let embedder = embedder(&model(&folder), "6", Pool::Mean, Normalization::None);
    let options =
        StreamingOptions { input_rate: 24_000, window: "0.5s".parse().unwrap(), hop: "0.5s".parse().unwrap() };
    assert!(StreamingEmbedder::new(embedder.clone(), StreamingOptions { input_rate: 0, ..options }).is_err());
    assert!(
        StreamingEmbedder::new(embedder.clone(), StreamingOptions { window: "1ms".parse().unwrap(), ..options })
            .is_err()
    );
    let mut stream = StreamingEmbedder::new(embedder, options).unwrap();
    let mut silent = 0;
    stream.push(&[0.0; 24_000], |window| silent += usize::from(window.values.is_none())).unwrap();
    assert_eq!(silent, 2);
    let error = stream.push(&[0.1, f32::NAN], |_| {}).unwrap_err();
    assert!(error.to_string().contains("sample 24001"), "{error}");
}
