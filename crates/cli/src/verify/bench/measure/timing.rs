//! The timing of runs, interleaved when engines are compared.

use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::Engine;

/// The durations of one or more runs in wall-clock seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunTimes {
    /// The seconds of each run, in order.
    pub(crate) seconds: Vec<f64>,
    /// The median.
    pub(crate) median: f64,
    /// The minimum.
    pub(crate) min: f64,
    /// The maximum.
    pub(crate) max: f64,
}

impl RunTimes {
    /// Summarises runs; `None` if there are none.
    pub(crate) fn new(seconds: Vec<f64>) -> Option<Self> {
        let mut sorted = seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(RunTimes { seconds, median, min, max })
    }
}

/// The pause in which another engine's threads fall asleep: those of OpenMP spin for some milliseconds after their work,
/// and would slow down the next engine.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs each engine once without counting, and then `runs` times in turn, so that other load on the machine affects all
/// of them alike. Returns the times of each engine, or nothing for no runs.
pub(crate) fn interleaved(engines: &[&dyn Engine], runs: usize) -> anyhow::Result<Vec<RunTimes>> {
    let mut seconds = vec![Vec::with_capacity(runs); engines.len()];
    for round in 0..=runs {
        for (engine, seconds) in engines.iter().zip(&mut seconds) {
            if engines.len() > 1 {
                sleep(PAUSE);
            }
            let run = engine.run()?;
            if round > 0 {
                seconds.push(run);
            }
        }
    }
    Ok(seconds.into_iter().filter_map(RunTimes::new).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ndarray::Array2;

    use super::*;

    #[test]
    fn medians() {
        assert_eq!(RunTimes::new(vec![]), None);
        assert_eq!(RunTimes::new(vec![3.0, 1.0, 2.0]).map(|t| (t.median, t.min, t.max)), Some((2.0, 1.0, 3.0)));
        let even = RunTimes::new(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even.map(|t| (t.median, t.seconds)), Some((2.5, vec![4.0, 1.0, 2.0, 3.0])));
    }

    struct Logged<'a>(&'a str, &'a RefCell<Vec<String>>);

    impl Engine for Logged<'_> {
        fn name(&self) -> &str {
            self.0
        }

        fn run(&self) -> anyhow::Result<f64> {
            self.1.borrow_mut().push(self.0.to_string());
            Ok(self.1.borrow().len() as f64)
        }

        fn highest_state(&self) -> anyhow::Result<Array2<f32>> {
            Ok(Array2::zeros((1, 1)))
        }
    }

    #[test]
    fn engines_take_turns() {
        let log = RefCell::new(Vec::new());
        let timings = interleaved(&[&Logged("a", &log), &Logged("b", &log)], 2).unwrap();
        assert_eq!(*log.borrow(), ["a", "b", "a", "b", "a", "b"]);
        // The first round is not counted.
        assert_eq!(timings[0].seconds, [3.0, 5.0]);
        assert_eq!(timings[1].seconds, [4.0, 6.0]);
    }
}
