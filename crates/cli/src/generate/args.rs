//! The arguments of `mert-generate`.

use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};
use mert_musicgen::bundle::GenerationConfig;
use mert_musicgen::generate::{Sampling, Settings};

/// Edits a recording by an instruction, or composes music from a text
///
/// An instruction needs a bundle of Instruct-MusicGen, a text one of MusicGen. mert-convert
/// writes both.
///
///   mert-generate BUNDLE --instruct "Only Drums" input.wav -o drums.wav
///   mert-generate BUNDLE --text "slow piano in the rain" --seconds 10 -o piano.wav
///
/// The result of an edit is as long as the recording. The same bundle, input, options and
/// seed give the same file on any number of threads.
///
/// Exit status: 0 written, or the reader of standard output has closed it; 2 could not be
/// done; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "mert-generate", version, verbatim_doc_comment)]
#[command(group = ArgGroup::new("request").required(true).args(["instruct", "text"]))]
pub(crate) struct Args {
    /// The folder that mert-convert wrote
    pub(crate) bundle: PathBuf,
    /// The recording to edit, or with --text the beginning that is continued; any format that mert-embed reads
    #[arg(required_if_eq_any = [("request", "instruct")])]
    pub(crate) input: Option<PathBuf>,
    /// The instruction: Only X, No X or Add X, with an instrument of the training such as Drums, Bass, Guitar or Piano. It
    /// becomes "Music piece. Instruct: X." unless it begins with "Music piece"
    #[arg(long, value_name = "TEXT")]
    pub(crate) instruct: Option<String>,
    /// A description of the music
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// The WAV file to write; - writes it to standard output, each part as it is finished
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The length with --text [default: 10]
    #[arg(long, value_name = "SECONDS", conflicts_with = "instruct")]
    pub(crate) seconds: Option<f64>,
    /// Take the likeliest code at each step
    #[arg(long, conflicts_with_all = ["top_k", "top_p", "temperature", "seed"])]
    greedy: bool,
    /// Draw from the K likeliest codes; 0 for all [default: the model's, or 250]
    #[arg(long, value_name = "K", conflicts_with = "top_p")]
    top_k: Option<usize>,
    /// Draw from the likeliest codes that have this total probability, above 0 and at most 1, instead of --top-k
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f64>,
    /// Divide the logits by this number [default: the model's, or 1]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// The seed of the draws [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// The factor of classifier-free guidance; 1 for none, which takes half the time [default: the model's, or 3]
    #[arg(long, value_name = "FACTOR")]
    guidance: Option<f64>,
    /// The length of a window; longer music is made of several [default: 5 for edits, 30 with --text]
    #[arg(long, value_name = "SECONDS")]
    window: Option<f64>,
    /// The least part of a window that repeats the end of the one before [default: 1 for edits, 12 with --text]
    #[arg(long, value_name = "SECONDS")]
    overlap: Option<f64>,
    /// The treatment of a recording that is damaged or ends too early
    #[arg(long, value_enum, default_value_t = Damaged::Refuse)]
    pub(crate) damaged: Damaged,
    /// Write 32-bit floats instead of 16-bit integers
    #[arg(long)]
    pub(crate) float: bool,
    /// Write the generated codes too, as an int64 array (codebooks, frames)
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) codes: Option<PathBuf>,
    /// The number of threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Replace the output if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Print a summary as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// Print errors only
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// The values of `--damaged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Damaged {
    /// Stop with an error
    Refuse,
    /// Use what can be decoded
    Keep,
}

impl Args {
    /// The settings of the generation: the model's, where no option says otherwise.
    pub(crate) fn settings(&self, model: &GenerationConfig) -> Settings {
        let defaults = Settings::of_model(model);
        let draws = self.top_k.is_some() || self.top_p.is_some() || self.temperature.is_some() || self.seed.is_some();
        let sampling =
            match Settings::of_model(&GenerationConfig { do_sample: draws || model.do_sample, ..*model }).sampling {
                Sampling::Random { top_k, top_p, temperature } if !self.greedy => Sampling::Random {
                    top_k: self.top_k.unwrap_or(top_k),
                    // One of both limits is in effect, and a given one replaces the model's.
                    top_p: self.top_p.unwrap_or(if self.top_k.is_some() { 0.0 } else { top_p }),
                    temperature: self.temperature.unwrap_or(temperature),
                },
                _ => Sampling::Greedy,
            };
        Settings {
            sampling,
            guidance_scale: self.guidance.unwrap_or(defaults.guidance_scale),
            seed: self.seed.unwrap_or(0),
            window: self.window,
            overlap: self.overlap,
        }
    }

    /// True if the audio goes to standard output.
    pub(crate) fn streams(&self) -> bool {
        self.output.as_os_str() == "-"
    }
}
