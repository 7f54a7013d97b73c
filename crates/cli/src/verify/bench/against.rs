//! `mert-verify bench --against`: another engine in the same process, interleaved with the runtime.

use std::io::{self, Write};

use super::Bench;
use super::measure::{AGREEMENT, Engine, RelativeTime, Row, RuntimeEngine, Workload, interleaved, nmse_between};

impl Bench<'_> {
    /// Times both engines if they agree; otherwise reports their difference and returns `false`.
    pub(super) fn against(&mut self, workload: &Workload, threads: usize, peer: &dyn Engine) -> anyhow::Result<bool> {
        let ours = RuntimeEngine::new(self.model, workload, threads)?;
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
