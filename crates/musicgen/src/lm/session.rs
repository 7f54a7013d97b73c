//! The forward pass with its caches: the steps of one piece of music.

use super::codes::Codes;
use super::conditioning::Conditioning;
use super::layer::{Cache, Layer, Steps};
use super::model::LanguageModel;
use super::trace::Trace;
use crate::cp::CpPrefix;
use crate::transformer::HeadRows;
use crate::{MusicgenError, Result};
use mert_arch::MusicgenDecoder;

/// The keys and values of the text in a layer.
pub(super) struct Cross {
    pub(super) keys: HeadRows,
    pub(super) values: HeadRows,
}

impl Cross {
    /// Computes the keys and values of a layer.
    pub(super) fn new(model: &LanguageModel, layer: &Layer, text: &Conditioning) -> Self {
        let [mut keys, mut values] = [(); 2].map(|()| head_rows(model, text.tokens()));
        let [mut k, mut v] = [(); 2].map(|()| vec![0.0; text.states.len()]);
        layer.cross_attn.k_proj.forward(&text.states, &mut k);
        layer.cross_attn.v_proj.forward(&text.states, &mut v);
        keys.extend(&k);
        values.extend(&v);
        Cross { keys, values }
    }
}

/// The empty caches of a layer for `rows` rows of at most `steps` steps.
pub(super) fn caches(model: &LanguageModel, rows: usize, steps: usize) -> Vec<Cache> {
    (0..rows).map(|_| Cache { keys: head_rows(model, steps), values: head_rows(model, steps) }).collect()
}

/// Memory for `capacity` rows of all heads.
fn head_rows(model: &LanguageModel, capacity: usize) -> HeadRows {
    let MusicgenDecoder { hidden_size: width, num_attention_heads: heads, .. } = *model.config();
    HeadRows::new(model.precision(), heads, capacity, width / heads)
}

/// Memory that the layers reuse.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) x: Vec<f32>,
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
    pub(super) inner: Vec<f32>,
}

/// A piece of music in the making: the keys and values of its steps, and of what it attends to.
///
/// With guidance there are two rows, one with the text and one without. The text of the second is zero after the projection,
/// and so is what its cross-attention would add: it is not computed.
pub struct Session<'m> {
    model: &'m LanguageModel,
    prefix: Option<&'m CpPrefix>,
    cross: Vec<Cross>,
    /// The caches of each layer, an entry for each row.
    caches: Vec<Vec<Cache>>,
    rows: usize,
    /// The number of steps so far.
    position: usize,
    capacity: usize,
    scratch: Scratch,
}

impl<'m> Session<'m> {
    /// A session for at most `steps` steps.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] if the text has another width than the model.
    pub fn new(
        model: &'m LanguageModel,
        text: &Conditioning,
        prefix: Option<&'m CpPrefix>,
        is_guided: bool,
        steps: usize,
    ) -> Result<Self> {
        let width = model.config().hidden_size;
        if text.width != width {
            let message = format!("the text's states have {} values, expected {width}", text.width);
            return Err(MusicgenError::Request(message));
        }
        let rows = if is_guided { 2 } else { 1 };
        Ok(Session {
            model,
            prefix,
            cross: model.layers().iter().map(|layer| Cross::new(model, layer, text)).collect(),
            caches: model.layers().iter().map(|_| caches(model, rows, steps)).collect(),
            rows,
            position: 0,
            capacity: steps,
            scratch: Scratch::default(),
        })
    }

    /// The number of steps so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The number of rows: 2 with guidance.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Computes the steps of `input` `(codebooks, steps)`, as the delay pattern has them, and returns the logits of the last of
    /// them: `(rows, codebooks, vocab_size)`.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] for codes that the model does not have, or more steps than the session has room for.
    pub fn forward(&mut self, input: &Codes) -> Result<Vec<f32>> {
        let states = self.states(input, None)?;
        let width = self.model.config().hidden_size;
        let last: Vec<f32> =
            states.chunks_exact(states.len() / self.rows).flat_map(|row| &row[row.len() - width..]).copied().collect();
        Ok(self.model.logits(&last))
    }

    /// Computes steps as [`Session::forward`] does, and returns the logits of all: `(rows, steps, codebooks, vocab_size)`, and
    /// the hidden states.
    ///
    /// # Errors
    /// Those of [`Session::forward`].
    pub fn trace(&mut self, input: &Codes) -> Result<(Vec<f32>, Trace)> {
        let mut trace = Trace::default();
        let states = self.states(input, Some(&mut trace))?;
        Ok((self.model.logits(&states), trace))
    }

    /// The final states of some steps, `(rows, steps, width)`.
    fn states(&mut self, input: &Codes, mut trace: Option<&mut Trace>) -> Result<Vec<f32>> {
        self.model.check_codes(input)?;
        let (steps, before) = (input.frames(), self.position);
        if steps == 0 || before + steps > self.capacity {
            let (found, most) = (before + steps, self.capacity);
            let message = format!("{found} steps, expected 1 to {most}, for which the session was made");
            return Err(MusicgenError::Request(message));
        }
        let MusicgenDecoder { hidden_size: width, num_attention_heads: heads, .. } = *self.model.config();
        let mut states = vec![0.0; self.rows * steps * width];
        let (first, others) = states.split_at_mut(steps * width);
        self.model.inputs(input, before, first);
        others.chunks_exact_mut(steps * width).for_each(|row| row.copy_from_slice(first));
        mert_linear::with_awake_threads(|| {
            for (i, layer) in self.model.layers().iter().enumerate() {
                if let Some(trace) = &mut trace {
                    trace.hidden_states.push(states.clone());
                }
                let prefix = self.prefix.map(|prefix| (&prefix.layers[i], prefix.frames));
                let context = Steps { count: steps, before, heads, prefix, cross: &self.cross[i] };
                layer.forward(&mut states, &context, &mut self.caches[i], &mut self.scratch);
            }
            self.model.normalize(&mut states, &mut self.scratch.x);
        });
        if let Some(trace) = trace {
            trace.hidden_states.push(states.clone());
        }
        self.position += steps;
        Ok(states)
    }
}
