//! The model in every width: bundles that the converter writes for the measurements, and any mix of them.

use std::collections::BTreeMap;
use std::path::Path;

use mert_fs::{FsError, TemporaryFolder};
use mert_musicgen::bundle::Bundle;
use mert_musicgen::{CpEncoder, LanguageModel};

use super::subject::{MusicgenSubject, WIDTHS};
use crate::{Progress, Result};

/// Bundles in a temporary folder, removed with it.
pub(super) struct Bundles {
    /// Everything in the float type.
    pub(super) float: Bundle,
    /// The same bits everywhere, in the order of [`WIDTHS`].
    widths: Vec<Bundle>,
    _folder: TemporaryFolder,
}

impl Bundles {
    /// Writes the bundles.
    pub(super) fn write(
        subject: &MusicgenSubject<'_>,
        folder: TemporaryFolder,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self> {
        let write = |name: &str, choice: &[usize], with_text_encoder: bool| {
            progress(Progress::Preparing(&format!("writing the model {name} for measurements")));
            let path = folder.path().join(name.replace(' ', "-"));
            std::fs::create_dir(&path).map_err(|source| FsError::write(&path, source))?;
            let quantize = Some(subject.quantize(choice));
            subject.conversion.write_for_measurements(&path, quantize, with_text_encoder, &|_| {})?;
            Ok::<_, crate::BudgetError>(Bundle::open(&path)?)
        };
        let dtype = subject.plan().dtype;
        let float = write(&format!("in {dtype}"), &subject.float(), true)?;
        let widths = WIDTHS.iter().enumerate();
        let widths = widths.map(|(i, bits)| write(&format!("in {bits} bits"), &subject.uniform(i), false));
        Ok(Bundles { float, widths: widths.collect::<Result<_>>()?, _folder: folder })
    }

    /// The model with the candidate `choice[i]` for each group i.
    pub(super) fn open(
        &self,
        subject: &MusicgenSubject<'_>,
        choice: &[usize],
    ) -> Result<(LanguageModel, Option<CpEncoder>)> {
        let groups = subject.groups().iter().zip(choice).filter(|(_, i)| **i < self.widths.len());
        let modules: BTreeMap<String, usize> =
            groups.flat_map(|(group, &i)| group.modules.iter().map(move |module| (module.clone(), i))).collect();
        let others: Vec<&Bundle> = self.widths.iter().collect();
        let (mut lm, cp) = LanguageModel::open_mixed(&self.float, &others, &modules)?;
        // What is measured is the weights, not the rounding of cached keys and values.
        lm.keep_f32();
        Ok((lm, cp))
    }
}

/// The language model of a written bundle, as its users open it.
pub(super) fn open_written(path: &Path) -> Result<(LanguageModel, Option<CpEncoder>)> {
    let (mut lm, cp) = LanguageModel::open(&Bundle::open(path)?)?;
    lm.keep_f32();
    Ok((lm, cp))
}
