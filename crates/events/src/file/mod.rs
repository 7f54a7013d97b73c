//! The file of events: JSON lines, a header and then a line for each recording.
//!
//! ```text
//! {"format":"mert-events","version":1,"vocabulary":SHA-256,"model":SHA-256,"recordings":N,"features":[…]}
//! {"file":PATH,"sha256":SHA-256,"duration":SECONDS,"events":[…]}
//! ```

mod check;

use std::io::Write;

use serde::{Deserialize, Serialize};

use self::check::{check_digest, check_recording};
use crate::scale::FeatureScales;
use crate::{Event, EventsError, Result};

/// The value of the header's `format`.
pub const FORMAT: &str = "mert-events";

/// The version of the format that is written and read.
pub const VERSION: u32 = 1;

/// The events of a list of recordings.
#[derive(Debug, Clone, PartialEq)]
pub struct EventsFile {
    /// The SHA-256 of the vocabulary whose tokens the events have.
    pub vocabulary: String,
    /// The SHA-256 of the model that the frames are of.
    pub model: String,
    /// The scales of the features.
    pub scales: FeatureScales,
    /// The recordings; an event's `source` is an index of them.
    pub recordings: Vec<Recording>,
}

/// A recording with its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The path of the file.
    pub file: String,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// The length in seconds.
    pub duration: f64,
    /// The events, ascending by time.
    pub events: Vec<Event>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
    vocabulary: String,
    model: String,
    recordings: usize,
    features: FeatureScales,
}

/// The fields that say whether the rest of a header can be read.
#[derive(Deserialize)]
struct Format {
    format: Option<String>,
    version: Option<u32>,
}

impl EventsFile {
    /// Writes the file. What is written is checked as if it were read, so that no file is written that cannot be.
    ///
    /// # Errors
    /// [`EventsError::Line`] for events that are not valid, and [`EventsError::Write`].
    pub fn write(&self, output: &mut impl Write) -> Result<()> {
        let header = Header {
            format: FORMAT.to_string(),
            version: VERSION,
            vocabulary: self.vocabulary.clone(),
            model: self.model.clone(),
            recordings: self.recordings.len(),
            features: self.scales.clone(),
        };
        header.check().map_err(|problem| EventsError::Line { line: 1, problem })?;
        let mut line = |value: &dyn Fn() -> serde_json::Result<String>| -> Result<()> {
            let text = value().map_err(|error| EventsError::Write(error.into()))?;
            Ok(writeln!(output, "{text}")?)
        };
        line(&|| serde_json::to_string(&header))?;
        for (index, recording) in self.recordings.iter().enumerate() {
            check_recording(index, recording).map_err(|problem| EventsError::Line { line: index + 2, problem })?;
            line(&|| serde_json::to_string(recording))?;
        }
        Ok(())
    }

    /// Reads the text of a file, and checks all that can be checked.
    ///
    /// # Errors
    /// [`EventsError::Line`] with the line, the field, what was expected and what was found.
    pub fn read(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let at = |line: usize, problem: String| EventsError::Line { line, problem };
        let (_, first) = lines.next().ok_or_else(|| at(1, "the file is empty".into()))?;
        let header = Header::read(first).map_err(|problem| at(1, problem))?;
        let mut recordings = Vec::new();
        for (line, text) in lines {
            let recording: Recording = serde_json::from_str(text).map_err(|error| at(line, json_problem(&error)))?;
            check_recording(recordings.len(), &recording).map_err(|problem| at(line, problem))?;
            recordings.push(recording);
        }
        if recordings.len() != header.recordings {
            let (expected, found) = (header.recordings, recordings.len());
            let problem = format!("`recordings` is {expected}, and {found} follow: the file was cut or changed");
            return Err(at(1, problem));
        }
        Ok(EventsFile { vocabulary: header.vocabulary, model: header.model, scales: header.features, recordings })
    }

    /// All events, in order of the recordings.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.recordings.iter().flat_map(|recording| &recording.events)
    }
}

impl Header {
    fn read(line: &str) -> Result<Self, String> {
        let format: Format = serde_json::from_str(line).map_err(|error| {
            format!("it is not a header of {FORMAT} ({error}): expected a file of `mert-tokens events`")
        })?;
        if format.format.as_deref() != Some(FORMAT) {
            let found = format.format.unwrap_or_else(|| "nothing".into());
            return Err(format!("`format` is `{found}`, expected `{FORMAT}`: expected a file of `mert-tokens events`"));
        }
        if format.version != Some(VERSION) {
            let found = format.version.map_or("nothing".into(), |version| version.to_string());
            return Err(format!("`version` is {found}, expected {VERSION}: write the file again with this version"));
        }
        let header: Header = serde_json::from_str(line).map_err(|error| json_problem(&error))?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), String> {
        check_digest("vocabulary", &self.vocabulary)?;
        check_digest("model", &self.model)
    }
}

/// The message of a JSON error without its line, which is always 1.
fn json_problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line ") {
        Some((problem, _)) => format!("{problem} at column {}", error.column()),
        None => message,
    }
}

#[cfg(test)]
mod tests;
