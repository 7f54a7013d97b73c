//! The navigator: one step = candidates, weights, request, temperature, seeded choice.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::candidates::Search;
use super::choice::{Candidate, Choice, choose};
use super::{Memory, Options, Rule, Step};
use crate::Result;
use crate::request::{Compiled, Dropped, Reason};

/// A path through a memory. Steps take time in proportion to the candidates, and memory that is kept from step to step.
///
/// ```
/// use std::sync::Arc;
///
/// use mert_oracle::{Matching, Material, Memory, Navigator, OracleFile, Options, Request};
///
/// let symbols = b"abracadabra".iter().map(|&byte| u32::from(byte)).collect();
/// let file = OracleFile::build(Matching::Symbols, Material::Symbols(symbols), Vec::new())?;
/// let memory = Memory::new(Arc::new(file));
/// let request: Request = r#"{"parameter": "gesture_token", "value": 98, "weight": 0.5}"#.parse()?;
/// let request = request.compile(memory.material());
/// let mut navigator = Navigator::new(memory, Options { seed: 7, ..Options::default() })?;
/// for step in navigator.walk(Some(&request), 4) {
///     println!("event {}: {}", step.event, step.rule);
/// }
/// # Ok::<(), mert_oracle::OracleError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Navigator {
    memory: Memory,
    options: Options,
    generator: ChaCha8Rng,
    current: Option<u32>,
    // The number of the step that is being made, from 1.
    step: u64,
    run: u32,
    last_played: Vec<u64>,
    visits: Vec<u32>,
    search: Search,
    candidates: Vec<Candidate>,
}

impl Navigator {
    /// A navigator before its first step.
    ///
    /// # Errors
    /// [`crate::OracleError::Option`] for an option out of range.
    pub fn new(memory: Memory, options: Options) -> Result<Self> {
        options.check(memory.events())?;
        let events = memory.events() as usize;
        Ok(Navigator {
            generator: ChaCha8Rng::seed_from_u64(options.seed),
            memory,
            options,
            current: None,
            step: 0,
            run: 0,
            last_played: vec![0; events],
            visits: vec![0; events],
            search: Search::default(),
            candidates: Vec::new(),
        })
    }

    /// The memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The event of the last step.
    pub fn current(&self) -> Option<u32> {
        self.current
    }

    /// Sets the current event, such as the one that live sound was recognised as; nothing if there is no such event.
    pub fn seek(&mut self, event: u32) {
        if event < self.memory.events() {
            self.current = Some(event);
            self.run = 0;
        }
    }

    /// Changes the options from the next step on. Another seed starts another stream of choices; the path, what was played and the visits
    /// stay.
    ///
    /// # Errors
    /// [`crate::OracleError::Option`] for an option out of range; nothing changes then.
    pub fn set_options(&mut self, options: Options) -> Result<()> {
        options.check(self.memory.events())?;
        if options.seed != self.options.seed {
            self.generator = ChaCha8Rng::seed_from_u64(options.seed);
        }
        self.options = options;
        Ok(())
    }

    /// The next steps under one request.
    pub fn walk<'a>(&'a mut self, request: Option<&'a Compiled>, steps: usize) -> impl Iterator<Item = Step> + 'a {
        (0..steps).map(move |_| self.next(request))
    }

    /// The next step. There always is one: at an end it jumps, and says so.
    pub fn next(&mut self, request: Option<&Compiled>) -> Step {
        self.step += 1;
        let mut dropped = Vec::new();
        let usable = request.filter(|request| request.events() == self.memory.events() as usize);
        if let (Some(request), None) = (request, usable) {
            let reason = Reason::OtherMemory;
            dropped.extend((0..request.conditions().len()).map(|condition| Dropped { condition, reason }));
        }
        let request = usable;
        let (mut choice, mut capped) = self.attempt(request, true);
        if choice.is_none()
            && let Some(request) = request.filter(|request| !request.steps().is_empty())
        {
            let reason = Reason::NotHere;
            dropped.extend(request.steps().iter().map(|condition| Dropped { condition: *condition, reason }));
            (choice, capped) = self.attempt(Some(request), false);
        }
        // A compiled request leaves at least one event, so that this is never reached with a memory of its own.
        let choice = choice.unwrap_or(Choice {
            candidate: Candidate { event: self.options.start, rule: Rule::LastResort, weight: 1.0 },
            count: 1,
            probability: 1.0,
        });
        let Candidate { event, rule, .. } = choice.candidate;
        let step = Step {
            event,
            rule,
            candidates: choice.count,
            probability: choice.probability,
            end: self.current.and_then(|current| self.memory.end(current)),
            taboo_broken: self.is_taboo(event),
            capped,
            dropped,
        };
        self.run = if rule == Rule::Continuation { self.run + 1 } else { 0 };
        self.current = Some(event);
        if let Some(last) = self.last_played.get_mut(event as usize) {
            *last = self.step;
        }
        if let Some(visits) = self.visits.get_mut(event as usize) {
            *visits = visits.saturating_add(1);
        }
        step
    }

    /// The choice by context, else from the whole memory, else among what was just played.
    fn attempt(&mut self, request: Option<&Compiled>, with_steps: bool) -> (Option<Choice>, bool) {
        let mut capped = false;
        // Where the limits of continuity leave nothing, going on and jumping are both better than the whole memory.
        for relaxed in [false, true] {
            capped = self.offer_context(relaxed);
            if let Some(choice) = self.decide(request, with_steps, true) {
                return (Some(choice), capped);
            }
        }
        let rule = self.offer_memory(request);
        if let Some(choice) = self.decide(request, with_steps, true) {
            return (Some(choice), capped);
        }
        // Everything that is asked for was just played.
        if rule == Rule::LastResort {
            self.offer_context(true);
            if let Some(choice) = self.decide(request, with_steps, false) {
                return (Some(choice), capped);
            }
        }
        self.offer_memory(request);
        (self.decide(request, with_steps, false), capped)
    }

    /// Fills the candidates with the first event, or the continuation and jumps, weighted by continuity and context.
    /// `relaxed` leaves the limits of continuity out. Returns whether jumps were left out.
    fn offer_context(&mut self, relaxed: bool) -> bool {
        self.candidates.clear();
        let Some(current) = self.current else {
            self.candidates.push(Candidate { event: self.options.start, rule: Rule::Start, weight: 1.0 });
            return false;
        };
        let Options { continuity, min_continuity, max_continuity, min_context, context_power, max_jumps, .. } =
            self.options;
        let goes_on = self.memory.end(current).is_none();
        if goes_on {
            self.candidates.push(Candidate { event: current + 1, rule: Rule::Continuation, weight: 1.0 });
            if self.run < min_continuity && !relaxed {
                return false;
            }
        }
        let (memory, candidates) = (&self.memory, &mut self.candidates);
        let first_jump = candidates.len();
        let capped = self.search.run(memory.links(), current + 1, min_context, max_jumps, |state, context| {
            let follows = memory.end(state - 1).is_none();
            if follows {
                let weight = f64::from(context).powf(context_power);
                candidates.push(Candidate { event: state, rule: Rule::Jump { context }, weight });
            }
            follows
        });
        let total: f64 = candidates[first_jump..].iter().map(|jump| jump.weight).sum();
        if goes_on && total > 0.0 {
            let forced = max_continuity.is_some_and(|limit| self.run >= limit);
            let continuity = match (relaxed, forced) {
                (true, _) => 0.5,
                (false, true) => 0.0,
                (false, false) => continuity,
            };
            candidates[0].weight = continuity;
            for jump in &mut candidates[first_jump..] {
                jump.weight *= (1.0 - continuity) / total;
            }
        }
        capped
    }

    /// Fills the candidates with the events of the whole memory that meet the request, or all.
    fn offer_memory(&mut self, request: Option<&Compiled>) -> Rule {
        self.candidates.clear();
        let all = 0..self.memory.events();
        let restricted = request.filter(|request| request.matching().is_some() || !request.steps().is_empty());
        let rule = match (self.current, restricted) {
            (_, Some(_)) => Rule::Request,
            (None, None) => Rule::Start,
            (Some(_), None) => Rule::LastResort,
        };
        let candidate = |event| Candidate { event, rule, weight: 1.0 };
        match request.and_then(Compiled::matching) {
            Some(events) => self.candidates.extend(events.iter().copied().map(candidate)),
            None => self.candidates.extend(all.map(candidate)),
        }
        rule
    }

    /// Applies taboo, visits and the request to the candidates, and chooses.
    fn decide(&mut self, request: Option<&Compiled>, with_steps: bool, with_taboo: bool) -> Option<Choice> {
        let mut candidates = std::mem::take(&mut self.candidates);
        for candidate in &mut candidates {
            let event = candidate.event;
            if with_taboo && self.is_taboo(event) {
                candidate.weight = 0.0;
                continue;
            }
            let visits = self.visits.get(event as usize).copied().unwrap_or(0);
            candidate.weight *= (1.0 + f64::from(visits)).powf(-self.options.visit_penalty);
            if let Some(request) = request {
                candidate.weight *= request.product(event);
                if with_steps {
                    candidate.weight *= request.step_factor(self.current, event);
                }
            }
        }
        let choice = choose(&mut candidates, self.options.temperature, &mut self.generator);
        self.candidates = candidates;
        choice
    }

    fn is_taboo(&self, event: u32) -> bool {
        let last = self.last_played.get(event as usize).copied().unwrap_or(0);
        last > 0 && self.step - last <= u64::from(self.options.taboo)
    }
}
