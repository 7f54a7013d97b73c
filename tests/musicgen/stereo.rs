//! Stereo MusicGen: eight codebooks of which left and right alternate, beside what transformers' `generate` returned, with left
//! and right in their places.

use std::path::{Path, PathBuf};
use std::process::Command;

use mert_testkit::runner::{self, Run};
use npyz::WriterBuilder;
use npyz::npz::{NpzArchive, NpzWriter};
use safetensors::tensor::{SafeTensors, serialize_to_file};
use serde_json::Value;
use tempfile::TempDir;

use crate::bundles::Kind;

const RATE: u32 = 32_000;
const CODEBOOKS: usize = 8;
/// The text of the reference.
const TEXT: &str = "Slow piano over warm strings and a soft drum.";
/// Everything in f32, so that codes are PyTorch's.
const EXACT: [&str; 4] = ["--dtype", "f32", "--t5-dtype", "f32"];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// An array of the reference.
fn array<T: npyz::Deserialize>(name: &str) -> Vec<T> {
    NpzArchive::open(Kind::Stereo.reference()).unwrap().by_name(name).unwrap().unwrap().into_vec().unwrap()
}

/// The two channels of an array (2, samples) of the reference.
fn channels(name: &str) -> [Vec<f32>; 2] {
    let values: Vec<f32> = array(name);
    let (left, right) = values.split_at(values.len() / 2);
    [left.to_vec(), right.to_vec()]
}

fn codes(path: &str) -> (Vec<u64>, Vec<i64>) {
    let bytes = std::fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    (file.shape().to_vec(), file.into_vec().unwrap())
}

/// The channels of a WAV file of floats.
fn read_wav(path: &str) -> Vec<Vec<f32>> {
    let mut reader = hound::WavReader::open(path).unwrap();
    assert_eq!(reader.spec().sample_rate, RATE);
    let count = usize::from(reader.spec().channels);
    let samples: Vec<f32> = reader.samples().map(Result::unwrap).collect();
    (0..count).map(|channel| samples.iter().skip(channel).step_by(count).copied().collect()).collect()
}

/// Writes channels as a WAV file of floats.
fn write_wav(path: &str, channels: &[Vec<f32>]) {
    let spec = hound::WavSpec {
        channels: channels.len() as u16,
        sample_rate: RATE,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..channels[0].len() {
        channels.iter().for_each(|channel| writer.write_sample(channel[i]).unwrap());
    }
    writer.finalize().unwrap();
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn verify(bundle: &Path, reference: &Path, options: &[&str]) -> Run {
    runner::run("mert-verify", [&[text(bundle), "--reference", text(reference)][..], options].concat())
}

#[test]
fn bundles_of_all_names_pass_the_gate() {
    let folder = TempDir::new().unwrap();
    for names in ["mlx", "hf", "upstream"] {
        let bundle = Kind::Stereo.bundle(&folder, names, &[&EXACT[..], &["--names", names]].concat());
        let config: Value = serde_json::from_slice(&std::fs::read(bundle.join("config.json")).unwrap()).unwrap();
        let decoder = &config["decoder"];
        assert_eq!((&decoder["num_codebooks"], &decoder["audio_channels"]), (&8.into(), &2.into()));
        let json = folder.path().join("report.json");
        let run = verify(&bundle, &Kind::Stereo.reference(), &["--json", text(&json)]);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        let comparison = &report["bundle"]["comparisons"][0];
        let parts: Vec<&str> =
            comparison["parts"].as_array().unwrap().iter().map(|part| part["part"].as_str().unwrap()).collect();
        assert_eq!(parts.len(), 15, "{parts:?}");
        for part in ["tokens", "clip_codes", "clip_wave, channel 0", "clip_wave, channel 1"] {
            assert!(parts.contains(&part), "{parts:?}");
        }
        // Plain MusicGen has no transformer over the input's codes.
        assert_eq!(comparison["not_compared"].as_array().unwrap().len(), 1, "{comparison:#}");
    }
    let quantized = Kind::Stereo.bundle(&folder, "8", &["--quantize", "--q-bits", "8", "--q-group-size", "32"]);
    let run = verify(&quantized, &Kind::Stereo.reference(), &[]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

#[test]
fn greedy_codes_and_both_channels_are_those_of_transformers() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Stereo.bundle(&folder, "bundle", &EXACT);
    let [out, npy] = ["out.wav", "codes.npy"].map(|name| path(&folder, name));
    let request = [text(&bundle), "--text", TEXT, "--seconds", "0.24", "--greedy", "--float"];
    let run = runner::run("mert-generate", [&request[..], &["-o", &out, "--codes", &npy, "--json"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(codes(&npy), (vec![8, 12], array("tokens")));
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    // The two codebooks of a pair share their delay: n + 3 calls, as in mono.
    assert_eq!((&summary["frames"], &summary["steps"]), (&12.into(), &15.into()));
    let (found, expected) = (read_wav(&out), channels("tokens_wave"));
    assert_eq!(found.len(), 2);
    for (channel, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = largest_difference(found, expected);
        assert!(difference < 1e-4, "channel {channel}: {difference}");
    }
    // Channels in each other's place would differ by far more.
    assert!(largest_difference(&found[0], &expected[1]) > 0.1);

    // Standard output has left and right in the same places, in windows, too.
    let windows = ["--window", "0.12", "--overlap", "0.06", "--seed", "3"];
    let request = [&[text(&bundle), "--text", TEXT, "--seconds", "0.3"][..], &windows].concat();
    let run = runner::run("mert-generate", [&request[..], &["-o", &out, "--force"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let streamed = Command::new(runner::binary("mert-generate")).args(request).args(["-o", "-"]).output().unwrap();
    let file = std::fs::read(&out).unwrap();
    let data = |bytes: &[u8]| bytes.windows(4).position(|window| window == b"data").unwrap() + 8;
    assert_eq!(file.len() - data(&file), 9_600 * 2 * 2);
    assert!(streamed.stdout[data(&streamed.stdout)..] == file[data(&file)..]);
}

#[test]
fn a_stereo_beginning_is_continued_in_both_channels() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Stereo.bundle(&folder, "bundle", &EXACT);
    let [begin, out, npy] = ["begin.wav", "out.wav", "codes.npy"].map(|name| path(&folder, name));
    let continued = |channels: &[Vec<f32>]| {
        write_wav(&begin, channels);
        let request = [text(&bundle), &begin, "--text", TEXT, "--seconds", "0.22", "--greedy", "--force"];
        let run = runner::run("mert-generate", [&request[..], &["-o", &out, "--codes", &npy]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let (shape, codes) = codes(&npy);
        assert_eq!(shape, [8, 11]);
        codes
    };
    let clip = channels("input_values");
    let expected: Vec<i64> = array("continued");
    assert_eq!(continued(&clip), expected);
    // The other way round, the codes of the beginning change places; a pair has the same codes where the file is mono.
    let frames = 11;
    let row = |codes: &[i64], k: usize| codes[k * frames..][..5].to_vec();
    let [left, right] = clip;
    let swapped = continued(&[right, left.clone()]);
    let mono = continued(&[left]);
    for k in 0..CODEBOOKS {
        assert_eq!(row(&swapped, k), row(&expected, k ^ 1), "codebook {k}");
        assert_eq!(row(&mono, k), row(&expected, k & !1), "codebook {k}");
    }
    assert!((0..CODEBOOKS).any(|k| row(&expected, k) != row(&expected, k ^ 1)));
}

/// Rewrites the tensors of a bundle under the names that `rename` gives.
fn rename_tensors(bundle: &Path, rename: impl Fn(&str) -> String) {
    let file = bundle.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let renamed: Vec<_> = tensors.tensors().into_iter().map(|(name, view)| (rename(&name), view)).collect();
    serialize_to_file(renamed, None, &file).unwrap();
}

/// The module with its number changed by `change`, for `lm.emb.N.weight` and `lm.linears.N.weight`.
fn renumbered(name: &str, starts: &[&str], change: impl Fn(usize) -> usize) -> String {
    for start in starts {
        if let Some(number) = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(".weight")?.parse().ok()) {
            return format!("{start}{}.weight", change(number));
        }
    }
    name.to_string()
}

#[test]
fn channels_in_each_others_place_fail_the_gate() {
    let folder = TempDir::new().unwrap();
    let reference = Kind::Stereo.reference();
    let bundle = Kind::Stereo.bundle(&folder, "bundle", &EXACT);
    let weights = bundle.join("model.safetensors");
    let honest = std::fs::read(&weights).unwrap();
    let all = ["lm.emb.", "lm.linears."];
    // Left first, then right, in place of pairs.
    let apart = |k: usize| k / 2 + (k % 2) * CODEBOOKS / 2;
    type Rename<'a> = &'a dyn Fn(&str) -> String;
    let defects: [(&str, Rename<'_>); 4] = [
        ("left and right swapped", &|name| renumbered(name, &all, |k| k ^ 1)),
        ("heads of left and right swapped", &|name| renumbered(name, &all[1..], |k| k ^ 1)),
        ("embeddings of left and right swapped", &|name| renumbered(name, &all[..1], |k| k ^ 1)),
        ("the channels one after the other", &|name| renumbered(name, &all, apart)),
    ];
    for (defect, rename) in defects {
        std::fs::write(&weights, &honest).unwrap();
        rename_tensors(&bundle, rename);
        let run = verify(&bundle, &reference, &[]);
        assert_eq!(run.code, 1, "{defect}: {}{}", run.stdout, run.stderr);
    }
    std::fs::write(&weights, &honest).unwrap();
    // Eight codebooks of one channel: another delay for each.
    let config = bundle.join("config.json");
    let stereo = std::fs::read_to_string(&config).unwrap();
    let mut mono: Value = serde_json::from_str(&stereo).unwrap();
    mono["decoder"]["audio_channels"] = 1.into();
    std::fs::write(&config, mono.to_string()).unwrap();
    // The codec has too few codebooks for that, which is found first.
    let run = verify(&bundle, &reference, &[]);
    assert!(run.code == 2 && run.stderr.contains("`decoder.num_codebooks (of a channel)` is 8"), "{}", run.stderr);
    let (codec, away) = (bundle.join("encodec"), bundle.join("away"));
    std::fs::rename(&codec, &away).unwrap();
    let run = verify(&bundle, &reference, &[]);
    assert!(run.code > 0 && run.stdout.contains("FAIL"), "{}{}", run.stdout, run.stderr);
    std::fs::rename(&away, &codec).unwrap();
    std::fs::write(&config, stereo).unwrap();

    // The codec: a reference whose channels are swapped is that of a program that swaps them.
    assert_eq!(verify(&bundle, &codec_reference(&folder, |_| ()), &[]).code, 0);
    type Swap = fn(&mut [Vec<f32>; 2]);
    let swap: Swap = |channels| channels.swap(0, 1);
    for (defect, changed) in [("clip_codes", "input_values"), ("clip_wave", "clip_wave")] {
        let reference = codec_reference(&folder, |(name, channels)| {
            if name == changed {
                swap(channels)
            }
        });
        let run = verify(&bundle, &reference, &[]);
        assert!(run.code == 1 && run.stdout.contains(&format!("FAIL {defect}")), "{changed}: {}", run.stdout);
    }
}

/// The arrays of the codec in a reference of their own.
fn codec_reference(folder: &TempDir, change: impl Fn((&str, &mut [Vec<f32>; 2]))) -> PathBuf {
    let file = folder.path().join("codec.npz");
    let mut archive = NpzWriter::create(&file).unwrap();
    for name in ["input_values", "clip_wave"] {
        let mut found = channels(name);
        change((name, &mut found));
        let shape = [2, found[0].len() as u64];
        let options = archive.array::<f32>(name, Default::default()).unwrap();
        let mut writer = options.default_dtype().shape(&shape).begin_nd().unwrap();
        writer.extend(found.concat()).unwrap();
        writer.finish().unwrap();
    }
    let codes: Vec<i64> = array("clip_codes");
    let shape = [CODEBOOKS as u64, (codes.len() / CODEBOOKS) as u64];
    let options = archive.array::<i64>("clip_codes", Default::default()).unwrap();
    let mut writer = options.default_dtype().shape(&shape).begin_nd().unwrap();
    writer.extend(codes).unwrap();
    writer.finish().unwrap();
    file
}
