//! The choice of a mode by the scores of a sound, with rules that keep it from flapping.

use serde::Serialize;

use super::Modes;
use crate::{ClapError, Result};

/// The thresholds at which the mode changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The smallest score that chooses a mode. Scores are cosines; with the published checkpoint 0.3 is what
    /// [MusicHal](https://github.com/jonassjovaag/CCM4) takes.
    pub threshold: f32,
    /// The margin by which another mode must be better than the current one.
    pub margin: f32,
    /// The shortest time that a mode stays, in seconds.
    pub min_stay: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { threshold: 0.3, margin: 0.05, min_stay: 10.0 }
    }
}

/// The reason for a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The best mode is the current one.
    Same,
    /// The mode is now the best one.
    Changed,
    /// No score reaches the threshold; the mode stays.
    BelowThreshold,
    /// The best mode is not better than the current one by the margin; the mode stays.
    WithinMargin,
    /// The current mode has not stayed for the shortest time; the mode stays.
    TooSoon,
}

/// The decision about a sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The mode from now on; `None` as long as no score has reached the threshold.
    pub mode: Option<String>,
    /// The mode with the best score; of equal ones the first of the file.
    pub best: String,
    /// Its score.
    pub score: f32,
    /// The score of each mode, in the order of the file.
    pub scores: Vec<f32>,
    /// The reason.
    pub reason: Reason,
}

/// The current mode, and the rules by which it changes.
#[derive(Debug, Clone)]
pub struct Classifier {
    modes: Modes,
    settings: Settings,
    /// The current mode with the time in seconds since which it is.
    current: Option<(usize, f64)>,
    /// The time of the newest sound.
    time: Option<f64>,
}

impl Classifier {
    /// A classifier without a current mode.
    ///
    /// # Errors
    /// [`ClapError::Setting`].
    pub fn new(modes: Modes, settings: Settings) -> Result<Self> {
        let check = |name, found: f64, low, high, expected| match (low..=high).contains(&found) {
            true => Ok(()),
            false => Err(ClapError::Setting { name, found, expected }),
        };
        check("threshold", settings.threshold.into(), -1.0, 1.0, "a cosine from -1 to 1")?;
        check("margin", settings.margin.into(), 0.0, 2.0, "a difference of cosines from 0 to 2")?;
        check("minimum stay", settings.min_stay, 0.0, 86_400.0, "seconds from 0 to 86400")?;
        Ok(Classifier { modes, settings, current: None, time: None })
    }

    /// The modes.
    pub fn modes(&self) -> &Modes {
        &self.modes
    }

    /// The current mode.
    pub fn mode(&self) -> Option<&str> {
        self.current.map(|(mode, _)| self.modes.name(mode))
    }

    /// The decision about a sound that ends at `time` seconds, by its vector.
    ///
    /// # Errors
    /// [`ClapError::Order`] if `time` lies before that of the last sound or is not a number, and those of [`Modes::scores`].
    pub fn decide(&mut self, time: f64, sound: &[f32]) -> Result<Decision> {
        let before = self.time.unwrap_or(f64::NEG_INFINITY);
        if time.is_nan() || time < before {
            return Err(ClapError::Order { found: time, before });
        }
        let scores = self.modes.scores(sound)?;
        self.time = Some(time);
        let (best, score) = first_largest(&scores);
        let Settings { threshold, margin, min_stay } = self.settings;
        let reason = match self.current {
            Some((current, _)) if current == best => Reason::Same,
            _ if score < threshold => Reason::BelowThreshold,
            Some((current, _)) if score - scores[current] < margin => Reason::WithinMargin,
            Some((_, since)) if time - since < min_stay => Reason::TooSoon,
            _ => Reason::Changed,
        };
        if reason == Reason::Changed {
            self.current = Some((best, time));
        }
        Ok(Decision { mode: self.mode().map(Into::into), best: self.modes.name(best).into(), score, scores, reason })
    }
}

/// The first of the largest scores; files have at least one mode.
fn first_largest(scores: &[f32]) -> (usize, f32) {
    scores.iter().enumerate().fold(
        (0, f32::NEG_INFINITY),
        |best, (index, &score)| {
            if score > best.1 { (index, score) } else { best }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::read;
    use super::*;

    /// Two modes along the axes of a plane: a sound at an angle has the scores cos and sin.
    fn classifier(settings: Settings) -> Classifier {
        let modes = read(
            r#"[{"name": "x", "texts": [{"text": "x", "vector": [1, 0, 0]}]},
                {"name": "y", "texts": [{"text": "y", "vector": [0, 1, 0]}]}]"#,
        );
        Classifier::new(modes.unwrap(), settings).unwrap()
    }

    fn sound(x: f32, y: f32) -> [f32; 3] {
        [x, y, (1.0 - x * x - y * y).sqrt()]
    }

    #[test]
    fn the_rules_in_their_order() {
        let mut classifier = classifier(Settings { threshold: 0.3, margin: 0.1, min_stay: 5.0 });
        let mut decide = |time, x, y| {
            let decision = classifier.decide(time, &sound(x, y)).unwrap();
            (decision.mode, decision.reason)
        };
        let (x, y) = (Some("x".to_string()), Some("y".to_string()));
        assert_eq!(decide(0.0, 0.2, 0.1), (None, Reason::BelowThreshold));
        assert_eq!(decide(1.0, 0.4, 0.1), (x.clone(), Reason::Changed));
        assert_eq!(decide(2.0, 0.5, 0.1), (x.clone(), Reason::Same));
        assert_eq!(decide(3.0, 0.1, 0.6), (x.clone(), Reason::TooSoon));
        assert_eq!(decide(6.0, 0.5, 0.55), (x.clone(), Reason::WithinMargin));
        assert_eq!(decide(6.0, 0.1, 0.2), (x, Reason::BelowThreshold));
        assert_eq!(decide(6.0, 0.1, 0.6), (y.clone(), Reason::Changed));
        // The time of the stay counts from the change.
        assert_eq!(decide(10.9, 0.6, 0.1), (y, Reason::TooSoon));
        assert_eq!(decide(11.0, 0.6, 0.1).1, Reason::Changed);
        assert!(matches!(classifier.decide(10.0, &sound(0.1, 0.1)), Err(ClapError::Order { .. })));
        assert!(matches!(classifier.decide(f64::NAN, &sound(0.1, 0.1)), Err(ClapError::Order { .. })));
    }

    /// Scores that change sides with every sound: without the rules the mode changes each time.
    #[test]
    fn noise_does_not_flap() {
        let changes = |settings| {
            let mut classifier = classifier(settings);
            let sounds = (0..100).map(|i| if i % 2 == 0 { sound(0.5, 0.48) } else { sound(0.48, 0.5) });
            let decide = |(i, sound): (usize, [f32; 3])| classifier.decide(i as f64 * 5.0, &sound).unwrap().reason;
            sounds.enumerate().map(decide).filter(|&reason| reason == Reason::Changed).count()
        };
        assert_eq!(changes(Settings { threshold: 0.3, margin: 0.0, min_stay: 0.0 }), 100);
        assert_eq!(changes(Settings { threshold: 0.3, margin: 0.0, min_stay: 10.0 }), 34);
        assert_eq!(changes(Settings::default()), 1);
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let modes = || read(r#"[{"name": "x", "texts": [{"text": "x", "vector": [1]}]}]"#).unwrap();
        let default = Settings::default();
        for settings in [
            Settings { threshold: f32::NAN, ..default },
            Settings { threshold: 1.5, ..default },
            Settings { margin: -0.1, ..default },
            Settings { min_stay: f64::INFINITY, ..default },
        ] {
            assert!(matches!(Classifier::new(modes(), settings), Err(ClapError::Setting { .. })));
        }
    }
}
