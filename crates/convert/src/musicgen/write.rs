//! The writing of a bundle: all files of weights at the same time, then the files that describe them, then the folder's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use mert_arch::CONFIG_FILE;
use mert_checkpoint::Checkpoint;
use mert_fs::{AtomicFolder, FsError, MappedFile, check_folder_output};
use serde::Serialize;

use super::kind::RecognizedMusicgen;
use super::options::MusicgenOptions;
use super::plan::{MusicgenPlan, Planned};
use super::{card, config};
use crate::plan::{QuantizeOptions, Step};
use crate::write::{
    CARD, DeltaKept, INDEX_FILE, Origin, Shard, WeightsFile, WeightsJob, WrittenWeights, check_delta_kept, create,
    index_json, is_ours, is_shard, write_text, write_weights,
};
use crate::{ConvertError, Result};

/// The kind of folder that may be replaced, for messages.
const BUNDLE: &str = "a folder with nothing but config.json, README.md, model.safetensors or its shards with their index, and such \
                      folders t5 and encodec, as mert-convert writes it";

/// The files of a bundle's folders beside the weights.
const FILES: [&str; 4] = [CONFIG_FILE, CARD, INDEX_FILE, "tokenizer.json"];

/// The folders within a bundle.
const FOLDERS: [&str; 2] = ["t5", "encodec"];

/// A function that is called after each step.
type OnStep<'a> = dyn Fn(&Step) + Sync + 'a;

/// A check of what the weights have of an adapter's changes.
type CheckDelta<'a> = dyn Fn(&str, Option<&DeltaKept>) -> Result<()> + 'a;

/// The weights to write.
#[derive(Clone, Copy)]
struct Filling<'a> {
    /// The folder that is filled.
    folder: &'a Path,
    /// The path of the output, for errors.
    output: &'a Path,
    /// The numbers of the parts.
    parts: &'a [usize],
    /// Computes the sources' digests; `None` if the flag is set before they are known.
    digest: &'a (dyn Fn(&AtomicBool) -> Option<String> + Sync),
}

/// A planned conversion of a MusicGen.
pub struct MusicgenConversion {
    planned: Planned,
    options: MusicgenOptions,
}

/// A written bundle.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WrittenMusicgen {
    /// The size of all files in bytes.
    pub bytes: u64,
    /// The size of each file of weights in bytes, by its path in the bundle.
    pub files: BTreeMap<String, u64>,
    /// The SHA-256 of each file of the sources in hexadecimal.
    pub sources: BTreeMap<String, String>,
    /// What the weights have of the changes that were merged.
    pub delta_kept: Option<DeltaKept>,
}

impl MusicgenConversion {
    /// Plans the conversion of a recognized input. No weight is converted.
    ///
    /// # Errors
    /// [`ConvertError::Musicgen`](crate::ConvertError::Musicgen) for files that are not those of a model; errors of reading.
    pub fn new(input: RecognizedMusicgen, options: &MusicgenOptions) -> Result<Self> {
        Ok(MusicgenConversion { planned: Planned::new(input, options)?, options: options.clone() })
    }

    /// The plan.
    pub fn plan(&self) -> &MusicgenPlan {
        &self.planned.plan
    }

    /// Checks that a bundle may be written to `output`: nothing is there, or with `force` a bundle.
    ///
    /// # Errors
    /// [`FsError`] as [`ConvertError::Output`](crate::ConvertError::Output).
    pub fn check_output(output: &Path, force: bool) -> Result<()> {
        Ok(check_folder_output(output, force, BUNDLE, is_bundle).map(drop)?)
    }

    /// The plan with other layers quantized, or in another way. The patterns of `quantize` must be those of the options that
    /// the conversion was planned with.
    pub fn plan_with(&self, quantize: Option<QuantizeOptions>) -> MusicgenPlan {
        self.planned.requantized(&MusicgenOptions { quantize, ..self.options.clone() })
    }

    /// The same conversion with the plan of [`plan_with`](Self::plan_with).
    pub fn requantized(&self, quantize: Option<QuantizeOptions>) -> Self {
        let Planned { checkpoint, digest_names, .. } = &self.planned;
        let plan = self.plan_with(quantize.clone());
        let planned = Planned { plan, checkpoint: checkpoint.clone(), digest_names: digest_names.clone() };
        MusicgenConversion { planned, options: MusicgenOptions { quantize, ..self.options.clone() } }
    }

    /// Executes the plan on the threads of the current rayon pool. The bundle appears whole or not at all, with the same bytes on
    /// any number of threads. `on_step` is called after each step.
    ///
    /// # Errors
    /// [`ConvertError`]; the output is then as it was before.
    pub fn write(&self, output: &Path, force: bool, on_step: &OnStep<'_>) -> Result<WrittenMusicgen> {
        self.write_inspected(output, force, on_step, &|_| Ok(String::new()))
    }

    /// Writes as [`write`](Self::write) does, and has the complete bundle checked at a temporary path before it appears under
    /// its name. `inspect` returns a section for the model card, or the reason to discard the output.
    ///
    /// # Errors
    /// [`ConvertError::Inspection`] with that reason, and those of [`write`](Self::write).
    pub fn write_inspected(
        &self,
        output: &Path,
        force: bool,
        on_step: &OnStep<'_>,
        inspect: &dyn Fn(&Path) -> Result<String, String>,
    ) -> Result<WrittenMusicgen> {
        let Planned { plan, checkpoint, digest_names } = &self.planned;
        self.refuse_input_as_output(output)?;
        let folder = AtomicFolder::create(output, force, BUNDLE, is_bundle)?;
        let temporary = folder.temporary_path();
        let sources = checkpoint.files();
        let digest = |cancelled: &AtomicBool| digest_names.digests(&sources, cancelled);
        let parts: Vec<usize> = (0..plan.parts.len()).collect();
        let filling = Filling { folder: temporary, output, parts: &parts, digest: &digest };
        let (places, WrittenWeights { file_bytes, digest, delta_kept }) =
            self.fill(plan, &filling, on_step, &|_, delta_kept| check_delta_kept(plan.min_delta_kept, delta_kept))?;
        let mut texts = texts(plan, &places, &digest, delta_kept.as_ref());
        let write = |(name, text): &(String, String)| write_text(&temporary.join(name), text, output);
        texts.iter().filter(|(name, _)| name != CARD).try_for_each(write)?;
        let discarded = |reason| ConvertError::Inspection { path: output.to_path_buf(), reason };
        let section = inspect(temporary).map_err(discarded)?;
        if let Some(card) = texts.iter_mut().find(|(name, _)| name == CARD) {
            card.1 += &section;
            write(card)?;
        }
        let text_bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
        let path = |place: &Place| plan.parts[place.part].path(&place.shard.file);
        let files = places.iter().map(path).zip(file_bytes).collect::<BTreeMap<_, _>>();
        folder.commit()?;
        Ok(WrittenMusicgen {
            bytes: files.values().sum::<u64>() + text_bytes as u64,
            files,
            sources: serde_json::from_str(&digest).unwrap_or_default(),
            delta_kept,
        })
    }

    /// Writes a bundle for measurements into an empty folder, quantized as [`plan_with`](Self::plan_with) says: the language
    /// model, and T5 if `with_text_encoder` says so and the plan has it. The sources' digests are left out, and little of an
    /// adapter's change may be kept.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub fn write_for_measurements(
        &self,
        folder: &Path,
        quantize: Option<QuantizeOptions>,
        with_text_encoder: bool,
        on_step: &OnStep<'_>,
    ) -> Result<()> {
        let (plan, digest_names) = (self.plan_with(quantize), &self.planned.digest_names);
        let is_written = |part: usize| match plan.parts[part].folder {
            "" => true,
            folder => folder == "t5" && with_text_encoder,
        };
        let parts: Vec<usize> = (0..plan.parts.len()).filter(|&part| is_written(part)).collect();
        let digest = |_: &AtomicBool| Some(digest_names.placeholder());
        let filling = Filling { folder, output: folder, parts: &parts, digest: &digest };
        let (places, WrittenWeights { digest, delta_kept, .. }) =
            self.fill(&plan, &filling, on_step, &|_, _| Ok(()))?;
        for (name, text) in texts(&plan, &places, &digest, delta_kept.as_ref()) {
            if folder.join(&name).parent().is_some_and(Path::is_dir) {
                write_text(&folder.join(name), &text, folder)?;
            }
        }
        Ok(())
    }

    /// Writes the weights of some parts into a folder, and returns the places of the files.
    fn fill(
        &self,
        plan: &MusicgenPlan,
        filling: &Filling<'_>,
        on_step: &OnStep<'_>,
        check: &CheckDelta<'_>,
    ) -> Result<(Vec<Place>, WrittenWeights)> {
        let Planned { checkpoint, digest_names, .. } = &self.planned;
        let Filling { folder, output, parts, digest } = *filling;
        let mut places = Vec::new();
        for &part in parts {
            let planned = &plan.parts[part];
            if !planned.folder.is_empty() {
                fs::create_dir(folder.join(planned.folder)).map_err(|source| FsError::write(output, source))?;
            }
            places.extend(planned.shards(self.options.max_shard_size).into_iter().map(|shard| Place { part, shard }));
        }
        let path = |place: &Place| plan.parts[place.part].path(&place.shard.file);
        let paths: Vec<PathBuf> = places.iter().map(|place| folder.join(path(place))).collect();
        let files = paths.iter().map(|path| create(path, output)).collect::<Result<Vec<File>>>()?;
        let weights: Vec<WeightsFile<'_>> = places
            .iter()
            .zip(paths.iter().zip(&files))
            .map(|(place, (path, file))| WeightsFile {
                contents: plan.parts[place.part].contents(&place.shard),
                file,
                path,
            })
            .collect();
        let job = WeightsJob {
            origin: Origin { checkpoint: checkpoint.as_ref(), digest },
            output,
            on_step,
            metadata: &|file, digests| plan.metadata(&plan.parts[places[file].part], digests),
            possible_digests: &[digest_names.placeholder()],
            check,
        };
        let written = write_weights(&job, &weights)?;
        files.iter().try_for_each(File::sync_all).map_err(|source| FsError::write(output, source))?;
        drop(weights);
        Ok((places, written))
    }

    /// Refuses an output that holds one of the inputs, which would be replaced.
    fn refuse_input_as_output(&self, output: &Path) -> Result<()> {
        let Ok(output) = fs::canonicalize(output) else { return Ok(()) };
        let files = self.planned.checkpoint.files();
        let inside = |file: &&MappedFile| fs::canonicalize(file.path()).is_ok_and(|path| path.starts_with(&output));
        match files.iter().any(inside) {
            true => Err(FsError::OutputIsInput { path: output }.into()),
            false => Ok(()),
        }
    }
}

/// The text files of the bundle with their paths in it.
fn texts(
    plan: &MusicgenPlan,
    places: &[Place],
    digests: &str,
    delta_kept: Option<&DeltaKept>,
) -> Vec<(String, String)> {
    let mut texts = vec![
        (CONFIG_FILE.to_string(), config::text(plan, digests)),
        (CARD.into(), card::text(plan, digests, delta_kept)),
    ];
    for (number, part) in plan.parts.iter().enumerate() {
        let shards: Vec<Shard> =
            places.iter().filter(|place| place.part == number).map(|place| place.shard.clone()).collect();
        let contents: Vec<_> = shards.iter().map(|shard| part.contents(shard)).collect();
        texts.push((part.path(INDEX_FILE), index_json(&shards, &contents)));
        texts.extend(part.companions.iter().map(|file| (part.path(&file.name), file.text.clone())));
    }
    texts
}

/// A file of weights: the number of its part, and its tensors there.
struct Place {
    part: usize,
    shard: Shard,
}

/// Whether a folder holds nothing but what a bundle has, with weights that this program wrote, and so may be replaced.
fn is_bundle(folder: &Path) -> bool {
    let mut folders = BTreeSet::from([folder.to_path_buf()]);
    let mut has_weights = false;
    let mut is_empty = true;
    while let Some(current) = folders.pop_first() {
        let Ok(entries) = fs::read_dir(&current) else { return false };
        for entry in entries {
            let Ok(entry) = entry else { return false };
            is_empty = false;
            let (name, kind) = (entry.file_name(), entry.file_type());
            let (Some(name), Ok(kind)) = (name.to_str(), kind) else { return false };
            let is_weights = name == "model.safetensors" || is_shard(name);
            let may_be_replaced = match (kind.is_dir(), kind.is_file()) {
                (true, _) if current == folder && FOLDERS.contains(&name) => folders.insert(entry.path()),
                (_, true) if is_weights => is_ours(&entry.path()),
                (_, true) => FILES.contains(&name),
                _ => false,
            };
            has_weights |= is_weights;
            if !may_be_replaced {
                return false;
            }
        }
    }
    has_weights || is_empty
}
