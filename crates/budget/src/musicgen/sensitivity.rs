//! The divergence that each group adds in each width, all other weights being unquantized.

use mert_musicgen::{CpEncoder, ForcedPass, ForcedPiece, LanguageModel};

use super::bundles::Bundles;
use super::divergence::of_rows;
use super::subject::{MusicgenSubject, WIDTHS};
use crate::{Progress, Result};

/// The divergences of groups in their widths.
pub(super) struct Sensitivity {
    /// For each group, the losses of each width, as [`Losses::losses`](crate::repair::Losses::losses) orders them.
    pub(super) groups: Vec<Vec<Vec<f64>>>,
    /// The number of losses.
    losses: usize,
}

impl Sensitivity {
    /// Measures every width of every group, from the group's layer on. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// Those of opening and running the model.
    pub(super) fn measure(
        subject: &MusicgenSubject<'_>,
        bundles: &Bundles,
        (lm, cp): (&LanguageModel, Option<&CpEncoder>),
        pieces: &[ForcedPiece],
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self> {
        let codes = lm.config().vocab_size;
        progress(Progress::Measurements(subject.groups().len() * WIDTHS.len()));
        let passes = pieces.iter().map(|piece| ForcedPass::new(lm, cp, piece));
        let passes: Vec<ForcedPass> = passes.collect::<Result<_, _>>()?;
        let mut groups = Vec::with_capacity(subject.groups().len());
        for (number, group) in subject.groups().iter().enumerate() {
            let mut widths = Vec::with_capacity(WIDTHS.len());
            for width in 0..WIDTHS.len() {
                let mut choice = subject.float();
                choice[number] = width;
                let (lm, cp) = bundles.open(subject, &choice)?;
                let mut losses = Vec::with_capacity(2 * passes.len());
                for pass in &passes {
                    let logits = pass.logits_from(group.layer, &lm, cp.as_ref())?;
                    losses.extend(of_rows(&logits, pass.logits(), codes));
                }
                widths.push(losses);
                progress(Progress::Measured(&group.name));
            }
            groups.push(widths);
        }
        Ok(Sensitivity { groups, losses: 2 * passes.len() })
    }

    /// The losses of a mix if those of its groups add up.
    pub(super) fn predict(&self, choice: &[usize]) -> Vec<f64> {
        let mut sum = vec![0.0; self.losses];
        for losses in self.groups.iter().zip(choice).filter_map(|(group, &i)| group.get(i)) {
            sum.iter_mut().zip(losses).for_each(|(sum, loss)| *sum += loss);
        }
        sum
    }
}
