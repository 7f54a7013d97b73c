//! Model folders: the weights, `config.json` and `preprocessor_config.json`, for other programs and, with a model card, for
//! MLX and this toolkit.
//!
//! - this file: the folder; `config.rs`: the `config.json` of an MLX folder; `card.rs`: the model card.
//! - `shards/`: the division of the weights into files, and their index.

mod card;
mod config;
mod shards;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use mert_arch::{CONFIG_FILE, Layout};
use mert_checkpoint::read_header;
use mert_fs::{AtomicFolder, FsError, MappedFile, check_folder_output};

pub use self::shards::{ByteSize, MAX_SHARD_SIZE};
pub(crate) use self::shards::{INDEX_FILE, Shard, index_json, is_shard, shards_of_steps};
use super::output::{Written, refuse_input_as_output};
use super::safetensors::{Contents, WeightsFile, form, tensor_count, write_files};
use super::target::{PreparedOutput, Target, WriteJob};
use crate::plan::Plan;
use crate::programs::{Companion, MODEL_FOLDER_FILES, MODEL_WEIGHTS, Program};
use crate::{ConvertError, Result};

/// The kind of folder that may be replaced, for messages.
const MODEL_FOLDER: &str = "a folder with nothing but config.json, preprocessor_config.json, README.md and model.safetensors or its \
                            shards with their index, as mert-convert writes it";

/// The name of the model card, as the Hugging Face hub shows it.
pub(crate) const CARD: &str = "README.md";

/// A folder that a program loads: of another program, or of MLX and this toolkit.
#[derive(Debug, Clone, Copy)]
pub struct ModelFolder {
    /// The largest file of weights; larger weights are divided into several.
    pub max_shard_size: ByteSize,
}

impl Default for ModelFolder {
    fn default() -> Self {
        ModelFolder { max_shard_size: MAX_SHARD_SIZE }
    }
}

impl Target for ModelFolder {
    fn check_output(&self, output: &Path, force: bool) -> Result<()> {
        Ok(check_folder_output(output, force, MODEL_FOLDER, is_model_folder).map(drop)?)
    }

    fn layout(&self, requested: Option<Layout>) -> Result<Layout> {
        let reason = "is for a file: a folder is for MLX, whose convolutions have another order; give NAME.safetensors";
        match requested {
            Some(Layout::Torch) => Err(ConvertError::TargetOption { option: "--layout candle", reason }),
            Some(Layout::Mlx) | None => Ok(Layout::Mlx),
        }
    }

    fn prepare<'p>(&self, plan: &'p Plan) -> Result<Box<dyn PreparedOutput + 'p>> {
        plan.check_stated_input("a model folder")?;
        let shards = shards_of_steps(&plan.steps, self.max_shard_size);
        if plan.program == Some(Program::MlxHubert) && shards.len() > 1 {
            return Err(ConvertError::TargetOption {
                option: "--max-shard-size",
                reason: "divides the weights into several files, of which mlx-hubert reads none; give a larger size",
            });
        }
        Ok(Box::new(Prepared { plan, shards }))
    }
}

/// A folder of a plan.
struct Prepared<'p> {
    plan: &'p Plan,
    shards: Vec<Shard>,
}

impl Prepared<'_> {
    /// The tensors of a shard. The counters are in the first.
    fn contents(&self, number: usize) -> Contents<'_> {
        let counters = if number == 0 { &self.plan.counters[..] } else { &[] };
        Contents { steps: &self.plan.steps[self.shards[number].steps.clone()], counters }
    }

    /// Whether the folder has an index: of several files, and in MLX folders, where mlx-lm writes one for a single file, too.
    fn has_index(&self) -> bool {
        self.shards.len() > 1 || self.plan.program.is_none()
    }

    /// The files beside the weights that do not depend on these.
    fn companions(&self) -> Vec<Companion> {
        let mut companions = self.plan.companions();
        if self.plan.program.is_none() {
            companions.push(Companion { name: CONFIG_FILE, text: config::text(self.plan) });
        }
        if self.has_index() {
            let contents: Vec<_> = (0..self.shards.len()).map(|number| self.contents(number)).collect();
            companions.push(Companion { name: INDEX_FILE, text: index_json(&self.shards, &contents) });
        }
        companions
    }
}

impl PreparedOutput for Prepared<'_> {
    fn tensor_count(&self) -> usize {
        tensor_count(self.plan)
    }

    fn byte_len(&self) -> usize {
        self.plan.byte_len()
    }

    fn form(&self) -> String {
        form(self.plan)
    }

    fn records_fidelity(&self) -> bool {
        self.plan.program.is_none()
    }

    fn details(&self) -> Vec<String> {
        let weights = match &self.shards[..] {
            [one] => one.file.clone(),
            [first, .., last] => format!("{} to {}", first.file, last.file),
            [] => String::new(),
        };
        let [config, _, preprocessor] = MODEL_FOLDER_FILES;
        let mut files = vec![config.to_string(), weights];
        files.extend(self.has_index().then(|| INDEX_FILE.to_string()));
        files.push(preprocessor.to_string());
        files.extend(self.plan.program.is_none().then(|| CARD.to_string()));
        vec![format!("a folder with {}", files.join(", "))]
    }

    /// The weights are written as a file's are, all shards at the same time. Everything is read back before the folder is renamed
    /// to the output's name.
    fn write(&self, job: &WriteJob<'_>) -> Result<Written> {
        let (plan, output) = (self.plan, job.output);
        refuse_input_as_output(plan, job.source, output)?;
        let folder = AtomicFolder::create(output, job.force, MODEL_FOLDER, is_model_folder)?;
        let temporary = folder.temporary_path();
        let paths: Vec<PathBuf> = self.shards.iter().map(|shard| temporary.join(&shard.file)).collect();
        let files = paths.iter().map(|path| create(path, output)).collect::<Result<Vec<File>>>()?;
        let weights = paths.iter().zip(&files).enumerate();
        let weights: Vec<_> =
            weights.map(|(i, (path, file))| WeightsFile { contents: self.contents(i), file, path }).collect();
        let mut written = write_files(plan, job, &weights)?;
        files.iter().try_for_each(File::sync_all).map_err(|source| FsError::write(output, source))?;
        let mut companions = self.companions();
        let text_len = |companions: &[Companion]| companions.iter().map(|file| file.text.len() as u64).sum::<u64>();
        write_companions(&companions, temporary, output)?;
        written.fidelity = job.inspect(temporary)?;
        if plan.program.is_none() {
            let card = Companion { name: CARD, text: card::text(plan, &written) };
            write_companions(std::slice::from_ref(&card), temporary, output)?;
            companions.push(card);
        }
        written.bytes += text_len(&companions);
        folder.commit()?;
        Ok(written)
    }
}

/// Writes text files and reads them back.
fn write_companions(companions: &[Companion], folder: &Path, output: &Path) -> Result<()> {
    companions.iter().try_for_each(|Companion { name, text }| write_text(&folder.join(name), text, output))
}

/// Writes a text file of the output and reads it back.
pub(crate) fn write_text(path: &Path, text: &str, output: &Path) -> Result<()> {
    let mut file = create(path, output)?;
    file.write_all(text.as_bytes()).map_err(|source| FsError::write(output, source))?;
    file.sync_all().map_err(|source| FsError::write(output, source))?;
    if fs::read(path).map_err(|source| FsError::write(output, source))? != text.as_bytes() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(ConvertError::read_back(output, format!("{name} differs")));
    }
    Ok(())
}

/// Creates a file that is read back later.
pub(crate) fn create(path: &Path, output: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path);
    Ok(file.map_err(|source| FsError::write(output, source))?)
}

/// Whether a folder holds no other files than a model folder has, and weights that this program wrote, and so may be replaced.
fn is_model_folder(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    let entries: Vec<_> = entries.collect();
    let is_weights = |name: &str| name == MODEL_WEIGHTS || is_shard(name);
    let may_be_replaced = |entry: &std::io::Result<fs::DirEntry>| {
        let Ok(entry) = entry else { return false };
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return false };
        let is_known = is_weights(name) || MODEL_FOLDER_FILES.contains(&name) || [CARD, INDEX_FILE].contains(&name);
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        is_file && is_known && (!is_weights(name) || is_ours(&entry.path()))
    };
    let has_weights = entries.iter().flatten().any(|entry| entry.file_name().to_str().is_some_and(is_weights));
    (entries.is_empty() || has_weights) && entries.iter().all(may_be_replaced)
}

/// Whether a safetensors file names this program as the one that wrote it. Another program's would be lost.
pub(crate) fn is_ours(weights: &Path) -> bool {
    let Ok(file) = MappedFile::open(weights) else { return false };
    let Ok((header, _)) = read_header(file.bytes()) else { return false };
    let generator = header.metadata().as_ref().and_then(|entries| entries.get("generator"));
    generator.is_some_and(|generator| generator.starts_with("mert-convert "))
}
