//! Runs of tokens on an axis, reduced to what half a pixel can show, and the colours of the tokens.

use std::collections::BTreeMap;

use plotters::style::RGBColor;

use crate::palette::{OTHERS, TOKENS};
use crate::text::{counted, grouped};

/// A token from a place to another: of an axis in seconds, or in events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// The token.
    pub token: u32,
    /// The place where it starts.
    pub start: f64,
    /// The place where it ends.
    pub end: f64,
}

/// Runs that can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) runs: Vec<Run>,
    /// The number of runs within the range.
    pub(crate) total: usize,
    /// True if the runs were reduced.
    pub(crate) reduced: bool,
}

impl Drawn {
    /// The runs between `start` and `end`. If one is shorter than a column of the axis, which has `columns`, each column has the
    /// token with the most time in it, of equally long ones the lowest, and neighbouring columns of one token are one run.
    pub(crate) fn new(runs: &[Run], (start, end): (f64, f64), columns: usize) -> Self {
        let within = runs.iter().filter_map(|run| {
            let run = Run { start: run.start.max(start), end: run.end.min(end), ..*run };
            (run.start < run.end).then_some(run)
        });
        let within: Vec<Run> = within.collect();
        let column = (end - start) / columns.max(1) as f64;
        // A run that the range cuts may be short without being lost.
        let short = |run: &&Run| run.end - run.start < column && run.start > start && run.end < end;
        let total = within.len();
        if within.iter().find(short).is_none() && total <= columns {
            return Drawn { runs: within, total, reduced: false };
        }
        let mut shares: BTreeMap<(usize, u32), f64> = BTreeMap::new();
        for run in &within {
            let first = (((run.start - start) / column) as usize).min(columns - 1);
            let last = (((run.end - start) / column) as usize).min(columns - 1);
            for index in first..=last {
                let left = start + index as f64 * column;
                let share = run.end.min(left + column) - run.start.max(left);
                if share > 0.0 {
                    *shares.entry((index, run.token)).or_default() += share;
                }
            }
        }
        let mut winners: Vec<(usize, u32, f64)> = Vec::new();
        for ((index, token), share) in shares {
            match winners.last_mut() {
                Some(winner) if winner.0 == index => {
                    if share > winner.2 {
                        *winner = (index, token, share);
                    }
                }
                _ => winners.push((index, token, share)),
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        for (index, token, _) in winners {
            let (left, right) = (start + index as f64 * column, start + (index + 1) as f64 * column);
            match runs.last_mut() {
                Some(run) if run.token == token && (run.end - left).abs() < column / 2.0 => run.end = right,
                _ => runs.push(Run { token, start: left, end: right }),
            }
        }
        Drawn { runs, total, reduced: true }
    }

    /// The sentences of the caption about them.
    pub(crate) fn caption(&self, singular: &str, plural: &str) -> String {
        let total = counted(self.total, singular, plural);
        if self.reduced {
            format!("{total}, some too short to draw: each half pixel has the token that takes most of it.")
        } else {
            format!("{total}.")
        }
    }
}

/// The colours of tokens: the seven with the most time have their own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Colours {
    /// The tokens with a colour, and the share of each.
    pub(crate) named: Vec<(u32, f64)>,
    /// The number of all other tokens, and their share.
    pub(crate) others: (usize, f64),
}

impl Colours {
    /// The colours of what runs between `start` and `end`.
    pub(crate) fn new(runs: &[Run], (start, end): (f64, f64)) -> Self {
        let mut times: BTreeMap<u32, f64> = BTreeMap::new();
        for run in runs {
            let time = run.end.min(end) - run.start.max(start);
            if time > 0.0 {
                *times.entry(run.token).or_default() += time;
            }
        }
        let total: f64 = times.values().sum();
        let mut shares: Vec<(u32, f64)> = times.into_iter().map(|(token, time)| (token, time / total)).collect();
        // A stable sort: equally long ones stay ascending by token.
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        let others = shares.split_off(shares.len().min(TOKENS.len()));
        Colours { named: shares, others: (others.len(), others.iter().map(|(_, share)| share).sum()) }
    }

    /// The colours of runs, in which the greys alternate.
    pub(crate) fn of(&self, runs: &[Run]) -> Vec<RGBColor> {
        let mut grey = 0;
        runs.iter()
            .map(|run| match self.named.iter().position(|(token, _)| *token == run.token) {
                Some(index) => TOKENS[index],
                None => {
                    grey = 1 - grey;
                    OTHERS[grey]
                }
            })
            .collect()
    }

    /// The legend: a colour, and text.
    pub(crate) fn legend(&self) -> Vec<(RGBColor, String)> {
        let entry =
            |(index, (token, share)): (usize, &(u32, f64))| (TOKENS[index], format!("{token} ({})", percent(*share)));
        let mut legend: Vec<_> = self.named.iter().enumerate().map(entry).collect();
        let (count, share) = self.others;
        if count > 0 {
            let text = if count == 1 { "1 other".to_string() } else { format!("{} others", grouped(count)) };
            legend.push((OTHERS[1], format!("{text} ({})", percent(share))));
        }
        legend
    }
}

/// A share in per cent.
pub(crate) fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value > 0.0 && value < 0.1 { "< 0.1%".into() } else { format!("{value:.*}%", usize::from(value < 10.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(token: u32, start: f64, end: f64) -> Run {
        Run { token, start, end }
    }

    #[test]
    fn runs_with_room_are_drawn_as_they_are() {
        let runs = [run(1, 0.0, 1.0), run(2, 1.0, 3.0), run(2, 3.0, 9.0)];
        let drawn = Drawn::new(&runs, (0.5, 4.0), 100);
        assert_eq!(drawn.runs, [run(1, 0.5, 1.0), run(2, 1.0, 3.0), run(2, 3.0, 4.0)]);
        assert_eq!((drawn.total, drawn.reduced), (3, false));
    }

    #[test]
    fn a_column_has_the_token_with_the_most_time() {
        // Columns of 1: 7 has 0.6 of the first, 8 all of the second, 9 and 7 half of the third each; nothing plays in the fourth.
        let runs = [
            run(7, 0.0, 0.3),
            run(8, 0.3, 0.7),
            run(7, 0.7, 1.0),
            run(8, 1.0, 2.0),
            run(9, 2.0, 2.5),
            run(7, 2.5, 3.0),
        ];
        let drawn = Drawn::new(&runs, (0.0, 4.0), 4);
        assert_eq!(drawn.runs, [run(7, 0.0, 1.0), run(8, 1.0, 2.0), run(7, 2.0, 3.0)]);
        assert_eq!((drawn.total, drawn.reduced), (6, true));
        assert!(drawn.caption("run", "runs").starts_with("6 runs, some too short"));
    }

    #[test]
    fn many_runs_are_bounded() {
        let runs: Vec<_> = (0..100_000).map(|at| run(at % 50, f64::from(at), f64::from(at + 1))).collect();
        assert!(Drawn::new(&runs, (0.0, 100_000.0), 2000).runs.len() <= 2000);
        // As many as there are columns, at places between them.
        let runs: Vec<_> = (0..2001).map(|at| run(at, f64::from(at), f64::from(at + 1))).collect();
        assert!(Drawn::new(&runs, (0.0, 2001.0), 2000).reduced);
    }

    #[test]
    fn the_most_frequent_tokens_have_colours_and_greys_alternate() {
        let mut runs: Vec<_> =
            (0..9).map(|token| run(token, f64::from(token) * 10.0, f64::from(token) * 10.0 + 1.0)).collect();
        runs.push(run(5, 100.0, 101.0));
        let colours = Colours::new(&runs, (0.0, 200.0));
        assert_eq!(colours.named.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [5, 0, 1, 2, 3, 4, 6]);
        assert_eq!(colours.others.0, 2);
        let drawn = colours.of(&runs);
        assert_eq!((drawn[5], drawn[9]), (TOKENS[0], TOKENS[0]));
        assert!(drawn[7] != drawn[8] && OTHERS.contains(&drawn[7]) && OTHERS.contains(&drawn[8]));
        assert_eq!(colours.legend().last().map(|(_, text)| text.as_str()), Some("2 others (20%)"));
    }
}
