//! The figures of a trained vocabulary, as a table or as JSON.

use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets};
use mert_cli::terminal::{print, say};
use mert_table::printable_path;
use mert_tokens::kmeans::{Quality, near_doubles};
use mert_tokens::train::Trained;
use mert_tokens::vocabulary::Vocabulary;
use serde_json::json;

/// Centres closer than this share of a frame's usual distance from its centre are two names for one sound.
const NEAR: f64 = 0.1;

/// The figures of frames that were held out.
pub(crate) struct Judged {
    pub(crate) quality: Quality,
}

/// The figures of a training.
pub(crate) struct TrainReport<'a> {
    pub(crate) output: &'a Path,
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) trained: &'a Trained,
    pub(crate) held_out: Option<Judged>,
    /// The time of k-means: the start, the passes and the figures.
    pub(crate) seconds: f64,
    /// The time of the passes of Lloyd's algorithm alone; 0 for batches.
    pub(crate) pass_seconds: f64,
    /// True if the passes are batches.
    pub(crate) is_batches: bool,
}

impl TrainReport<'_> {
    fn passes(&self) -> String {
        match (self.is_batches, self.trained.passes) {
            (true, 1) => "1 batch".to_string(),
            (true, batches) => format!("{batches} batches"),
            (false, 1) => "1 pass".to_string(),
            (false, passes) => format!("{passes} passes"),
        }
    }

    /// Prints the figures.
    pub(crate) fn print(&self, as_json: bool, quiet: bool) -> std::io::Result<()> {
        let Trained { centres, training, passes, converged, .. } = self.trained;
        let doubles = near_doubles(centres, training.inertia, NEAR);
        if as_json {
            let figures = |quality: &Quality| {
                json!({
                    "frames": quality.frames,
                    "used": quality.used,
                    "entropy": quality.entropy,
                    "inertia": quality.inertia,
                    "median_run": quality.median_run,
                })
            };
            let report = json!({
                "vocabulary": printable_path(self.output),
                "k": self.vocabulary.k(),
                "dim": self.vocabulary.dim(),
                "passes": (!self.is_batches).then_some(passes),
                "batches": self.is_batches.then_some(passes),
                "converged": converged,
                "seconds": self.seconds,
                "pass_seconds": self.pass_seconds,
                "training": figures(training),
                "held_out": self.held_out.as_ref().map(|judged| figures(&judged.quality)),
                "dead": training.dead,
                "near_doubles": doubles,
            });
            return print(&format!("{report:#}\n"));
        }
        if quiet {
            return Ok(());
        }
        let record = self.vocabulary.record.as_ref();
        let state = record.map_or(String::new(), |record| format!(" of hidden state {}", record.hidden_state));
        let (k, bits) = (self.vocabulary.k(), (self.vocabulary.k() as f64).log2());
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let held_out = self.held_out.as_ref().map(|judged| &judged.quality);
        let mut row = |name: &str, text: &dyn Fn(&Quality) -> String| {
            let mut cells = vec![Cell::new(name), Cell::new(text(training)).set_alignment(CellAlignment::Right)];
            cells.extend(held_out.map(|quality| Cell::new(text(quality)).set_alignment(CellAlignment::Right)));
            table.add_row(cells);
        };
        row("", &|quality| (if std::ptr::eq(quality, training) { "training" } else { "held out" }).to_string());
        row("frames", &|quality| quality.frames.to_string());
        row(&format!("used tokens of {k}"), &|quality| quality.used.to_string());
        row(&format!("entropy in bits, at most {bits:.2}"), &|quality| format!("{:.2}", quality.entropy));
        row("mean squared distance", &|quality| format!("{:.6}", quality.inertia));
        row("median run in frames", &|quality| quality.median_run.to_string());
        print(&format!(
            "{}: {k} tokens{state}, {} in {:.1} s\n{table}\n",
            printable_path(self.output),
            self.passes(),
            self.seconds
        ))?;
        if !converged {
            say("the centres still moved at the end: more --passes would change them");
        }
        if training.dead > 0 {
            say(&format!("{} tokens have no frame of the training", training.dead));
        }
        if doubles > 0 {
            say(&format!(
                "{doubles} tokens have another within {NEAR} of a frame's usual distance from its centre: two names for one sound"
            ));
        }
        Ok(())
    }
}
