//! Bits that are chosen by measurement: measures the layers, chooses, and checks the weights as written.

use std::path::Path;

use anyhow::bail;
use mert_budget::{Audio, Chosen, Goal, Study, Subject};
use mert_convert::write::Fidelity;

use super::{Conversion, Listener};

/// A choice of bits, and the measurements that check it.
pub(super) struct MeasuredBits<'s> {
    study: &'s Study<'s>,
    pub(super) chosen: Chosen,
}

/// Measures the layers of a model and chooses their bits for `goal`, then runs `convert` with the choice.
pub(super) fn with_chosen_bits<R>(
    conversion: &Conversion<'_>,
    goal: Goal,
    listener: &dyn Listener,
    convert: impl FnOnce(&MeasuredBits<'_>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    if conversion.other_form().is_some() {
        bail!(
            "--budget and --size are for safetensors files and folders of this toolkit and MLX, whose layers can differ in bits"
        );
    }
    let subject = Subject::new(conversion.source, &conversion.options)?;
    subject.check(goal)?;
    let audio = Audio::load(&conversion.audio, subject.plan())?;
    let threads = conversion.threads;
    let study = threads.install(|| Study::new(&subject, &audio, &|progress| listener.on_measurement(progress)))?;
    let chosen = threads.install(|| study.search(goal, &|progress| listener.on_measurement(progress)));
    listener.on_choice();
    convert(&MeasuredBits { study: &study, chosen: chosen? })
}

impl MeasuredBits<'_> {
    /// Checks written weights on held-out clips.
    ///
    /// # Errors
    /// The reason to discard them.
    pub(super) fn inspect(&self, written: &Path) -> Result<Option<Fidelity>, String> {
        let found = self.study.check_file(written, &self.chosen).map_err(|error| error.to_string())?;
        let report = &self.chosen.report;
        let clips = format!("{} held-out clips of {} s", report.audio.held_out.len(), report.audio.seconds);
        Ok(Some(Fidelity { clips, hidden_states: found.hidden_states, sections: report.to_markdown() }))
    }
}
