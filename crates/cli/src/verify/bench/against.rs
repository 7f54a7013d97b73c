//! Another engine in the same process, turn by turn.

use std::io::{self, Write};

use mert_verify::bench::{AGREEMENT, Comparison, Engine, Row, Runtime, Workload, interleaved, nmse_between};

use super::Bench;

impl Bench<'_> {
    /// Whether the two agree; if not, it is said and nothing is timed.
    pub(super) fn against(&mut self, workload: &Workload, threads: usize, peer: &dyn Engine) -> anyhow::Result<bool> {
        let ours = Runtime::new(self.model, workload, threads)?;
        let nmse = nmse_between(&ours, peer)?;
        if nmse.is_nan() || nmse > AGREEMENT {
            writeln!(
                io::stderr(),
                "mert-verify: {} and {} compute different things: the NMSE of hidden state {} is {nmse:.1e}, more than \
                 {AGREEMENT:e}; nothing was timed",
                ours.name(),
                peer.name(),
                workload.highest(),
            )?;
            return Ok(false);
        }
        let peak = self.peak(&ours, threads);
        let engines: [&dyn Engine; 2] = [&ours, peer];
        let timings = interleaved(&engines, self.args.runs as usize)?;
        let mut our_median = None;
        for (engine, timing) in engines.into_iter().zip(timings) {
            let compared = our_median.map(|ours: f64| Comparison { ratio: timing.median / ours, nmse });
            our_median = our_median.or(Some(timing.median));
            let row = Row::new(engine, workload, threads, timing).with_peak(peak);
            self.rows.push(Row { compared, ..row });
        }
        Ok(true)
    }
}
