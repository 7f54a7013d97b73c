//! `mert-tokens encode`: the token of each frame of files.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{anyhow, bail, ensure};
use clap::Args;
use mert_audio::Seconds;
use mert_cli::embedding::interrupt::{STOP, while_embedding, while_writing};
use mert_cli::embedding::{file_line, report_left_out};
use mert_cli::terminal::{Exit, counted, progress_bar, say};
use mert_embed::failures::Failure;
use mert_embed::inputs::Input;
use mert_fs::sha256_file;
use mert_table::{escape, printable_path};
use mert_tokens::frames::{FileEvent, FrameEncoder, Framing, Keep, encode_files};
use mert_tokens::output::{Dense, OutputInfo, Statistics, TokenFormat, TokenSequence, TokenWriter};
use mert_tokens::vocabulary::{Expected, Normalize, OpenedVocabulary, Vocabulary};
use mert_tokens::{Tokenizer, TokensError};

use crate::encoder::TokenModel;
use crate::failure::failure;
use crate::file_kind::{FileKind, read_as};
use crate::inputs::recordings;
use crate::run_args::{ModelArgs, RunArgs};

/// The windows of a vocabulary of another program, if the options do not state them.
const FOREIGN_WINDOW: &str = "2s";
const FOREIGN_HOP: &str = "1s";

/// Writes the token of each frame of files: the nearest centre of a vocabulary.
///
/// The hidden state, windows and normalisation are those that the vocabulary was trained with; a vocabulary of another model
/// or other windows is refused. For a vocabulary of another program, which records none of them, they are stated by
/// --layer, --window, --hop, --keep and --normalize. Exit status: 0 done, 1 some files left out, 2 nothing written.
#[derive(Debug, Args)]
pub(crate) struct EncodeArgs {
    /// A file that mert-convert wrote, a folder with it, or a model of the hub (owner/name)
    model: PathBuf,
    /// The vocabulary: a file of mert-tokens train, .npy, a joblib or pickle file of scikit-learn, or an index of faiss
    vocabulary: PathBuf,
    /// Files and folders
    #[arg(required_unless_present = "list")]
    inputs: Vec<PathBuf>,
    /// The file to write: .jsonl, .km, .npy or .parquet, or with --format any name [default: JSON lines on standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format: jsonl, km, gslm, textless, npy or parquet
    #[arg(long)]
    format: Option<TokenFormat>,
    /// Merge runs of equal tokens, and write how many frames each lasts
    #[arg(long)]
    deduplicate: bool,
    /// Write the vectors of the frames beside their tokens; for --format textless
    #[arg(long)]
    dense: bool,
    /// The hidden state: 0 enters the first layer, -1 is the last
    #[arg(long, value_name = "STATE")]
    layer: Option<i64>,
    /// The length of a window
    #[arg(long, value_name = "TIME")]
    window: Option<Seconds>,
    /// The time from a window to the next
    #[arg(long, value_name = "TIME")]
    hop: Option<Seconds>,
    /// The hop of a window that is kept: newest, middle, or the time that follows it
    #[arg(long, value_name = "PART")]
    keep: Option<Keep>,
    /// The scaling of frames: none or l2
    #[arg(long)]
    normalize: Option<Normalize>,
    /// Replace the output if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the subcommand.
pub(crate) fn run(args: &EncodeArgs) -> anyhow::Result<Exit> {
    let quiet = args.run.quiet();
    let inputs = recordings(&args.inputs, args.run.files.list(), quiet)?;
    let format = match (&args.output, args.format) {
        (_, Some(format)) => format,
        (Some(output), None) => TokenFormat::of(output)?,
        (None, None) => TokenFormat::Jsonl,
    };
    ensure!(!args.dense || format == TokenFormat::Textless, "--dense is for --format textless");
    let output = match &args.output {
        Some(output) => output.as_path(),
        None if matches!(format, TokenFormat::Npy | TokenFormat::Parquet) => bail!("name the output: -o FILE"),
        None => Path::new(mert_tokens::output::STDOUT),
    };
    if let Some(written) = &args.output {
        ensure!(args.force || !written.is_file(), mert_fs::FsError::OutputExists { path: written.clone() });
        let read = inputs.iter().map(|input| &input.path).chain([&args.model, &args.vocabulary]);
        let mut same = read.filter(|path| mert_fs::is_same_file(path, written));
        if let Some(path) = same.next() {
            bail!("{} is an input; give another output", printable_path(path));
        }
    }
    format.check_names(inputs.iter().map(|input| escape(&input.path)))?;
    let opened = Opened::open(args)?;
    let grid = opened.encoder.grid();
    let info = OutputInfo {
        k: opened.tokenizer.vocabulary().k(),
        frame_hop: grid.hop,
        sample_rate: grid.rate,
        hidden_state: opened.encoder.layer(),
        model_sha256: opened.model_sha256.clone(),
        vocabulary_sha256: sha256_file(&args.vocabulary)?,
        generator: concat!("mert-tokens ", env!("CARGO_PKG_VERSION")).to_string(),
        deduplicate: args.deduplicate,
    };
    let mut writer = TokenWriter::create(output, format, info, args.force)?;
    let mut statistics = Statistics::new(opened.tokenizer.vocabulary().k());
    let failures = while_embedding(|| {
        encode_with_dense(&opened, &inputs, &args.run, args.dense, &mut |_, file| {
            statistics.add(&file.tokens);
            writer.push(&file)
        })
    })?;
    args.run.files.write_report(&failures)?;
    if STOP.load(Ordering::Relaxed) {
        say("interrupted: nothing is written");
        return Ok(Exit::Interrupted);
    }
    if failures.len() == inputs.len() {
        report_left_out(&failures, inputs.len());
        bail!("no file could be encoded: nothing is written");
    }
    while_writing(|| writer.finish())?;
    if !quiet {
        say(&format!(
            "{} of {}: {} of {} tokens, entropy {:.2} of {:.2} bits, median run {} frames",
            counted(statistics.frames(), "frame"),
            counted(inputs.len() - failures.len(), "file"),
            statistics.used(),
            statistics.counts().len(),
            statistics.entropy(),
            (statistics.counts().len() as f64).log2(),
            statistics.median_run().unwrap_or(0.0)
        ));
    }
    let (used, k) = (statistics.used(), statistics.counts().len());
    if used * 10 < k && statistics.frames() >= 10 * k as u64 {
        say(&format!(
            "only {used} of {k} tokens occur: is the vocabulary of this model and hidden state, and is the sound like that of its \
             training?"
        ));
    }
    Ok(report_left_out(&failures, inputs.len()))
}

/// A model and a vocabulary that fit.
pub(crate) struct Opened {
    pub(crate) encoder: FrameEncoder,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) model_sha256: String,
}

impl Opened {
    fn open(args: &EncodeArgs) -> anyhow::Result<Self> {
        let stated = Stated {
            layer: args.layer,
            window: args.window,
            hop: args.hop,
            keep: args.keep,
            normalize: args.normalize,
        };
        stated.open(&args.model, &args.vocabulary, &args.run.model)
    }
}

/// Encodes `inputs`, and passes the tokens of each to `on_file` with its index, in their order. The files that were left out.
///
/// # Errors
/// Those of `on_file`, which end the run.
pub(crate) fn encode_inputs(
    opened: &Opened,
    inputs: &[Input],
    run: &RunArgs,
    on_file: &mut dyn FnMut(usize, TokenSequence) -> Result<(), TokensError>,
) -> anyhow::Result<Vec<Failure>> {
    encode_with_dense(opened, inputs, run, false, on_file)
}

fn encode_with_dense(
    opened: &Opened,
    inputs: &[Input],
    run: &RunArgs,
    with_dense: bool,
    on_file: &mut dyn FnMut(usize, TokenSequence) -> Result<(), TokensError>,
) -> anyhow::Result<Vec<Failure>> {
    let Opened { encoder, tokenizer, .. } = opened;
    let hidden = run.quiet() || !std::io::stderr().is_terminal();
    let bar = progress_bar(Some(inputs.len() as u64), "{bar:30} {pos}/{len} files, {msg}, {eta} left", hidden);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let paths: Vec<&Path> = inputs.iter().map(|input| input.path.as_path()).collect();
    let (mut failures, mut seconds, mut silent) = (Vec::new(), 0.0, 0);
    let mut sequence = TokenSequence::default();
    let dim = encoder.dim();
    let options = run.read.options()?;
    encode_files(&paths, encoder, options, run.jobs(), &|_, _| true, &STOP, |index, event| {
        let input = &inputs[index];
        match event {
            FileEvent::Frames(kept) => {
                let tokens = tokenizer.tokens(&kept.values)?;
                seconds += tokens.len() as f64 / encoder.grid().frame_rate();
                bar.set_message(format!("{:.1} x real time", seconds / bar.elapsed().as_secs_f64().max(1e-3)));
                sequence.tokens.extend(tokens);
                silent += u64::from(kept.silent);
                if with_dense {
                    let dense = sequence.dense.get_or_insert_with(|| Dense { dim, values: Vec::new() });
                    dense.values.extend(kept.values);
                }
            }
            FileEvent::Done(end) => {
                let file = std::mem::take(&mut sequence);
                on_file(index, TokenSequence { file: escape(&input.path), samples: Some(end.samples), ..file })?;
                bar.inc(1);
                if !run.quiet() {
                    let silent =
                        (silent > 0).then(|| format!("tokens of zeros for {}", counted(silent, "silent window")));
                    bar.suspend(|| end.notes.iter().chain(&silent).for_each(|note| say(&file_line(input, note))));
                }
                silent = 0;
            }
            FileEvent::Failed(error) => {
                (sequence, silent) = (TokenSequence::default(), 0);
                bar.inc(1);
                let failure = failure(input, error);
                bar.suspend(|| say(&file_line(input, &failure.message)));
                failures.push(failure);
            }
        }
        Ok::<(), TokensError>(())
    })?;
    bar.finish_and_clear();
    Ok(failures)
}

/// The options that a vocabulary of another program does not record, and that another's record must agree with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stated {
    pub(crate) layer: Option<i64>,
    pub(crate) window: Option<Seconds>,
    pub(crate) hop: Option<Seconds>,
    pub(crate) keep: Option<Keep>,
    pub(crate) normalize: Option<Normalize>,
}

impl Stated {
    /// Nothing: a vocabulary of this project records all.
    pub(crate) fn nothing() -> Self {
        Stated { layer: None, window: None, hop: None, keep: None, normalize: None }
    }

    /// Opens a model and a vocabulary, and checks that they fit.
    ///
    /// # Errors
    /// If either cannot be opened, or the vocabulary is for another model or other windows.
    pub(crate) fn open(&self, model: &Path, vocabulary: &Path, options: &ModelArgs) -> anyhow::Result<Opened> {
        let OpenedVocabulary { vocabulary: opened, notes, .. } =
            read_as(vocabulary, FileKind::Vocabulary, OpenedVocabulary::open(vocabulary))?;
        notes
            .iter()
            .filter(|_| !options.quiet)
            .for_each(|note| say(&format!("{}: {note}", printable_path(vocabulary))));
        let model = TokenModel::open(model, options)?;
        let opened = match &opened.record {
            Some(_) => opened,
            None => self.state(opened, vocabulary, &model, options.quiet)?,
        };
        opened.check(&self.expected(&opened, &model)?)?;
        if let Some(record) =
            opened.record.as_ref().filter(|record| record.arithmetic != model.arithmetic && !options.quiet)
        {
            say(&format!(
                "the vocabulary was trained with arithmetic in {}, and this is {}: frames, and some tokens, differ",
                record.arithmetic, model.arithmetic
            ));
        }
        let Some(record) = &opened.record else { return Err(TokensError::NoRecord.into()) };
        let framing = Framing { window: record.window, hop: record.hop, lookahead: record.lookahead };
        let (hidden_state, model_sha256) = (record.hidden_state, model.sha256.clone());
        Ok(Opened { encoder: model.encoder(hidden_state, framing)?, tokenizer: Tokenizer::new(opened)?, model_sha256 })
    }

    /// The record that the model and the options ask of a vocabulary.
    fn expected(&self, vocabulary: &Vocabulary, model: &TokenModel) -> anyhow::Result<Expected> {
        let grid = model.grid();
        let mut expected = Expected {
            model_sha256: Some(model.sha256.clone()),
            hidden_state: self.layer.map(|layer| model.hidden_state(layer)).transpose()?,
            dim: Some(model.dim()),
            sample_rate: Some(grid.rate),
            do_normalize: Some(model.normalizes()),
            frame_hop: Some(grid.hop),
            frame_length: Some(grid.length),
            normalize: self.normalize,
            ..Expected::default()
        };
        if let Some(record) = &vocabulary.record {
            let window = self.window.map_or(record.window, |window| grid.whole_frames(window).0);
            let hop = self.hop.map_or(record.hop, |hop| grid.whole_frames(hop).0);
            let lookahead = match self.keep {
                None => record.lookahead,
                Some(Keep::Newest) => 0,
                Some(Keep::Middle) => window.saturating_sub(hop) / 2,
                Some(Keep::Before(time)) => grid.whole_frames(time).0,
            };
            (expected.window, expected.hop, expected.lookahead) = (Some(window), Some(hop), Some(lookahead));
        }
        Ok(expected)
    }

    /// A vocabulary of another program with what the options state.
    fn state(
        &self,
        mut vocabulary: Vocabulary,
        path: &Path,
        model: &TokenModel,
        quiet: bool,
    ) -> anyhow::Result<Vocabulary> {
        let Some(layer) = self.layer else {
            bail!(
                "{} does not say which hidden state it is for: `mert-tokens import` writes it with --layer, --window, --hop, --keep \
                 and --normalize as it was trained; encode takes these options, too",
                printable_path(path)
            );
        };
        // The windows that `train` has by default, which writes centres alone as .npy, too.
        let seconds = |given: Option<Seconds>, default: &str| match given {
            Some(given) => Ok(given),
            None => default.parse().map_err(|error: String| anyhow!(error)),
        };
        let (window, hop) = (seconds(self.window, FOREIGN_WINDOW)?, seconds(self.hop, FOREIGN_HOP)?);
        let keep = self.keep.unwrap_or(Keep::Newest);
        let (framing, notes) = Framing::new(&model.grid(), window, hop, keep)?;
        match self.normalize {
            Some(Normalize::None) if vocabulary.normalize == Normalize::L2 => bail!(
                "{} scales frames by l2 in front of its centres, and --normalize is none: leave the option out",
                printable_path(path)
            ),
            Some(normalize) => vocabulary.normalize = normalize,
            None => {}
        }
        if !quiet {
            notes.iter().for_each(|note| say(note));
            say(&format!(
                "{} records neither model nor windows: taken to be for this model, hidden state {}, windows of {window} every \
                 {hop}, {keep} kept, frames normalised by {}",
                printable_path(path),
                model.hidden_state(layer)?,
                vocabulary.normalize
            ));
        }
        Ok(vocabulary.with_stated_record(model.record(model.hidden_state(layer)?, framing))?)
    }
}
