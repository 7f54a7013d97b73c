//! The options of navigation: a request, and how freely the path moves.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use mert_oracle::{Options, Request};

use crate::file_kind::read_text;

/// The options of navigation.
#[derive(Debug, Clone, Args)]
pub(crate) struct NavigationArgs {
    /// The request for the next events, as JSON: {"gesture_token": 142, "consonance": 0.8, "rhythm_ratio": [3, 2]}, or a list
    /// of {"parameter", "type", "value", "weight"}; @FILE reads a file
    #[arg(long, value_name = "JSON")]
    pub(crate) request: Option<String>,
    /// The seed of the choices: the same seed gives the same path
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
    /// The weight of going straight on, 0 to 1
    #[arg(long, value_name = "WEIGHT", default_value = "0.8")]
    continuity: f64,
    /// The events after a jump before the next jump
    #[arg(long, value_name = "EVENTS", default_value = "0")]
    min_continuity: u32,
    /// The events in a row after which a jump is taken, if there is one
    #[arg(long, value_name = "EVENTS")]
    max_continuity: Option<u32>,
    /// The smallest common context of a jump, in events (LRS)
    #[arg(long, value_name = "EVENTS", default_value = "1")]
    min_context: u32,
    /// The last events that are not played again
    #[arg(long, value_name = "EVENTS", default_value = "10")]
    taboo: u32,
    /// How strongly events that were played often are avoided; 0 does not
    #[arg(long, value_name = "EXPONENT", default_value = "0")]
    visit_penalty: f64,
    /// How freely the choice follows the weights: 0 takes the largest, 1 draws by them, above it is more even
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    temperature: f64,
    /// The event to start with, if no request chooses another
    #[arg(long, value_name = "EVENT", default_value = "0")]
    start: u32,
}

impl NavigationArgs {
    /// The options of a navigator.
    pub(crate) fn options(&self) -> Options {
        Options {
            seed: self.seed,
            continuity: self.continuity,
            min_continuity: self.min_continuity,
            max_continuity: self.max_continuity,
            min_context: self.min_context,
            taboo: self.taboo,
            visit_penalty: self.visit_penalty,
            temperature: self.temperature,
            start: self.start,
            ..Options::default()
        }
    }

    /// The request, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read, or it is no request.
    pub(crate) fn request(&self) -> anyhow::Result<Option<Request>> {
        let Some(text) = &self.request else { return Ok(None) };
        let request = match text.strip_prefix('@') {
            Some(path) => {
                let text = read_text(Path::new(path)).context("--request")?;
                text.parse().with_context(|| format!("--request {path}"))?
            }
            None => text.parse::<Request>().context("--request")?,
        };
        Ok(Some(request))
    }
}

/// The lowest and the highest key, an octave apart or more, so that any note can be moved between them by octaves.
pub(crate) fn key_range(text: &str) -> Result<(u8, u8), String> {
    let keys = text.split_once(':').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)));
    match keys {
        Some((low, high)) if high <= 127 && low + 11 <= high => Ok((low, high)),
        _ => Err("expected LOW:HIGH within 0:127, an octave apart or more, such as 36:84".into()),
    }
}
