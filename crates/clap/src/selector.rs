//! The choice of a mode in live use: the newest seconds of sound, resampled, embedded and compared with the modes' texts.

use mert_audio::Resampler;
use mert_live::LiveError;
use mert_live::mode::{ModeChoice, ModeInput, ModeSelector};

use crate::{ClapAudio, ClapError, Classifier, Decision, Modes, Result, Settings};

/// The amplitude below which sound counts as silence, -80 dBFS: the vector of noise of converters says nothing of a mode.
const SILENCE: f32 = 1e-4;

/// The length of the sound that is compared, and the time between comparisons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Listening {
    /// The seconds of sound that a choice is made from.
    pub seconds: f64,
    /// The seconds from a choice to the next.
    pub interval: f64,
}

impl Default for Listening {
    fn default() -> Self {
        Listening { seconds: 3.0, interval: 5.0 }
    }
}

/// The choice of a mode by CLAP.
pub struct ClapSelector {
    clap: ClapAudio,
    classifier: Classifier,
    listening: Listening,
    /// The time of the next choice.
    next: f64,
    /// The newest decision.
    decision: Option<Decision>,
}

impl ClapSelector {
    /// A choice among `modes`, whose vectors are of the checkpoint of `clap`.
    ///
    /// # Errors
    /// [`ClapError::OtherCheckpoint`], [`ClapError::Width`] and [`ClapError::Setting`].
    pub fn new(clap: ClapAudio, modes: Modes, settings: Settings, listening: Listening) -> Result<Self> {
        modes.check_checkpoint(clap.sha256())?;
        if modes.width() != clap.config().projection_dim {
            return Err(ClapError::Width { expected: modes.width(), found: clap.config().projection_dim });
        }
        let longest = clap.preprocessor().max_length_s as f64;
        if !(0.1..=longest).contains(&listening.seconds) {
            let expected = "at least 0.1 s, and at most the model's window (10 s)";
            return Err(ClapError::Setting { name: "length of sound", found: listening.seconds, expected });
        }
        if !(0.1..=3600.0).contains(&listening.interval) {
            let expected = "seconds from 0.1 to 3600";
            return Err(ClapError::Setting { name: "interval", found: listening.interval, expected });
        }
        let classifier = Classifier::new(modes, settings)?;
        Ok(ClapSelector { clap, classifier, listening, next: f64::NEG_INFINITY, decision: None })
    }

    /// Checks that a session has each of the modes, and that a text that it states for one is among those of the vectors.
    ///
    /// # Errors
    /// [`LiveError::UnknownMode`], and [`LiveError::Mode`] for a text without a vector.
    pub fn check_session(&self, session: &mert_live::mode::Modes) -> Result<(), LiveError> {
        let modes = self.classifier.modes();
        for name in modes.names() {
            if let Some(text) = &session.get(name)?.text
                && !modes.texts(name).any(|known| known == text)
            {
                let reason = format!("its text `{text}` has no vector: write the vectors of the modes' texts again");
                return Err(LiveError::Mode { mode: name.to_string(), reason });
            }
        }
        Ok(())
    }

    /// The newest decision; `None` before the first.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// The modes.
    pub fn modes(&self) -> &Modes {
        self.classifier.modes()
    }

    /// The current mode.
    pub fn mode(&self) -> Option<&str> {
        self.classifier.mode()
    }

    /// The decision by `samples` at `rate` hertz, which end at `time` seconds; `None` if the next choice is not due, the sound
    /// is too short, or it is silence.
    ///
    /// # Errors
    /// [`LiveError::Audio`] for a rate that cannot be resampled, [`LiveError::Selector`] if the forward pass fails.
    pub fn listen(&mut self, samples: &[f32], rate: u32, time: f64) -> Result<Option<&Decision>, LiveError> {
        // One sample of room for the rounding of whoever keeps the sound.
        let is_short = samples.len() as f64 + 1.0 < self.listening.seconds * f64::from(rate);
        // A microsecond of room for times that are sums.
        if time + 1e-6 < self.next || is_short || samples.iter().all(|sample| sample.abs() < SILENCE) {
            return Ok(None);
        }
        self.next = time + self.listening.interval;
        let mut resampler = Resampler::new(rate, self.clap.preprocessor().sampling_rate)?;
        let mut sound = Vec::new();
        resampler.push(samples, |piece| sound.extend_from_slice(piece));
        resampler.finish(|piece| sound.extend_from_slice(piece));
        let newest = sound.len().saturating_sub(self.clap.preprocessor().max_samples());
        let decided = self.clap.embed(&sound[newest..]).and_then(|vector| self.classifier.decide(time, &vector));
        let decision = decided.map_err(|error| LiveError::Selector { reason: error.to_string() })?;
        Ok(Some(self.decision.insert(decision)))
    }
}

impl std::fmt::Debug for ClapSelector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ClapSelector").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl ModeSelector for ClapSelector {
    fn name(&self) -> &'static str {
        "clap"
    }

    fn seconds(&self) -> f64 {
        self.listening.seconds
    }

    fn interval(&self) -> f64 {
        self.listening.interval
    }

    fn select(&mut self, input: &ModeInput<'_>) -> Result<Option<ModeChoice>, LiveError> {
        self.listen(input.samples, input.rate, input.time)?;
        let Some(mode) = self.classifier.mode() else { return Ok(None) };
        let scores = self.decision.iter().flat_map(|decision| &decision.scores);
        let score = self.classifier.modes().names().zip(scores).find(|(name, _)| *name == mode);
        Ok(Some(ModeChoice { mode: mode.to_string(), score: score.map(|(_, &score)| f64::from(score)) }))
    }
}
