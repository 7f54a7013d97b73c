//! The fixture of voice conversion: its arrays, conversions of it, and recordings of its samples.

use std::fs;
use std::path::{Path, PathBuf};

use mert_testkit::{fixture, runner};
use npyz::npz::NpzArchive;

/// An array of f32: its shape and values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Array {
    /// The array at `index` of the first axis.
    pub(crate) fn at(&self, index: usize) -> Array {
        let shape = self.shape[1..].to_vec();
        let size: usize = shape.iter().product();
        Array { shape, values: self.values[index * size..][..size].to_vec() }
    }

    /// The mean over the first axis of a matrix.
    pub(crate) fn mean(&self) -> Vec<f64> {
        let [rows, width] = self.shape[..] else { panic!("{:?}", self.shape) };
        let column = |i: usize| self.values.iter().skip(i).step_by(width).map(|&x| f64::from(x)).sum::<f64>();
        (0..width).map(|i| column(i) / rows as f64).collect()
    }
}

/// An array of `fixtures/voice-conversion/reference.npz`, which transformers and torch computed.
pub(crate) fn reference(name: &str) -> Array {
    let mut archive = NpzArchive::open(fixture("voice-conversion/reference.npz")).unwrap();
    let array = archive.by_name(name).unwrap().unwrap();
    let shape = array.shape().iter().map(|&extent| extent as usize).collect();
    Array { shape, values: array.into_vec().unwrap() }
}

/// A `.npy` of f32.
pub(crate) fn read_npy(path: &Path) -> Array {
    let bytes = fs::read(path).unwrap();
    let array = npyz::NpyFile::new(&bytes[..]).unwrap();
    assert_eq!(array.order(), npyz::Order::C);
    let shape = array.shape().iter().map(|&extent| extent as usize).collect();
    Array { shape, values: array.into_vec().unwrap() }
}

/// The error of `found` over `expected`, both in squares: NMSE.
pub(crate) fn error<A: Copy + Into<f64>, B: Copy + Into<f64>>(found: &[A], expected: &[B]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let difference: f64 = found.iter().zip(expected).map(|(&a, &b)| square(a.into() - b.into())).sum();
    difference / expected.iter().map(|&b| square(b.into())).sum::<f64>()
}

/// Writes samples as a WAV of 32-bit floats.
pub(crate) fn write_wav(path: &Path, samples: &[f32], rate: u32) {
    let data = 4 * samples.len() as u32;
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + data).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16u32.to_le_bytes());
    wav.extend([3u16, 1].iter().flat_map(|word| word.to_le_bytes()));
    wav.extend([rate, 4 * rate].iter().flat_map(|word| word.to_le_bytes()));
    wav.extend([4u16, 32].iter().flat_map(|word| word.to_le_bytes()));
    wav.extend(b"data");
    wav.extend(data.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    fs::write(path, wav).unwrap();
}

/// Converts the model in a folder to f32 with further options of `mert-convert`.
pub(crate) fn convert(model: &Path, output: &Path, options: &[&str]) -> PathBuf {
    let mut command = runner::command("mert-convert");
    command.arg(model).arg(output).args(["--dtype", "f32", "--quiet", "--force"]).args(options).assert().success();
    output.to_path_buf()
}

/// Runs `mert-embed` with these arguments and returns its exit status and standard error.
pub(crate) fn embed(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (i32, String) {
    let mut command = runner::command("mert-embed");
    arguments.iter().for_each(|argument| {
        command.arg(argument.as_ref());
    });
    let output = command.output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}
