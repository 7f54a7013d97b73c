//! The time of a tick, by the tempo map or by SMPTE.

use midly::{Fps, Timing};

/// Microseconds of a quarter note where no tempo is set: 120 quarter notes a minute.
const DEFAULT_TEMPO: u32 = 500_000;

/// The clock of a file.
#[derive(Debug)]
pub(super) struct Clock {
    /// From each of these ticks on: the time in seconds, and the seconds of a tick.
    spans: Vec<(u64, f64, f64)>,
}

impl Clock {
    /// The clock of a division, which is not 0, and of changes of tempo: ticks with microseconds of a quarter note. Where
    /// several are at one tick, the last of the last track counts.
    pub(super) fn new(timing: Timing, mut tempi: Vec<(u64, u32)>) -> Self {
        let ticks = match timing {
            Timing::Metrical(ticks) => f64::from(ticks.as_int()),
            Timing::Timecode(fps, subframes) => {
                let rate = match fps {
                    // 29.97 frames a second: the numbers are drop-frame, the rate is NTSC's.
                    Fps::Fps29 => 30_000.0 / 1001.0,
                    fps => f64::from(fps.as_int()),
                };
                return Clock { spans: vec![(0, 0.0, 1.0 / (rate * f64::from(subframes)))] };
            }
        };
        tempi.sort_by_key(|&(tick, _)| tick);
        let tick_of = |tempo: u32| f64::from(tempo) * 1e-6 / ticks;
        let mut spans = vec![(0, 0.0, tick_of(DEFAULT_TEMPO))];
        for (tick, tempo) in tempi {
            let (start, time, length) = spans[spans.len() - 1];
            let time = time + (tick - start) as f64 * length;
            spans.push((tick, time, tick_of(tempo)));
        }
        Clock { spans }
    }

    /// The time of a tick in seconds.
    pub(super) fn seconds(&self, tick: u64) -> f64 {
        let index = self.spans.partition_point(|&(start, ..)| start <= tick).saturating_sub(1);
        let (start, time, length) = self.spans[index];
        time + (tick - start) as f64 * length
    }
}
