//! The model of a catalogue: opened with the catalogue's settings, to embed more files for it, or a file or a passage that
//! is compared with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use mert_arch::LayerSelection;
use mert_audio::Tail;
use mert_embed::{EmbedError, EmbeddedWindow, Embedder, Encoders, InputOptions, Workspace, provenance};
use mert_runtime::DeviceKind;
use mert_search::Catalogue;
use mert_search::query::SeedSegment;
use mert_table::{self as table, Provenance, printable_path};

use crate::embedding::{ArithmeticChoice, OpenModel};
use crate::hub::Messages;
use crate::model_input::converted_file;

/// The model of a catalogue with its settings.
pub struct CatalogueModel {
    encoders: Encoders,
    options: InputOptions,
    /// For each encoder the memory of a forward pass.
    workspaces: Vec<Workspace>,
    notes: Vec<String>,
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
    pub fn open(catalogue: &Catalogue, given: &[PathBuf], messages: Messages) -> anyhow::Result<Self> {
        let models = match given {
            [] => catalogue.manifest().models(),
            given => given.to_vec(),
        };
        ensure!(
            !models.is_empty(),
            "{} does not remember where its model is, because its rows come from a table: give --model MODEL",
            printable_path(catalogue.folder())
        );
        CatalogueModel::with_settings(catalogue.settings(), &models, messages)
    }

    /// Opens `models` with the settings of a catalogue's rows.
    ///
    /// # Errors
    /// As [`CatalogueModel::open`].
    pub fn with_settings(settings: &Provenance, models: &[PathBuf], messages: Messages) -> anyhow::Result<Self> {
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
            let path = converted_file(model, messages)
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
        // The rate and other values that the settings do not name follow from the model.
        if let Some(difference) = provenance(&encoders, &options).difference_in_values(settings) {
            bail!("this program does not embed as the catalogue's rows were embedded: {difference} in the catalogue");
        }
        Ok(CatalogueModel::new(encoders, options, notes))
    }

    /// Models that are open, with the options of a new catalogue.
    pub fn new(encoders: Encoders, options: InputOptions, notes: Vec<String>) -> Self {
        let workspaces = encoders.workspaces();
        CatalogueModel { encoders, options, workspaces, notes }
    }

    /// The models.
    pub fn encoders(&self) -> &Encoders {
        &self.encoders
    }

    /// The options for decoding inputs and cutting them into windows.
    pub fn options(&self) -> &InputOptions {
        &self.options
    }

    /// The settings that rows of these models record.
    pub fn settings(&self) -> Provenance {
        provenance(&self.encoders, &self.options)
    }

    /// Notes on assumptions about the audio input of the models.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Embeds a file, or the passage of it between two times in seconds, as the files of the catalogue are embedded: a segment
    /// for each window that is not silent. `on_window` gets the end of each window in seconds.
    ///
    /// # Errors
    /// Those of [`Encoders::embed_file`] and [`Encoders::embed_passage`].
    pub fn embed(
        &mut self,
        path: &Path,
        passage: Option<(f64, f64)>,
        on_window: &mut dyn FnMut(f64),
    ) -> Result<Vec<SeedSegment>, EmbedError> {
        let CatalogueModel { encoders, options, workspaces, .. } = self;
        let embedded = match passage {
            None => encoders.embed_file(workspaces, path, options, on_window),
            Some(times) => encoders.embed_passage(workspaces, path, times, options, on_window),
        };
        let segment =
            |EmbeddedWindow { start, end, embedding, .. }| SeedSegment { start, end, values: embedding.values };
        Ok(embedded?.windows.into_iter().map(segment).collect())
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
