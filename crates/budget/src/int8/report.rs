//! The result of a choice as data: what each module multiplies with its share of the error, and what was predicted and measured.

use mert_arch::ComputeType;
use mert_convert::write::StateFidelity;
use serde::Serialize;

use crate::audio::AudioDescription;
use crate::goal::Budget;
use crate::report::Tightest;
use crate::worst_errors::WorstErrors;

/// A choice of modules with its measurements.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Int8Report {
    /// The limits.
    pub budget: Budget,
    /// The clips.
    pub audio: AudioDescription,
    /// The modules in the order of the forward pass.
    pub modules: Vec<Int8ModuleReport>,
    /// The share of the error, at the tightest limit, of attention between its projections, which multiplies bf16 in any case.
    pub attention_share: f64,
    /// The part of the multiply-adds with weights that are of 8-bit integers.
    pub int8_multiply_adds: f64,
    /// The limit that is used up most, by which the shares are counted.
    pub tightest: Tightest,
    /// The errors on calibration clips that the errors of single modules predict.
    pub predicted: WorstErrors,
    /// The errors that were measured on held-out clips.
    pub held_out: WorstErrors,
    /// The errors on held-out clips with 8-bit integers in every module.
    pub all_int8: StateFidelity,
    /// The errors on held-out clips with f32 in every module, and attention in bf16.
    pub float: StateFidelity,
    /// The instructions that measured it. Other ones round otherwise in the last places, and may lead to another choice.
    pub instructions: String,
    /// The number of choices that were measured on held-out clips.
    pub trials: usize,
}

/// The numbers that a module multiplies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Int8ModuleReport {
    /// The path of the module.
    pub module: String,
    /// 8-bit integers, bf16 or f32.
    pub compute: ComputeType,
    /// Its part of the multiply-adds with weights.
    pub multiply_adds: f64,
    /// The predicted share of the error at the tightest limit.
    pub share: f64,
}

impl Int8Report {
    /// The choice as a section of a model card.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("## Modules in 8-bit integers\n\nChosen by measurement for {}.", self.budget);
        text += &format!(
            " {:.1} % of the multiply-adds with weights are of 8-bit integers where a program of this toolkit computes in int8 \
             (`int8_exceptions` in the metadata of the weights); attention between its projections is in bf16. Measured with {}.\n\n",
            100.0 * self.int8_multiply_adds,
            self.instructions
        );
        let floats: Vec<_> = self.modules.iter().filter(|module| module.compute != ComputeType::Int8).collect();
        if !floats.is_empty() {
            text += "| keeps floats | type | multiply-adds | share of the error |\n|---|---|---|---|\n";
            for Int8ModuleReport { module, compute, multiply_adds, share } in floats {
                text +=
                    &format!("| {module} | {compute} | {:.1} % | {:.1} % |\n", 100.0 * multiply_adds, 100.0 * share);
            }
            text += "\n";
        }
        let held_out = self.audio.held_out.len();
        text + &format!(
            "On {held_out} held-out clips: {}. In 8-bit integers everywhere: {}.\n",
            self.held_out, self.all_int8
        )
    }
}
