//! The conversion of an encoder with all its choices: plans, chooses by measurement what is to be chosen, writes, and checks the
//! weights as written.

mod bits;
mod int8;

use std::ffi::OsStr;
use std::path::Path;

use mert_budget::{AudioSource, Budget, BudgetReport, Goal, Int8Report, Progress};
use mert_checkpoint::Source;
use mert_convert::write::{Fidelity, PreparedOutput, Target, WriteJob, Written, no_inspection};
use mert_convert::{Plan, PlanOptions, Program, Step};
use mert_fs::sha256_output;
use mert_hub::HubModel;
use rayon::ThreadPool;
use serde::Serialize;
use serde_json::{Value, json};

use crate::conversion_cache::assumptions;

/// The inputs and choices of a conversion.
pub struct Conversion<'a> {
    /// The checkpoint.
    pub source: &'a Source,
    /// The form of the output.
    pub target: &'a dyn Target,
    /// The options of the plan.
    pub options: PlanOptions,
    /// The output; without one nothing is written.
    pub output: Option<&'a Path>,
    /// True plans an output and does not write it.
    pub dry_run: bool,
    /// True replaces an output of the same form.
    pub force: bool,
    /// The aim of a choice of the layers' bits by measurement.
    pub goal: Option<Goal>,
    /// The limits within which modules are computed in 8-bit integers, if those that keep floats are to be chosen.
    pub int8_budget: Option<Budget>,
    /// The audio that choices are measured on.
    pub audio: AudioSource,
    /// True compares the hidden states of a folder's model with the checkpoint's for its model card.
    pub fidelity: bool,
    /// True computes the SHA-256 of the output.
    pub sha256: bool,
    /// The threads that compute.
    pub threads: &'a ThreadPool,
}

/// A listener to the progress of a conversion, called from several threads.
pub trait Listener: Sync {
    /// Measurements for a choice go on.
    fn on_measurement(&self, progress: Progress<'_>);
    /// The measurements of a choice have ended.
    fn on_choice(&self);
    /// The writing of a number of bytes begins.
    fn on_writing(&self, bytes: usize);
    /// A tensor was written.
    fn on_step(&self, step: &Step);
    /// The writing has ended.
    fn on_written(&self);
}

/// A written output.
#[derive(Debug, Serialize)]
pub struct WrittenOutput {
    /// The SHA-256 in hexadecimal; empty if it was not computed.
    pub sha256: String,
    /// The sizes, the digest of the source, and what was measured.
    #[serde(flatten)]
    pub written: Written,
}

/// The plan of a conversion and what became of it.
pub struct Converted<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The output as it is written.
    pub prepared: &'a dyn PreparedOutput,
    /// The choice of bits, if one was made.
    pub bits: Option<&'a BudgetReport>,
    /// The choice of modules in 8-bit integers, if one was made.
    pub int8: Option<&'a Int8Report>,
    /// The path of the output and the output, unless nothing was to be written.
    pub output: Option<(&'a Path, WrittenOutput)>,
}

/// The choices that were made by measurement.
#[derive(Clone, Copy)]
struct Choices<'a> {
    bits: Option<&'a bits::MeasuredBits<'a>>,
    int8: Option<&'a int8::MeasuredInt8<'a>>,
}

impl Conversion<'_> {
    /// Runs the conversion, and passes its result to `show`.
    ///
    /// # Errors
    /// If the plan cannot be made or the output cannot hold it, no choice holds the limits, or the output cannot be written or is
    /// not within the limits: then it is as it was before. Otherwise the errors of `show`.
    pub fn run<R>(
        &self,
        listener: &dyn Listener,
        show: impl FnOnce(Converted<'_>) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        match self.goal {
            None => self.choose_modules(&self.options, None, listener, show),
            Some(goal) => bits::with_chosen_bits(self, goal, listener, |bits| {
                self.choose_modules(&bits.chosen.options, Some(bits), listener, show)
            }),
        }
    }

    /// Chooses the modules that keep floats in 8-bit integers, if it is asked to, and goes on.
    fn choose_modules<R>(
        &self,
        options: &PlanOptions,
        bits: Option<&bits::MeasuredBits<'_>>,
        listener: &dyn Listener,
        show: impl FnOnce(Converted<'_>) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let Some(budget) = self.int8_budget else {
            return self.finish(options, Choices { bits, int8: None }, listener, show);
        };
        // A plan that the output cannot hold is refused before anything is measured.
        self.target.prepare(&self.target.refine(Plan::new(self.source, options)?)?)?;
        int8::with_chosen_modules(self, options, budget, listener, |int8| {
            let int8_exceptions = Some(int8.chosen.exceptions.clone());
            let options = PlanOptions { int8_exceptions, ..options.clone() };
            self.finish(&options, Choices { bits, int8: Some(int8) }, listener, show)
        })
    }

    /// Plans and writes.
    fn finish<R>(
        &self,
        options: &PlanOptions,
        choices: Choices<'_>,
        listener: &dyn Listener,
        show: impl FnOnce(Converted<'_>) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let plan = self.target.refine(Plan::new(self.source, options)?)?;
        let prepared = self.target.prepare(&plan)?;
        let output = match self.output {
            Some(output) if !self.dry_run => {
                Some((output, self.write(options, prepared.as_ref(), output, choices, listener)?))
            }
            _ => None,
        };
        show(Converted {
            plan: &plan,
            prepared: prepared.as_ref(),
            bits: choices.bits.map(|bits| &bits.chosen.report),
            int8: choices.int8.map(|int8| &int8.chosen.report),
            output,
        })
    }

    /// Writes the output, and has the choices checked on what is written.
    fn write(
        &self,
        options: &PlanOptions,
        prepared: &dyn PreparedOutput,
        output: &Path,
        choices: Choices<'_>,
        listener: &dyn Listener,
    ) -> anyhow::Result<WrittenOutput> {
        let fidelity = |written: &Path| match choices.bits {
            Some(bits) => bits.inspect(written),
            None if prepared.records_fidelity() && self.fidelity => {
                let measured = mert_budget::fidelity(self.source, options, written);
                measured.map(Some).map_err(|error| error.to_string())
            }
            None => no_inspection(written),
        };
        let inspect = |written: &Path| {
            let Some(int8) = choices.int8 else { return fidelity(written) };
            int8.inspect(written)?;
            let section = int8.chosen.report.to_markdown();
            let add = |fidelity: Fidelity| {
                let sections = [fidelity.sections, section].join("\n");
                Fidelity { sections: sections.trim_start().to_string(), ..fidelity }
            };
            Ok(fidelity(written)?.map(add))
        };
        let on_step = |step: &Step| listener.on_step(step);
        listener.on_writing(prepared.byte_len());
        let job = WriteJob { source: self.source, output, force: self.force, on_step: &on_step, inspect: &inspect };
        let written = self.threads.install(|| prepared.write(&job));
        listener.on_written();
        let written = written?;
        let sha256 = if self.sha256 { sha256_output(output)? } else { String::new() };
        Ok(WrittenOutput { sha256, written })
    }

    /// The form of the output where it is another, in words; `None` for a safetensors file or a folder of this toolkit.
    fn other_form(&self) -> Option<String> {
        let ending = self.output.and_then(|output| output.extension()).and_then(OsStr::to_str);
        match (self.options.program, ending.map(str::to_ascii_lowercase).as_deref()) {
            (Some(program), _) => Some(format!("for {}", Program::name(program))),
            (None, Some("mlpackage")) => Some("a Core ML package".into()),
            (None, Some("gguf")) => Some("a GGUF file".into()),
            _ => None,
        }
    }
}

impl Converted<'_> {
    /// The plan and the result as JSON, for the `input` as it was given and the model of the hub that it named.
    pub fn to_json(&self, input: &Path, model: Option<&HubModel>) -> Value {
        let Converted { plan, prepared, bits, int8, output } = self;
        let output = output.as_ref().map(|(path, written)| json!({ "path": path, "written": written }));
        let mut document = json!({
            "input": input,
            "plan": plan,
            "assumptions": assumptions(plan),
            "output": output,
            "target": {
                "form": prepared.form(),
                "tensors": prepared.tensor_count(),
                "bytes": prepared.byte_len(),
                "details": prepared.details(),
            },
        });
        if let Some(model) = model {
            document["hub"] = json!({ "model": model.repo, "revision": model.commit, "weights": model.weights });
        }
        if let Some(bits) = bits {
            document["budget"] = json!(bits);
        }
        if let Some(int8) = int8 {
            document["int8"] = json!(int8);
        }
        document
    }
}
