//! The modes of a session, as a file in YAML or JSON lists them.

use mert_oracle::{Options, Request};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Range, Thresholds};
use crate::answer::AnswerMode;
use crate::{LiveError, Result};

/// A named set of a request and options. What it does not state is as the session's options say.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// The name.
    pub name: String,
    /// The request, in either form of [`mert_oracle::Request`].
    #[serde(default)]
    pub request: Option<Value>,
    /// Options of navigation by their names in [`mert_oracle::Options`].
    #[serde(default)]
    pub options: Map<String, Value>,
    /// The time of answers.
    #[serde(default)]
    pub answer: Option<AnswerMode>,
    /// Semitones by which notes are moved.
    #[serde(default)]
    pub transpose: Option<i32>,
    /// The conditions under which the rule chooses the mode.
    #[serde(default)]
    pub when: Option<Thresholds>,
    /// A description in words, for a selector that compares sound with text.
    #[serde(default)]
    pub text: Option<String>,
}

impl Mode {
    /// The reason why the mode could never be chosen, if there is one: a line `mode NAME` loses the spaces around its name, and
    /// `mode auto` chooses none.
    fn unreachable(&self) -> Option<&'static str> {
        let (name, when) = (&self.name, self.when.unwrap_or_default());
        let ranges = [when.onset_rate, when.level, when.entropy];
        let empty = |range: Range| range.above.zip(range.below).is_some_and(|(above, below)| above >= below);
        match name.as_str() {
            "auto" => Some("`mode auto` leaves the choice to the session: give it another name"),
            _ if name.trim() != name || name.is_empty() || name.chars().any(char::is_control) => {
                Some("a line cannot name it: expected a name without spaces at its ends and without line breaks")
            }
            _ if ranges.into_iter().flatten().any(empty) => {
                Some("a range of `when` is empty: `above` must be less than `below`")
            }
            _ => None,
        }
    }

    /// The request, if the mode has one.
    ///
    /// # Errors
    /// [`LiveError::Mode`] with the name of the mode and what is wrong.
    pub fn request(&self) -> Result<Option<Request>> {
        let request = self.request.as_ref().map(Request::from_json).transpose();
        request.map_err(|error| LiveError::Mode { mode: self.name.clone(), reason: error.to_string() })
    }

    /// The options of navigation: those of the session with the mode's own.
    ///
    /// # Errors
    /// [`LiveError::Mode`] for an unknown option or a value of another type.
    pub fn options(&self, session: &Options) -> Result<Options> {
        let wrong = |error: serde_json::Error| LiveError::Mode { mode: self.name.clone(), reason: error.to_string() };
        let mut options = serde_json::to_value(session).map_err(wrong)?;
        if let Value::Object(fields) = &mut options {
            fields.extend(self.options.clone());
        }
        serde_json::from_value(options).map_err(wrong)
    }
}

/// The modes of a session.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modes {
    modes: Vec<Mode>,
}

impl Modes {
    /// Reads the modes of a file in YAML or JSON: `modes:` with a list of [`Mode`]s.
    ///
    /// # Errors
    /// [`LiveError::Modes`] for a file of another form, without modes or with two of one name; [`LiveError::Mode`] for a
    /// request or option that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let modes: Modes =
            serde_yaml::from_str(text).map_err(|error| LiveError::Modes { reason: error.to_string() })?;
        if modes.modes.is_empty() {
            return Err(LiveError::Modes { reason: "`modes` is empty".to_string() });
        }
        for (index, mode) in modes.modes.iter().enumerate() {
            if modes.modes.iter().take(index).any(|other| other.name == mode.name) {
                return Err(LiveError::Modes { reason: format!("two modes are called `{}`", mode.name) });
            }
            if let Some(reason) = mode.unreachable() {
                return Err(LiveError::Mode { mode: mode.name.clone(), reason: reason.to_string() });
            }
            mode.request()?;
            mode.options(&Options::default())?;
        }
        Ok(modes)
    }

    /// The mode of a name.
    ///
    /// # Errors
    /// [`LiveError::UnknownMode`] with the names that there are.
    pub fn get(&self, name: &str) -> Result<&Mode> {
        self.modes.iter().find(|mode| mode.name == name).ok_or_else(|| LiveError::UnknownMode {
            name: name.to_string(),
            known: self.modes.iter().map(|mode| mode.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The modes in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Mode> {
        self.modes.iter()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.modes.is_empty()
    }
}
