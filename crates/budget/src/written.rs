//! The errors of a written model, for its model card.

use std::path::Path;

use mert_checkpoint::Source;
use mert_convert::PlanOptions;
use mert_convert::write::Fidelity;

use crate::audio::{Audio, AudioSource};
use crate::clips::{Clips, measure_file};
use crate::subject::Subject;
use crate::{BudgetError, Result};

/// The number of clips.
const CLIPS: usize = 2;

/// Compares the hidden states of a written file or folder with those of its checkpoint in f32, on generated clips of 5 s.
/// `options` are those of the conversion. Both models are in memory, one after the other.
///
/// # Errors
/// [`BudgetError::Convert`] for a checkpoint that cannot be planned, [`BudgetError::Model`] for a model that cannot be loaded
/// or run, [`BudgetError::NotFinite`].
pub fn fidelity(source: &Source, options: &PlanOptions, written: &Path) -> Result<Fidelity> {
    let subject = Subject::new(source, options)?;
    let audio = Audio::load(&AudioSource::BuiltIn, subject.plan())?;
    let clips = &audio.held_out[..CLIPS.min(audio.held_out.len())];
    let references = Clips::new(&subject.exact_model()?, clips)?;
    let found = measure_file(written, &references)?;
    if let Some(state) = found.hidden_states.iter().position(|state| !state.nmse.is_finite()) {
        return Err(BudgetError::NotFinite { state, clip: "the written model's output".into() });
    }
    let clips = format!("{} generated clips of {} s", clips.len(), audio.description.seconds);
    Ok(Fidelity { clips, hidden_states: found.hidden_states, sections: String::new() })
}
