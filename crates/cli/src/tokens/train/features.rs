//! A training on frames that are computed already.

use anyhow::{bail, ensure};
use mert_cli::terminal::{Exit, say};
use mert_fs::sha256_file;
use mert_table::printable_path;
use mert_tokens::kmeans::Frames;
use mert_tokens::train::{FeatureFile, Part, Store, copies, held_out};
use mert_tokens::vocabulary::Normalize;

use super::run::{Run, TrainingInputs, mapped_frames, say_copy};

impl Run<'_> {
    /// Trains on files of features.
    pub(super) fn on_features(self) -> anyhow::Result<Exit> {
        let Run { args, settings, .. } = &self;
        let originals = copies(&args.arguments);
        let mut paths = Vec::with_capacity(args.arguments.len());
        for (path, original) in args.arguments.iter().zip(originals) {
            match original {
                Some(original) => say_copy(path, &args.arguments[original], args.run.quiet()),
                None => paths.push(path),
            }
        }
        let files: Vec<FeatureFile> = paths.iter().map(|path| FeatureFile::open(path)).collect::<Result<_, _>>()?;
        let [first, others @ ..] = &files[..] else { bail!("no features: give .npy files") };
        for (file, path) in others.iter().zip(&paths[1..]) {
            ensure!(
                file.dim() == first.dim(),
                "{}: frames of {} values, and those of {} have {}",
                printable_path(path),
                file.dim(),
                printable_path(paths[0]),
                first.dim()
            );
        }
        self.check_start(first.dim())?;
        let digests: Vec<String> = paths.iter().map(|path| sha256_file(path)).collect::<Result<_, _>>()?;
        let lines = format!(
            "features {}\nnormalize {}\nheld out {} by seed {}\n",
            digests.join(" "),
            settings.normalize,
            args.held_out,
            settings.seed
        );
        let kmeans = settings.lines(args.start.as_deref());
        let mut store = Store::open(&args.output, first.dim(), &lines, &kmeans, args.restart)?;
        let held = held_out(files.len(), args.held_out, settings.seed);
        let (mut mapped, mut held_mapped) = (None, None);
        let frames = match (others, settings.normalize, first.as_frames()) {
            // One file of float32 is used where it lies.
            ([], Normalize::None, Some(frames)) => {
                first.check_finite()?;
                frames
            }
            _ => {
                let prepare = |values: &mut [f32]| settings.normalize.apply(values, first.dim());
                for (index, file) in files.iter().enumerate().skip(store.files().len()) {
                    let part = if held[index] { Part::HeldOut } else { Part::Training };
                    file.store(&mut store, index, part, &prepare)?;
                }
                (mapped, held_mapped) = (store.mapped(Part::Training)?, store.mapped(Part::HeldOut)?);
                mapped_frames(mapped.as_ref(), first.dim(), settings.k)?
            }
        };
        let held_frames =
            held_mapped.as_ref().and_then(|file| Frames::mapped(file, 0..file.bytes().len(), first.dim()));
        if held_frames.is_none() && !args.run.quiet() {
            say("no file of features is held out, so that nothing shows whether the tokens fit other music");
        }
        // Files of features are not divided: a run ends where one of them does.
        let ends = if mapped.is_some() { store.ends(Part::Training) } else { vec![first.frames()] };
        let held_out = held_frames.map(|frames| (frames, store.ends(Part::HeldOut)));
        let training = digests.into_iter().zip(&held).filter(|&(_, &held)| !held).map(|(digest, _)| digest).collect();
        let inputs = TrainingInputs { frames, ends, held_out, record: None, digests: training };
        self.finish(store, &inputs, &[], files.len())
    }
}
