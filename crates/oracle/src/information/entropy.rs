//! The entropy of the clusters over time.

use crate::Links;

/// The Shannon entropy, in bits, of the clusters among the last `window` events, at each event; fewer at the start.
///
/// A window of 0 counts as 1. The counts change by two clusters from event to event, so that the time does not depend on the
/// window; the sum is taken anew every window, so that rounding does not pile up.
pub fn entropy_over_time(links: &Links, window: u32) -> Vec<f64> {
    let window = window.max(1);
    let mut counts = vec![0u32; links.states() as usize];
    let mut result = Vec::with_capacity(links.events() as usize);
    let term = |count: u32| if count == 0 { 0.0 } else { f64::from(count) * f64::from(count).log2() };
    // H = log2 n - (Σ c log2 c) / n.
    let mut sum = 0.0;
    for state in 1..links.states() {
        let mut change = |state: u32, step: i32| {
            let Some(symbol) = links.sym(state) else { return };
            let count = &mut counts[symbol as usize];
            sum -= term(*count);
            *count = count.saturating_add_signed(step);
            sum += term(*count);
        };
        change(state, 1);
        if state > window {
            change(state - window, -1);
        }
        if state % window == 0 {
            let seen = state.saturating_sub(window) + 1..=state;
            let mut symbols: Vec<u32> = seen.filter_map(|state| links.sym(state)).collect();
            symbols.sort_unstable();
            symbols.dedup();
            sum = symbols.iter().map(|symbol| term(counts[*symbol as usize])).sum();
        }
        let events = f64::from(state.min(window));
        result.push((events.log2() - sum / events).max(0.0));
    }
    result
}
