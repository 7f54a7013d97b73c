//! One run for each line of standard input.

use std::io::{self, BufRead, Write};

use mert_verify::bench::{Engine, Timing};
use serde_json::{Value, json};

/// Runs when told to, and answers each time; at the end of input, what was timed, if anything was.
pub(super) fn time(engine: &dyn Engine) -> anyhow::Result<Option<Timing>> {
    engine.run()?;
    if !answer(&json!({ "ready": engine.name() }))? {
        return Ok(None);
    }
    let mut seconds = Vec::new();
    // What a line says does not matter, and so not whether it is text.
    for line in io::stdin().lock().split(b'\n') {
        line.map_err(|e| anyhow::anyhow!("cannot read standard input: {e}"))?;
        let run = engine.run()?;
        seconds.push(run);
        if !answer(&json!({ "seconds": run }))? {
            return Ok(None);
        }
    }
    Ok(Timing::of(seconds))
}

/// Whether someone still reads.
fn answer(value: &Value) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{value}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
