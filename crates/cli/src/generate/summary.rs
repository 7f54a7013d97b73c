//! The summary of a generation, as text and as JSON.

use std::time::Duration;

use mert_musicgen::generate::{Generated, Sampling, Settings};
use serde_json::{Value, json};

/// The figures of a generation.
pub(crate) struct Summary<'a> {
    /// The text that T5 read.
    pub(crate) text: &'a str,
    pub(crate) generated: &'a Generated,
    pub(crate) settings: &'a Settings,
    pub(crate) rate: u32,
    /// The time of the language model and the codec's decoder.
    pub(crate) elapsed: Duration,
    pub(crate) clipped: u64,
}

impl Summary<'_> {
    fn seconds(&self) -> f64 {
        self.generated.samples as f64 / f64::from(self.rate)
    }

    /// One line.
    pub(crate) fn line(&self) -> String {
        let (seconds, elapsed) = (self.seconds(), self.elapsed.as_secs_f64());
        let (times, steps) = (self.generated.times, self.generated.steps);
        let mut line = format!(
            "{seconds:.2} s of music in {elapsed:.1} s, RTF {:.2}: {steps} steps at {:.1} ms, ",
            elapsed / seconds,
            1e3 * times.steps.as_secs_f64() / steps.max(1) as f64
        );
        if !times.input.is_zero() {
            line += &format!("reading the recording {:.1} s, ", times.input.as_secs_f64());
        }
        line += &format!("decoding {:.1} s", times.output.as_secs_f64());
        if self.generated.windows > 1 {
            line += &format!("; {} windows", self.generated.windows);
        }
        if self.clipped > 0 {
            line += &format!("; {} samples beyond full scale were clipped (--float keeps them)", self.clipped);
        }
        line
    }

    /// A JSON object.
    pub(crate) fn json(&self) -> Value {
        let sampling = match self.settings.sampling {
            Sampling::Greedy => json!("greedy"),
            Sampling::Random { top_k, top_p, temperature } => {
                json!({"top_k": top_k, "top_p": top_p, "temperature": temperature, "seed": self.settings.seed})
            }
        };
        json!({
            "text": self.text,
            "seconds": self.seconds(),
            "sampling_rate": self.rate,
            "frames": self.generated.codes.frames(),
            "steps": self.generated.steps,
            "windows": self.generated.windows,
            "guidance_scale": self.settings.guidance_scale,
            "sampling": sampling,
            "elapsed_seconds": self.elapsed.as_secs_f64(),
            "input_seconds": self.generated.times.input.as_secs_f64(),
            "steps_seconds": self.generated.times.steps.as_secs_f64(),
            "output_seconds": self.generated.times.output.as_secs_f64(),
            "rtf": self.elapsed.as_secs_f64() / self.seconds(),
            "clipped_samples": self.clipped,
        })
    }
}
