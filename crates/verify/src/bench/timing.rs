use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::Engine;
use crate::Result;

/// The wall-clock seconds of one or more runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Of each run, in order.
    pub seconds: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// The fastest.
    pub min: f64,
    /// The slowest.
    pub max: f64,
}

impl Timing {
    /// `None` for no runs.
    pub fn of(seconds: Vec<f64>) -> Option<Self> {
        let mut sorted = seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Timing { seconds, median, min, max })
    }
}

/// How long another engine's threads get to fall asleep: OpenMP's spin for some milliseconds after
/// their work, and would take the processor from whoever runs next.
const SETTLE: Duration = Duration::from_millis(50);

/// Runs each engine once, uncounted, and then `runs` times, turn by turn, so that whatever else the machine
/// does meets all of them alike. Empty for no runs, else as many as there are engines.
///
/// # Errors
/// Those of [`Engine::run`].
pub fn interleaved(engines: &[&dyn Engine], runs: usize) -> Result<Vec<Timing>> {
    let mut seconds = vec![Vec::with_capacity(runs); engines.len()];
    for round in 0..=runs {
        for (engine, seconds) in engines.iter().zip(&mut seconds) {
            if engines.len() > 1 {
                sleep(SETTLE);
            }
            let run = engine.run()?;
            if round > 0 {
                seconds.push(run);
            }
        }
    }
    Ok(seconds.into_iter().filter_map(Timing::of).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ndarray::Array2;

    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Timing::of(vec![]), None);
        assert_eq!(Timing::of(vec![3.0, 1.0, 2.0]).map(|t| (t.median, t.min, t.max)), Some((2.0, 1.0, 3.0)));
        let even = Timing::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even.map(|t| (t.median, t.seconds)), Some((2.5, vec![4.0, 1.0, 2.0, 3.0])));
    }

    struct Logged<'a>(&'a str, &'a RefCell<Vec<String>>);

    impl Engine for Logged<'_> {
        fn name(&self) -> &str {
            self.0
        }

        fn run(&self) -> Result<f64> {
            self.1.borrow_mut().push(self.0.to_string());
            Ok(self.1.borrow().len() as f64)
        }

        fn highest_state(&self) -> Result<Array2<f32>> {
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
