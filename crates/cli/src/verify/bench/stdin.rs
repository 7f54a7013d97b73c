//! `mert-verify bench --stdin`: one run for each line of standard input, for interleaving with other programs.

use std::io::{self, BufRead, Write};

use serde_json::{Value, json};

use super::measure::{Engine, RunTimes};

/// Runs and answers once for each line, and returns the times at the end of input, if there are any.
pub(super) fn time(engine: &dyn Engine) -> anyhow::Result<Option<RunTimes>> {
    engine.run()?;
    if !answer(&json!({ "ready": engine.name() }))? {
        return Ok(None);
    }
    let mut seconds = Vec::new();
    // The content of a line does not matter, and so it need not be text.
    for line in io::stdin().lock().split(b'\n') {
        line.map_err(|e| anyhow::anyhow!("cannot read standard input: {e}"))?;
        let run = engine.run()?;
        seconds.push(run);
        if !answer(&json!({ "seconds": run }))? {
            return Ok(None);
        }
    }
    Ok(RunTimes::new(seconds))
}

/// Writes an answer; `false` if the reader has closed the pipe.
fn answer(value: &Value) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{value}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}
