//! A benchmark in progress: the rows are measured one after the other.

use mert_cli::terminal::{print, say};
use mert_runtime::Model;
use mert_verify::{ArithmeticVerdict, ModelEncoding};

use super::args::BenchArgs;
use super::measure::{
    AGREEMENT, Engine, FmaPeak, MemoryWatch, RelativeTime, Row, RuntimeEngine, Workload, interleaved, nmse_between,
};
use super::{stdin, table};

/// A benchmark in progress.
pub(super) struct Bench<'a> {
    args: &'a BenchArgs,
    model: &'a Model,
    /// The encoding of the model's weights.
    weights: ModelEncoding,
    /// The comparison of the model's arithmetic with f32, unless it is f32.
    arithmetic: Option<ArithmeticVerdict>,
    /// The sentence on the modules that multiply 8-bit integers; `None` in another arithmetic.
    int8: Option<String>,
    /// The arithmetic peaks, measured once for each number of threads.
    peaks: Vec<(usize, Option<FmaPeak>)>,
    rows: Vec<Row>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(
        args: &'a BenchArgs,
        model: &'a Model,
        weights: ModelEncoding,
        arithmetic: Option<ArithmeticVerdict>,
        int8: Option<String>,
    ) -> Self {
        Bench { args, model, weights, arithmetic, int8, peaks: Vec::new(), rows: Vec::new() }
    }

    /// The rows so far as a table.
    pub(super) fn table(&self) -> String {
        table::describe(self.args, &self.weights, (self.arithmetic.as_ref(), self.int8.as_deref()), &self.rows)
    }

    /// The rows so far as JSON.
    pub(super) fn document(&self) -> serde_json::Value {
        self.args.document(&self.weights, (self.arithmetic.as_ref(), self.int8.as_deref()), &self.rows)
    }

    /// Measures the runtime alone.
    pub(super) fn alone(&mut self, workload: &Workload, threads: usize) -> anyhow::Result<()> {
        let engine = RuntimeEngine::new(self.model, workload, threads)?;
        let peak = self.peak(&engine, threads);
        let watch = MemoryWatch::start();
        let times = interleaved(&[&engine], self.args.runs as usize)?;
        let memory = watch.peak();
        self.rows.extend(times.into_iter().map(|times| {
            let row = Row::new(&engine, workload, threads, times).with_peak(peak);
            Row { peak_memory: memory, ..row }
        }));
        Ok(())
    }

    /// Measures the arithmetic peak, if it is asked for.
    fn peak(&mut self, engine: &RuntimeEngine<'_>, threads: usize) -> Option<FmaPeak> {
        if !self.args.peak {
            return None;
        }
        if let Some((_, peak)) = self.peaks.iter().find(|(measured, _)| *measured == threads) {
            return *peak;
        }
        let peak = FmaPeak::measure(engine.pool(), self.model.compute_type());
        self.peaks.push((threads, peak));
        peak
    }

    /// Measures the runtime, one run for each line of standard input, and prints the result.
    pub(super) fn on_demand(&mut self, workload: &Workload, threads: usize) -> anyhow::Result<()> {
        let engine = RuntimeEngine::new(self.model, workload, threads)?;
        let peak = self.peak(&engine, threads);
        let watch = MemoryWatch::start();
        let Some(times) = stdin::time(&engine)? else { return Ok(()) };
        let row = Row::new(&engine, workload, threads, times).with_peak(peak);
        let document = self.args.document(
            &self.weights,
            (self.arithmetic.as_ref(), self.int8.as_deref()),
            &[Row { peak_memory: watch.peak(), ..row }],
        );
        Ok(print(&(document.to_string() + "\n"))?)
    }

    /// Times both engines if they agree; otherwise reports their difference and returns `false`.
    pub(super) fn against(&mut self, workload: &Workload, threads: usize, peer: &dyn Engine) -> anyhow::Result<bool> {
        let ours = RuntimeEngine::new(self.model, workload, threads)?;
        let nmse = nmse_between(&ours, peer)?;
        if nmse.is_nan() || nmse > AGREEMENT {
            say(&format!(
                "mert-verify: the hidden states of {} and {} differ: the NMSE of hidden state {} is {nmse:.1e}, more than \
                 {AGREEMENT:e}; nothing was timed",
                ours.name(),
                peer.name(),
                workload.highest(),
            ));
            return Ok(false);
        }
        let peak = self.peak(&ours, threads);
        let engines: [&dyn Engine; 2] = [&ours, peer];
        let times = interleaved(&engines, self.args.runs as usize)?;
        let mut our_median = None;
        for (engine, times) in engines.into_iter().zip(times) {
            let compared = our_median.map(|ours: f64| RelativeTime { ratio: times.median / ours, nmse });
            our_median = our_median.or(Some(times.median));
            let row = Row::new(engine, workload, threads, times).with_peak(peak);
            self.rows.push(Row { compared, ..row });
        }
        Ok(true)
    }
}
