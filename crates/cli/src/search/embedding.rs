//! The model of a catalogue: opened with the catalogue's settings, to embed more files for it, or a file or a passage that
//! is compared with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use mert_arch::LayerSelection;
use mert_audio::{AudioError, AudioFile, Source, Tail, Track, WindowPolicy, Windows};
use mert_cli::embedding::{ArithmeticChoice, OpenModel};
use mert_cli::hub::Messages;
use mert_cli::model_input::converted_file;
use mert_embed::{EmbedError, Embedder, Encoders, InputOptions, Workspace, provenance};
use mert_runtime::DeviceKind;
use mert_search::Catalogue;
use mert_table::{self as table, Provenance, printable_path};

/// The model of a catalogue with its settings.
pub(crate) struct CatalogueModel {
    encoders: Encoders,
    options: InputOptions,
    /// For each encoder the memory of a forward pass.
    workspaces: Vec<Workspace>,
    notes: Vec<String>,
}

/// The vectors of a window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EmbeddedSegment {
    /// The start, in seconds from the start of the file.
    pub(crate) start: f64,
    /// The end, in seconds from the start of the file.
    pub(crate) end: f64,
    /// The vectors of all groups of the catalogue, one after the other.
    pub(crate) values: Vec<f32>,
}

/// An encoder of a catalogue's settings: its name among several, its model's digest, and how its frames become vectors.
struct EncoderSettings<'a> {
    name: &'a str,
    sha256: &'a str,
    hidden_states: &'a [usize],
    pool: table::Pool,
    arithmetic: &'a table::Arithmetic,
}

impl CatalogueModel {
    /// Opens the model or models of `catalogue`: those of `given`, or if it is empty those that the catalogue remembers.
    ///
    /// # Errors
    /// If the catalogue remembers none, a model is another than the one that the rows were computed with, or cannot be
    /// opened.
    pub(crate) fn open(catalogue: &Catalogue, given: &[PathBuf]) -> anyhow::Result<Self> {
        let models = match given {
            [] => catalogue.manifest().models(),
            given => given.to_vec(),
        };
        ensure!(
            !models.is_empty(),
            "{} does not remember where its model is, because its rows come from a table: give --model MODEL",
            printable_path(catalogue.folder())
        );
        CatalogueModel::with_settings(catalogue.settings(), &models)
    }

    /// Opens `models` with the settings of a catalogue's rows.
    ///
    /// # Errors
    /// As [`CatalogueModel::open`].
    pub(crate) fn with_settings(settings: &Provenance, models: &[PathBuf]) -> anyhow::Result<Self> {
        let wanted = encoders_of(settings);
        ensure!(
            wanted.len() == models.len(),
            "the rows have the vectors of {} models: give --model {} times, in this order: {}",
            wanted.len(),
            wanted.len(),
            wanted.iter().map(|encoder| encoder.name).collect::<Vec<_>>().join(", ")
        );
        let options = input_options(settings)?;
        let (mut list, mut notes) = (Vec::with_capacity(wanted.len()), Vec::new());
        for (wanted, model) in wanted.iter().zip(models) {
            let path = converted_file(model, Messages::of("mert-search", false))
                .with_context(|| "the model of the catalogue cannot be found: give its place with --model MODEL")?;
            let kind = match wanted.arithmetic.device {
                table::Device::Cpu => DeviceKind::Cpu,
                table::Device::Metal => DeviceKind::Metal,
                table::Device::Cuda => DeviceKind::Cuda,
            };
            let opened = OpenModel::open(&path, ArithmeticChoice::As(wanted.arithmetic.dtype), kind, &kind.open()?)?;
            if opened.file.sha256 != wanted.sha256 {
                bail!(
                    "{} is another model than the catalogue's: its SHA-256 is {}, that of the catalogue's model is {}. \
                     Give the model that the catalogue was made with, or make a catalogue for this one",
                    printable_path(&path),
                    opened.file.sha256,
                    wanted.sha256
                );
            }
            notes.extend(opened.notes.clone());
            let states: BTreeSet<i64> = wanted.hidden_states.iter().map(|&state| state as i64).collect();
            list.push(opened.encoder(wanted.name, |model| {
                let embedder = Embedder::new(model, &LayerSelection::Some(states), wanted.pool, settings.normalize)?;
                match settings.projection {
                    Some(projection) => embedder.project(projection),
                    None => Ok(embedder),
                }
            })?);
        }
        let encoders = Encoders::new(list, &options.window)?;
        // What the settings do not name, such as the rate, follows from the model.
        if let Some(difference) = provenance(&encoders, &options).difference_in_values(settings) {
            bail!("this program does not embed as the catalogue's rows were embedded: {difference} in the catalogue");
        }
        Ok(CatalogueModel::new(encoders, options, notes))
    }

    /// Models that are open, with the options of a new catalogue.
    pub(crate) fn new(encoders: Encoders, options: InputOptions, notes: Vec<String>) -> Self {
        let workspaces = encoders.iter().map(|encoder| encoder.embedder.workspace()).collect();
        CatalogueModel { encoders, options, workspaces, notes }
    }

    /// The models.
    pub(crate) fn encoders(&self) -> &Encoders {
        &self.encoders
    }

    /// The options for decoding inputs and cutting them into windows.
    pub(crate) fn options(&self) -> &InputOptions {
        &self.options
    }

    /// The settings that rows of these models record.
    pub(crate) fn settings(&self) -> Provenance {
        provenance(&self.encoders, &self.options)
    }

    /// What is assumed about the models' audio input.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Embeds a file, or the passage of it between two times in seconds, as the files of the catalogue are embedded:
    /// a segment for each window that is not silent. A passage that is shorter than a window is a window itself, and its
    /// remainder is never dropped.
    ///
    /// # Errors
    /// If the file cannot be decoded, is silent or too short, or ends before the passage.
    pub(crate) fn embed_file(
        &mut self,
        path: &Path,
        passage: Option<(f64, f64)>,
    ) -> anyhow::Result<Vec<EmbeddedSegment>> {
        self.embed(path, passage, &mut |_| ()).with_context(|| printable_path(path))
    }

    /// Embeds a file as [`CatalogueModel::embed_file`] does; `progress` is called with the end of each segment in seconds,
    /// divided by the number of models.
    ///
    /// # Errors
    /// As [`CatalogueModel::embed_file`].
    pub(crate) fn embed_whole(
        &mut self,
        path: &Path,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<EmbeddedSegment>> {
        self.embed(path, None, progress).with_context(|| printable_path(path))
    }

    fn embed(
        &mut self,
        path: &Path,
        passage: Option<(f64, f64)>,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<EmbeddedSegment>> {
        let models = self.encoders.iter().count().max(1) as f64;
        let mut segments: Vec<EmbeddedSegment> = Vec::new();
        for (index, (encoder, workspace)) in self.encoders.iter().zip(&mut self.workspaces).enumerate() {
            let embedder = &encoder.embedder;
            let mut progress = |end: f64| progress(end / models);
            let found = match passage {
                None => {
                    let track = Track::open(path, embedder.sample_rate(), self.options.read_options())?;
                    let windows = track.windows(&self.options.window, self.options.tail, embedder.min_samples())?;
                    embed_windows(embedder, workspace, windows, 0.0, &mut progress)?
                }
                Some((start, end)) => {
                    let excerpt = Excerpt::open(path, &self.options, start, end)?;
                    let policy = match self.options.window {
                        WindowPolicy::Middle(_) => WindowPolicy::Whole,
                        policy => policy,
                    };
                    let (rate, shortest) = (embedder.sample_rate(), embedder.min_samples());
                    let windows = Windows::new(excerpt, rate, &policy, Tail::Align, shortest, None)?;
                    embed_windows(embedder, workspace, windows, start, &mut progress)?
                }
            };
            if index == 0 {
                segments = found;
            } else {
                // The length of a track in samples is rounded at each rate, so that one may have a window less.
                segments.truncate(found.len());
                segments.iter_mut().zip(found).for_each(|(segment, other)| segment.values.extend(other.values));
            }
        }
        Ok(segments)
    }
}

/// The encoders of a catalogue's settings, in the order of their vectors.
fn encoders_of(settings: &Provenance) -> Vec<EncoderSettings<'_>> {
    let first = EncoderSettings {
        name: settings.hybrid.as_ref().map_or("mert", |hybrid| &hybrid.first),
        sha256: &settings.model_sha256,
        hidden_states: &settings.hidden_states,
        pool: settings.pool,
        arithmetic: &settings.arithmetic,
    };
    let others = settings.others().map(|other| EncoderSettings {
        name: &other.name,
        sha256: &other.model_sha256,
        hidden_states: &other.hidden_states,
        pool: other.pool,
        arithmetic: &other.arithmetic,
    });
    std::iter::once(first).chain(others).collect()
}

/// The options with which the files of a catalogue were read.
fn input_options(settings: &Provenance) -> anyhow::Result<InputOptions> {
    Ok(InputOptions {
        window: settings.window.to_string().parse()?,
        tail: match settings.tail {
            table::Tail::Align => Tail::Align,
            table::Tail::Keep => Tail::Keep,
            table::Tail::Drop => Tail::Drop,
        },
        damage: match settings.damaged {
            table::Damage::Refuse => mert_audio::Damage::Refuse,
            table::Damage::Keep => mert_audio::Damage::Keep,
        },
        ffmpeg: settings.ffmpeg.as_ref().map(|_| mert_audio::ffmpeg_version()).transpose()?,
        input_rate: None,
    })
}

/// The segments of `windows`, whose source starts at `offset` seconds of the file.
fn embed_windows<S: Source>(
    embedder: &Embedder,
    workspace: &mut Workspace,
    mut windows: Windows<S>,
    offset: f64,
    progress: &mut dyn FnMut(f64),
) -> anyhow::Result<Vec<EmbeddedSegment>> {
    let rate = embedder.sample_rate();
    let seconds = |samples: u64| offset + samples as f64 / f64::from(rate);
    let (mut segments, mut silent) = (Vec::new(), None);
    while let Some(mut window) = windows.next_window()? {
        let (start, end) = (seconds(window.start), seconds(window.start + window.samples.len() as u64));
        match embedder.embed(workspace, &mut window.samples, rate) {
            Ok(embedding) => segments.push(EmbeddedSegment { start, end, values: embedding.values }),
            Err(EmbedError::Audio(error @ AudioError::Silent { .. })) => silent = Some(error),
            Err(error) => return Err(error.into()),
        }
        progress(end);
    }
    match silent {
        Some(silent) if segments.is_empty() => Err(silent.into()),
        _ => Ok(segments),
    }
}

/// The samples of a file between two times.
struct Excerpt {
    file: AudioFile,
    /// Samples before the excerpt that are still to be skipped.
    skip: u64,
    /// Samples of the excerpt that are still to come.
    take: u64,
    block: Vec<f32>,
}

impl Excerpt {
    /// Opens the file at `path` and finds the passage from `start` to `end`, in seconds.
    fn open(path: &Path, options: &InputOptions, start: f64, end: f64) -> anyhow::Result<Self> {
        ensure!(
            (0.0..end).contains(&start) && end.is_finite(),
            "invalid passage {start} s to {end} s: expected a start before its end"
        );
        let mut file = AudioFile::open(path, options.read_options())?;
        let rate = f64::from(file.sample_rate());
        let samples = |seconds: f64| (seconds * rate).round() as u64;
        let mut skip = samples(start);
        if let Some(frames) = file.info().frames.filter(|&frames| frames <= skip) {
            bail!("the passage starts at {start} s, and the file ends at {:.2} s", frames as f64 / rate);
        }
        let take = samples(end).saturating_sub(skip).max(1);
        skip -= file.skip(skip)?.min(skip);
        Ok(Excerpt { file, skip, take, block: Vec::new() })
    }
}

impl Source for Excerpt {
    fn sample_rate(&self) -> u32 {
        self.file.sample_rate()
    }

    fn next_block(&mut self) -> Result<Option<&[f32]>, AudioError> {
        while self.take > 0 {
            let Some(block) = self.file.next_block()? else { return Ok(None) };
            let skip = self.skip.min(block.len() as u64);
            self.skip -= skip;
            let rest = &block[skip as usize..];
            if rest.is_empty() {
                continue;
            }
            let take = self.take.min(rest.len() as u64);
            self.take -= take;
            self.block.clear();
            self.block.extend_from_slice(&rest[..take as usize]);
            return Ok(Some(&self.block));
        }
        Ok(None)
    }
}
