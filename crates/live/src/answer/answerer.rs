//! The path through a memory that what is heard leads, under a request.

use std::collections::VecDeque;
use std::sync::Arc;

use mert_events::Event;
use mert_oracle::{Compiled, Dropped, Memory, Navigator, OracleFile, Request, Step};

use super::{AnswerMode, AnswerSettings, Centres, Matched, Matcher};
use crate::mode::Mode;
use crate::output::{Answer, MatchRule, TokenFrom};
use crate::{LiveError, Result};

/// The tokens that are kept for recognition.
const TOKENS: usize = 9;

/// The events without notes that are passed at an answer before it stays silent.
const MAX_PASSED: u32 = 16;

/// The sound that an onset has ended, as far as it is known.
#[derive(Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) onset: f64,
    pub(crate) token: Option<(u32, TokenFrom)>,
    pub(crate) event: Option<&'a Event>,
}

/// Chooses the events that are played.
pub(crate) struct Answerer {
    memory: Memory,
    navigator: Navigator,
    matcher: Matcher,
    settings: AnswerSettings,
    /// The settings without those of a mode.
    session: AnswerSettings,
    request: Option<Compiled>,
    said: Vec<Dropped>,
    tokens: VecDeque<u32>,
}

impl Answerer {
    /// Answers from `oracle`.
    ///
    /// # Errors
    /// [`LiveError::Oracle`] for one without notes, and for options out of range.
    pub(crate) fn new(oracle: Arc<OracleFile>, centres: Centres, settings: AnswerSettings) -> Result<Self> {
        let nothing = |reason: &str| LiveError::Oracle { reason: reason.to_string() };
        let memory = Memory::new(oracle);
        match memory.material().events() {
            None => return Err(nothing("has symbols or vectors, which have no notes")),
            Some(events) if events.iter().all(|event| event.notes.is_empty()) => {
                return Err(nothing("has no event with a note"));
            }
            Some(_) => {}
        }
        settings.midi.check()?;
        if settings.rest.is_nan() || settings.rest < 0.0 {
            let found = format!("{}", settings.rest);
            return Err(LiveError::Setting { name: "the rest", found, expected: "seconds from 0" });
        }
        let navigator = Navigator::new(memory.clone(), settings.navigation.clone())?;
        let matcher = Matcher::new(&memory, centres);
        let session = settings.clone();
        Ok(Answerer {
            memory,
            navigator,
            matcher,
            settings,
            session,
            request: None,
            said: Vec::new(),
            tokens: VecDeque::new(),
        })
    }

    pub(crate) fn settings(&self) -> &AnswerSettings {
        &self.settings
    }

    /// An event of the memory.
    pub(crate) fn event(&self, index: u32) -> Option<&Event> {
        self.memory.material().events()?.get(index as usize)
    }

    /// Sets the request, and returns what must be said about its conditions.
    pub(crate) fn set_request(&mut self, request: Option<&Request>) -> Vec<String> {
        self.said.clear();
        self.request = request.map(|request| request.compile(self.memory.material()));
        let compiled = self.request.iter();
        compiled.flat_map(|compiled| compiled.remarks().iter().map(|remark| compiled.explain(remark))).collect()
    }

    /// The session's settings with those of a mode.
    ///
    /// # Errors
    /// [`LiveError::Mode`] for a setting out of range.
    pub(crate) fn settings_of(&self, mode: &Mode) -> Result<AnswerSettings> {
        let wrong = |reason: String| LiveError::Mode { mode: mode.name.clone(), reason };
        let navigation = mode.options(&self.session.navigation)?;
        navigation.check(self.memory.file().links().events()).map_err(|error| wrong(error.to_string()))?;
        let mut settings = AnswerSettings { navigation, ..self.session.clone() };
        settings.mode = mode.answer.unwrap_or(settings.mode);
        settings.midi.transpose = mode.transpose.unwrap_or(settings.midi.transpose);
        settings.midi.check().map_err(|error| wrong(error.to_string()))?;
        Ok(settings)
    }

    /// Sets the settings of a mode, and returns what must be said about its request.
    pub(crate) fn set_mode(&mut self, mode: &Mode) -> Result<Vec<String>> {
        let settings = self.settings_of(mode)?;
        let request = mode.request()?;
        if settings.navigation != self.settings.navigation {
            self.navigator.set_options(settings.navigation.clone())?;
        }
        self.settings = settings;
        Ok(match mode.request {
            Some(_) => self.set_request(request.as_ref()),
            None => Vec::new(),
        })
    }

    /// The answer to what was heard, or the event that follows by itself; and what must be said about the request.
    pub(crate) fn answer(&mut self, heard: Option<&Heard<'_>>) -> (Answer, Vec<String>) {
        let matched = heard.and_then(|heard| self.recognise(heard));
        if let Some(matched) = matched {
            self.navigator.seek(matched.event);
        }
        let mut step = self.navigator.next(self.request.as_ref());
        let mut notices = self.explain(&step);
        let mut passed = 0;
        while passed < MAX_PASSED && self.event(step.event).is_none_or(|event| event.notes.is_empty()) {
            passed += 1;
            step = self.navigator.next(self.request.as_ref());
            notices.extend(self.explain(&step));
        }
        let token = heard.and_then(|heard| heard.token);
        let answer = Answer {
            onset: heard.map(|heard| heard.onset),
            token: token.map(|(token, _)| token),
            token_from: token.map(|(_, from)| from),
            matched: matched.map(|matched| matched.event),
            match_rule: matched.map_or(MatchRule::None, |matched| matched.rule),
            match_context: matched.map_or(0, |matched| matched.context),
            event: step.event,
            rule: step.rule.into(),
            passed,
            dropped: step.dropped,
        };
        (answer, notices)
    }

    /// True if an event follows by itself after the end of another.
    pub(crate) fn continues(&self, since_onset: f64) -> bool {
        self.settings.mode == AnswerMode::Continuous && since_onset < self.settings.rest
    }

    fn recognise(&mut self, heard: &Heard<'_>) -> Option<Matched> {
        let (token, _) = heard.token?;
        self.tokens.push_back(token);
        if self.tokens.len() > TOKENS {
            self.tokens.pop_front();
        }
        self.matcher.find(self.tokens.make_contiguous(), heard.event)
    }

    /// Sentences about conditions that were dropped at a step, each once for a request.
    fn explain(&mut self, step: &Step) -> Vec<String> {
        let Some(request) = &self.request else { return Vec::new() };
        let new: Vec<Dropped> = step.dropped.iter().filter(|dropped| !self.said.contains(dropped)).copied().collect();
        self.said.extend(&new);
        new.iter().map(|dropped| request.explain(dropped)).collect()
    }
}
