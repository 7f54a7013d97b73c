//! The run of a generation: the text, the recording, the language model, the output.

use std::io;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow, bail, ensure};
use mert_arch::printable_line;
use mert_audio::{AudioFile, Damage, ReadOptions, Resampler, Source};
use mert_cli::terminal::{Exit, print, say};
use mert_fs::FsError;
use mert_musicgen::Conditioning;
use mert_musicgen::bundle::Bundle;
use mert_musicgen::generate::{Composition, Generated, Generator, Settings, check_length, instruction};
use mert_table::printable_path;

use crate::args::{Args, Damaged};
use crate::codes_file;
use crate::listener::ToOutput;
use crate::summary::Summary;
use crate::wav::{self, WavOutput};

/// Characters of a text that are shown.
const SHOWN: usize = 300;

/// A level, full scale being 1, that no recording has.
const LOUDEST: f32 = 16.0;

/// The length of music from a text, in seconds.
const SECONDS: f64 = 10.0;

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    check_files(args)?;
    let threads = args.threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    match pool.install(|| generate(args)) {
        Err(error) if args.streams() && is_closed_by_reader(&error) => Ok(Exit::Success),
        result => result,
    }
}

/// Whether the reader of standard output has closed it (`… | head`), which ends a generation early but is no error.
fn is_closed_by_reader(error: &anyhow::Error) -> bool {
    let mut reasons = error.chain().filter_map(|error| error.downcast_ref::<io::Error>());
    reasons.any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn generate(args: &Args) -> anyhow::Result<Exit> {
    let bundle = open_bundle(&args.bundle)?;
    let settings = args.settings(&bundle.config().generation);
    settings.check()?;
    check_kind(args, &bundle)?;
    let rate = bundle.config().sampling_rate;
    let channels = bundle.config().model.decoder.audio_channels;
    let input = args.input.as_deref().map(|path| samples_of(path, args, rate, channels)).transpose()?;
    let text = match (&args.instruct, &args.text) {
        (Some(text), _) => instruction(text),
        (None, text) => text.clone().unwrap_or_default(),
    };
    say_unless(args.quiet, || format!("text: {}", beginning(&text)));
    // The text encoder is dropped before the language model is opened.
    let states = bundle.text_encoder()?.encode(&text)?.states;
    let generator = Generator::open(&bundle)?;
    let conditioning = generator.language_model().condition(&states)?;
    say_notes(args, &generator, &settings)?;

    let spec = wav::spec(channels, rate, args.float);
    let output =
        if args.streams() { WavOutput::stream(spec)? } else { WavOutput::file(&args.output, args.force, spec)? };
    let mut listener = ToOutput::new(output, args.quiet);
    let started = Instant::now();
    let generated = generated(args, &generator, &conditioning, input, &settings, &mut listener);
    listener.finish();
    let (generated, elapsed) = (generated?, started.elapsed());
    let clipped = listener.output.clipped;
    if let Some(path) = &args.codes {
        codes_file::write(path, &generated.codes, args.force)?;
    }
    listener.output.finish()?;
    let summary = Summary { text: &text, generated: &generated, settings: &settings, rate, elapsed, clipped };
    say_unless(args.quiet, || summary.line());
    if args.json {
        print(&format!("{:#}\n", summary.json()))?;
    }
    Ok(Exit::Success)
}

/// As much of a text as a person reads, in one line.
fn beginning(text: &str) -> String {
    let (text, characters) = (printable_line(text), text.chars().count());
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({characters} characters)", &text[..end]),
        None => text,
    }
}

/// Opens the bundle; a name of the hub is no folder.
fn open_bundle(path: &Path) -> anyhow::Result<Bundle> {
    let shown = printable_path(path);
    ensure!(path.exists(), "{shown} does not exist: give the folder that `mert-convert MODEL FOLDER` wrote");
    ensure!(path.is_dir(), "{shown} is a file: give the folder that `mert-convert MODEL FOLDER` wrote");
    Ok(Bundle::open(path)?)
}

/// Generates the music of the request.
fn generated(
    args: &Args,
    generator: &Generator,
    text: &Conditioning,
    input: Option<Vec<Vec<f32>>>,
    settings: &Settings,
    listener: &mut ToOutput,
) -> anyhow::Result<Generated> {
    if args.instruct.is_some() {
        let input =
            input.context("--instruct needs a recording to edit: mert-generate BUNDLE --instruct TEXT INPUT")?;
        // An instruct model has one channel.
        return Ok(generator.edit(text, &input.concat(), settings, listener)?);
    }
    let beginning = input.unwrap_or_default();
    let seconds = args.seconds.unwrap_or(SECONDS);
    Ok(generator.compose(&Composition { text, seconds, beginning: &beginning }, settings, listener)?)
}

/// Refuses outputs that exist or are inputs, before any work.
fn check_files(args: &Args) -> anyhow::Result<()> {
    ensure!(
        !(args.streams() && args.json),
        "--json prints on standard output, where `-o -` writes the audio: give a file"
    );
    for (option, text) in [("--instruct", &args.instruct), ("--text", &args.text)] {
        ensure!(
            text.as_ref().is_none_or(|text| !text.trim().is_empty()),
            "{option} is empty: describe the {}",
            if option == "--text" { "music" } else { "change, such as \"Only Drums\"" }
        );
    }
    // A NaN is no number above 0 either; what is beyond 1 is refused with the other settings.
    if let Some(seconds) = args.seconds {
        check_length(seconds).map_err(|error| anyhow!("invalid --seconds: {error}"))?;
    }
    ensure!(args.top_p.is_none_or(|top_p| top_p != 0.0), "invalid --top-p 0: expected more than 0 and at most 1");
    if let Some(codes) = &args.codes {
        ensure!(codes.as_os_str() != "-", "--codes writes a .npy file: give FILE.npy, or ./- for a file of that name");
        ensure!(
            args.streams() || !names_same_file(codes, &args.output),
            "--codes and --output are both {}: give the codes another name, such as NAME.npy",
            printable_path(codes)
        );
    }
    let outputs = args.codes.iter().chain((!args.streams()).then_some(&args.output));
    for output in outputs {
        if output.exists() && !args.force {
            return Err(FsError::OutputExists { path: output.clone() }.into());
        }
        if args.input.as_ref().is_some_and(|input| mert_fs::is_same_file(input, output)) {
            bail!("{} is the input; give another output", printable_path(output));
        }
    }
    let is_wav = args.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"));
    ensure!(
        args.streams() || is_wav,
        "{}: the output is a WAV file; give NAME.wav, or - for standard output",
        printable_path(&args.output)
    );
    Ok(())
}

/// True if two paths are or would be the same file.
fn names_same_file(a: &Path, b: &Path) -> bool {
    let folder = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        parent.canonicalize().unwrap_or_else(|_| parent.to_path_buf())
    };
    mert_fs::is_same_file(a, b) || a.file_name() == b.file_name() && folder(a) == folder(b)
}

/// Refuses a request for the other kind of model before its weights are read.
fn check_kind(args: &Args, bundle: &Bundle) -> anyhow::Result<()> {
    let is_instruct = bundle.config().model.cp_transformer.is_some();
    let folder = printable_path(bundle.folder());
    ensure!(
        is_instruct || args.instruct.is_none(),
        "{folder} is plain MusicGen, which does not edit recordings: give --text"
    );
    ensure!(
        !is_instruct || args.text.is_none(),
        "{folder} is Instruct-MusicGen, which edits recordings: give --instruct"
    );
    ensure!(args.instruct.is_none() || args.input.is_some(), "--instruct edits a recording: give it after the bundle");
    Ok(())
}

/// Notes about the model and the settings that a user should know before waiting.
fn say_notes(args: &Args, generator: &Generator, settings: &Settings) -> anyhow::Result<()> {
    if !generator.is_instruct() {
        return Ok(());
    }
    let (window, trained) = (generator.edit_window(settings)?, generator.trained_frames());
    let rate = generator.config().frame_rate();
    if window > trained {
        let (window, trained) = (window as f64 / rate, trained as f64 / rate);
        say_unless(args.quiet, || {
            format!(
                "warning: windows of {window} s, but positions after {trained} s do not look trained; --window {trained} avoids them"
            )
        });
    }
    Ok(())
}

/// The samples of a file at the rate `rate`, channel by channel. A stereo model hears left and right of a file that has both;
/// every other file is mixed to mono, which is the same in all channels.
fn samples_of(path: &Path, args: &Args, rate: u32, channels: usize) -> anyhow::Result<Vec<Vec<f32>>> {
    let damage = if args.damaged == Damaged::Keep { Damage::Keep } else { Damage::Refuse };
    let open = || AudioFile::open(path, ReadOptions::from(damage));
    let read = || -> anyhow::Result<_> {
        let mut file = open()?;
        // Some decoders learn the channels only from the first packet.
        let first = file.next_block()?.map(<[f32]>::to_vec);
        if channels == 1 || file.info().channels != channels {
            let (samples, notes) = resampled(file, first, rate)?;
            return Ok((vec![samples; channels], notes));
        }
        let of_channel = |channel| {
            let mut file = open()?;
            file.select_channel(channel);
            resampled(file, None, rate)
        };
        let (samples, notes) = (0..channels).map(of_channel).collect::<anyhow::Result<(Vec<_>, Vec<_>)>>()?;
        // Both passes find the same.
        Ok((samples, notes.into_iter().next().unwrap_or_default()))
    };
    let (samples, notes) = read().with_context(|| printable_path(path))?;
    for note in notes {
        say_unless(args.quiet, || format!("warning: {}: {note}", printable_path(path)));
    }
    let peak = samples.iter().flatten().fold(0f32, |peak, sample| peak.max(sample.abs()));
    if peak > LOUDEST {
        say_unless(args.quiet, || {
            format!(
                "warning: {}: its loudest sample is {peak:.0} times full scale: the file is damaged, or its floats have another scale",
                printable_path(path)
            )
        });
    }
    Ok(samples)
}

/// The samples of an opened file from its block `first` on, at the rate `rate`, and what was noticed.
fn resampled(mut file: AudioFile, first: Option<Vec<f32>>, rate: u32) -> anyhow::Result<(Vec<f32>, Vec<String>)> {
    let mut resampler = Resampler::new(file.sample_rate(), rate)?;
    let mut samples = Vec::new();
    resampler.push(&first.unwrap_or_default(), |block| samples.extend_from_slice(block));
    while let Some(block) = file.next_block()? {
        resampler.push(block, |block| samples.extend_from_slice(block));
    }
    resampler.finish(|block| samples.extend_from_slice(block));
    ensure!(!samples.is_empty(), "the file has no samples");
    Ok((samples, file.notes().to_vec()))
}

fn say_unless(quiet: bool, line: impl FnOnce() -> String) {
    if !quiet {
        say(&line());
    }
}
