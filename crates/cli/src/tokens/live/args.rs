//! The options of `mert-tokens live`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mert_audio::Seconds;
use mert_live::answer::AnswerMode;

use crate::request_args::{NavigationArgs, key_range};
use crate::run_args::{ModelArgs, ReadArgs};

/// Answers sound with notes while it is played.
///
/// At each onset an event of the oracle is recognised in what was heard, by its token, and what follows it is played. Sound
/// comes from a file, from standard input (- with --input-rate) or, in a build with the feature `live`, from a sound card.
/// Notes go to a MIDI file, as JSON lines to standard output, or in such a build to a MIDI port. Without --realtime a file
/// or standard input is worked through as fast as possible, and the same input gives the same notes.
///
/// With a sound card, or a file and --realtime, lines on standard input are commands: a request in JSON, none, mode NAME,
/// mode auto, panic, quit. Exit status: 0 done, 2 an error, 130 interrupted; on every exit the notes that sound are ended.
#[derive(Debug, Args)]
pub(crate) struct LiveArgs {
    /// A file that mert-convert wrote, a folder with it, or a model of the hub (owner/name)
    pub(super) model: PathBuf,
    /// The vocabulary, with the record of its windows
    pub(super) vocabulary: PathBuf,
    /// The oracle, of events with tokens of this vocabulary
    pub(super) oracle: PathBuf,
    /// The sound: an audio file, or - for raw 32-bit little-endian floats, mono, on standard input [default: a sound card]
    pub(super) input: Option<PathBuf>,
    /// Samples per second on standard input
    #[arg(long, value_name = "HZ")]
    pub(super) input_rate: Option<u32>,
    /// Play a file at its own pace, and take standard input as it arrives, with the model on a thread of its own
    #[arg(long)]
    pub(super) realtime: bool,
    /// The sound card whose name contains this [default: the system's default input]
    #[cfg(feature = "live")]
    #[arg(long, value_name = "NAME", conflicts_with = "input")]
    pub(super) sound_card: Option<String>,
    /// Send notes to the MIDI port whose name contains this
    #[cfg(feature = "live")]
    #[arg(long, value_name = "NAME", conflicts_with = "virtual_port")]
    pub(super) port: Option<String>,
    /// Send notes to a new MIDI port, mert-tokens:out, that other programs can connect to
    #[cfg(feature = "live")]
    #[arg(long)]
    pub(super) virtual_port: bool,
    #[cfg(not(feature = "live"))]
    #[command(flatten)]
    pub(super) devices: DeviceArgs,
    /// Write the notes to this MIDI file at the end
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    /// Replace the MIDI file if it exists
    #[arg(long)]
    pub(super) force: bool,
    /// Write a JSON line for each message to standard output; the default if there is no other output
    #[arg(long)]
    pub(super) lines: bool,
    /// A file of commands at times, a line each: SECONDS COMMAND
    #[arg(long, value_name = "FILE")]
    pub(super) script: Option<PathBuf>,
    /// A YAML or JSON file of modes: named sets of a request and options
    #[arg(long, value_name = "FILE")]
    pub(super) modes: Option<PathBuf>,
    /// The mode to play in
    #[arg(long, value_name = "NAME")]
    pub(super) mode: Option<String>,
    /// The choice of the mode; a line `mode NAME` goes before it until `mode auto`
    #[arg(long, value_enum, default_value_t = ModeBy::Line, conflicts_with = "mode")]
    pub(super) mode_by: ModeBy,
    /// The shortest time that a mode chosen by rule or by text stays [default: 2s by rule, 10s by text]
    #[arg(long, value_name = "TIME")]
    pub(super) mode_hold: Option<Seconds>,
    /// A CLAP checkpoint as transformers saved it, a folder; for --mode-by text
    #[arg(long, value_name = "FOLDER", requires = "clap_modes")]
    pub(super) clap: Option<PathBuf>,
    /// The vectors of the modes' texts, JSON (docs/clap.md); for --mode-by text
    #[arg(long, value_name = "FILE", requires = "clap")]
    pub(super) clap_modes: Option<PathBuf>,
    #[command(flatten)]
    pub(super) clap_choice: ClapChoiceArgs,
    /// The time of answers: one event at each onset, or on and on until the rest
    #[arg(long, value_enum, default_value_t = AnswerBy::Onset)]
    pub(super) answer: AnswerBy,
    /// The time after the last onset at which a continuous answer stops [default: 8s]
    #[arg(long, value_name = "TIME")]
    pub(super) rest: Option<Seconds>,
    /// End the notes of an answer when the next one starts, for an instrument with one voice
    #[arg(long)]
    pub(super) cut: bool,
    /// How small a rise of the sound is an onset, 0 to 1
    #[arg(long, default_value_t = 0.5)]
    pub(super) sensitivity: f64,
    /// The MIDI channel
    #[arg(long, value_name = "1-16", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(super) channel: u8,
    /// Move notes by semitones
    #[arg(long, value_name = "SEMITONES", default_value_t = 0)]
    pub(super) transpose: i32,
    /// The lowest and the highest key; notes outside are moved into it by octaves
    #[arg(long, value_name = "LOW:HIGH", default_value = "0:127", value_parser = key_range)]
    pub(super) range: (u8, u8),
    /// Without --realtime: the time that a forward pass is taken to need, after which its tokens count as known
    #[arg(long, value_name = "TIME", conflicts_with = "realtime")]
    pub(super) compute_delay: Option<Seconds>,
    #[command(flatten)]
    pub(super) navigation: NavigationArgs,
    #[command(flatten)]
    pub(super) options: ModelArgs,
    #[command(flatten)]
    pub(super) read: ReadArgs,
}

/// The options of sound cards and MIDI ports in a build without them, so that their error says what to build.
#[cfg(not(feature = "live"))]
#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    #[arg(long, value_name = "NAME", hide = true)]
    sound_card: Option<String>,
    #[arg(long, value_name = "NAME", hide = true)]
    port: Option<String>,
    #[arg(long, hide = true)]
    virtual_port: bool,
}

#[cfg(not(feature = "live"))]
impl DeviceArgs {
    /// Refuses the options.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let given = [
            ("--sound-card", self.sound_card.is_some()),
            ("--port", self.port.is_some()),
            ("--virtual-port", self.virtual_port),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => anyhow::bail!(
                "{option}: this build has no sound cards and MIDI ports; build it with `cargo build --release -p mert-cli \
                 --features live`"
            ),
            None => Ok(()),
        }
    }
}

/// The options of a choice by text, which `mert-tokens modes` shows for a recording.
#[derive(Debug, Args)]
pub(super) struct ClapChoiceArgs {
    /// The length of sound that a choice by text is made from [default: 3s]
    #[arg(long, value_name = "TIME", requires = "clap")]
    pub(super) clap_seconds: Option<Seconds>,
    /// The time from a choice by text to the next [default: 5s]
    #[arg(long, value_name = "TIME", requires = "clap")]
    pub(super) clap_interval: Option<Seconds>,
    /// The smallest score that chooses a mode by text, a cosine [default: 0.3]
    #[arg(long, value_name = "NUMBER", requires = "clap")]
    pub(super) clap_threshold: Option<f32>,
    /// How much better than the current mode another one must be by text [default: 0.05]
    #[arg(long, value_name = "NUMBER", requires = "clap")]
    pub(super) clap_margin: Option<f32>,
}

/// The ways of choosing the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ModeBy {
    /// Lines of the player
    Line,
    /// The conditions (`when`) of the modes
    Rule,
    /// The text that the sound is nearest to, by CLAP
    Text,
}

/// The time of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AnswerBy {
    /// One event for each onset
    Onset,
    /// Events one after another, until the player rests
    Continuous,
}

impl From<AnswerBy> for AnswerMode {
    fn from(answer: AnswerBy) -> Self {
        match answer {
            AnswerBy::Onset => AnswerMode::Onset,
            AnswerBy::Continuous => AnswerMode::Continuous,
        }
    }
}
