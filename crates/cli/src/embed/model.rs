//! The models of a run: their names among the arguments and in the configuration, and their files with what those record.

use std::path::{Path, PathBuf};

use anyhow::bail;
use candle_core::Device;
use mert_arch::LayerSelection;
use mert_cli::embedding::OpenModel;
use mert_cli::hub::Messages;
use mert_cli::model_input::converted_file;
use mert_embed::{EmbedConfig, EmbedError, Embedder, Encoder, EncoderConfig, Pool};
use mert_runtime::DeviceKind;
use mert_table::printable_path;

use crate::args::Args;

/// An encoder that the options and the configuration choose.
pub(super) struct ChosenEncoder {
    section: EncoderConfig,
    /// The path of the configuration.
    config_path: PathBuf,
    /// The model as given, a path or a name on the hub.
    pub(super) model: PathBuf,
    pool: Pool,
    kind: DeviceKind,
    device: Device,
}

/// The encoders of the run in order, and the inputs.
pub(super) fn chosen_encoders(
    args: &Args,
    config_path: Option<&Path>,
) -> anyhow::Result<(Vec<ChosenEncoder>, Vec<PathBuf>)> {
    let config = config_path.map(EmbedConfig::read).transpose()?;
    let sections: Vec<EncoderConfig> = match &config {
        Some(config) => config.encoders().into_iter().cloned().collect(),
        None => vec![EncoderConfig::unconfigured()],
    };
    let config_path = config_path.unwrap_or(Path::new(""));
    let (models, inputs) = match &sections[..] {
        [section] => {
            let (model, inputs) = model_and_inputs(args, section)?;
            (vec![model], inputs)
        }
        _ => (models_of_several(args, &sections, config_path)?, args.arguments.clone()),
    };
    let mut chosen = Vec::with_capacity(sections.len());
    for (section, model) in sections.into_iter().zip(models) {
        let kind = device_kind(args, &section, config_path)?;
        let pool = match args.pool {
            Some(pool) => pool,
            None => section.pool(config_path)?.unwrap_or_default(),
        };
        if args.layers.is_none() {
            section.layer_selection(config_path)?;
        }
        let device = kind.open()?;
        chosen.push(ChosenEncoder { section, config_path: config_path.to_path_buf(), model, pool, kind, device });
    }
    Ok((chosen, inputs))
}

/// The model of the only encoder, and the inputs.
fn model_and_inputs(args: &Args, section: &EncoderConfig) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let named = args.model.clone().or_else(|| section.model_name.as_ref().map(PathBuf::from));
    let (model, inputs) = match (named, args.arguments.split_first()) {
        (Some(model), _) => (model, args.arguments.clone()),
        (None, Some((model, inputs))) => (model.clone(), inputs.to_vec()),
        (None, None) => {
            bail!("no model: give MODEL before the inputs, --model MODEL, or model_name in the configuration")
        }
    };
    Ok((model, inputs))
}

/// The models of several encoders, which only the configuration can name.
fn models_of_several(args: &Args, sections: &[EncoderConfig], config_path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let given =
        [("--model", args.model.is_some()), ("--layers", args.layers.is_some()), ("--project", args.project.is_some())];
    if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
        bail!(
            "{option} is for one encoder, and {} has encoder: hybrid: set model_name and layer in its sections, or choose \
             encoder: mert or wav2vec",
            printable_path(config_path)
        );
    }
    let model = |section: &EncoderConfig| match &section.model_name {
        Some(name) => Ok(PathBuf::from(name)),
        None => Err(section.error(config_path, "model_name: it is missing; name the converted file")),
    };
    Ok(sections.iter().map(model).collect::<Result<_, _>>()?)
}

/// The device that the options or the section of the configuration at `path` select.
fn device_kind(args: &Args, section: &EncoderConfig, path: &Path) -> Result<DeviceKind, EmbedError> {
    match (args.device, &section.device) {
        (Some(kind), _) => Ok(kind),
        (None, Some(name)) => name.parse().map_err(|reason| section.error(path, format!("device: {reason}"))),
        (None, None) => Ok(DeviceKind::Cpu),
    }
}

impl ChosenEncoder {
    /// The path of the converted file. A model of the hub is downloaded and converted first.
    pub(super) fn converted_file(&self, args: &Args) -> anyhow::Result<PathBuf> {
        converted_file(&self.model, Messages::of("mert-embed", args.run.quiet))
    }

    /// The encoder with the converted file at `path`, and notes on what is assumed about its audio input and which keys of
    /// its section are not used.
    pub(super) fn open(&self, path: &Path, args: &Args) -> anyhow::Result<(Encoder, Vec<String>)> {
        let model = OpenModel::open(path, args.arithmetic(), self.kind, &self.device)?;
        let mut notes: Vec<String> = model.notes.clone();
        let unknown: Vec<&str> = self.section.unknown.keys().map(String::as_str).collect();
        if !unknown.is_empty() {
            let keys = mert_arch::printable_line(&unknown.join(", "));
            notes.push(format!("{}: not used: {keys}", printable_path(&self.config_path)));
        }
        let layers = match &args.layers {
            Some(layers) => Some(layers.clone()),
            None => self.section.layers(model.model.config().num_hidden_states(), &self.config_path)?,
        };
        let layers = layers.unwrap_or_else(|| LayerSelection::Some([6].into()));
        let encoder = model.encoder(self.section.name, |model| {
            let embedder = Embedder::new(model, &layers, self.pool, args.normalize.into())?;
            match args.project {
                Some(head) => embedder.project(head.into()),
                None => Ok(embedder),
            }
        })?;
        Ok((encoder, notes))
    }
}
