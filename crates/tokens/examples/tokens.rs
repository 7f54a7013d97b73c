//! Tokens from JSON lines (`{"file", "tokens"}`) written in a format: what `scripts/check/vocabularies.py` opens with
//! numpy, pandas and the layouts of fairseq and textlesslib.
//!
//!     tokens IN.jsonl FORMAT OUTPUT [deduplicate]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use mert_tokens::output::{OutputInfo, ReadTokens, TokenWriter, read_tokens};

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [input, format, output, rest @ ..] = arguments else { return Err("usage: tokens IN FORMAT OUTPUT".into()) };
    let ReadTokens::Sequences(sequences) = read_tokens(input.as_ref())? else { return Err("expected tokens".into()) };
    let info = OutputInfo {
        k: 100,
        frame_hop: 320,
        sample_rate: 24_000,
        hidden_state: 12,
        model_sha256: "ab".repeat(32),
        vocabulary_sha256: "cd".repeat(32),
        generator: "mert-tokens".into(),
        deduplicate: rest.iter().any(|argument| argument == "deduplicate"),
    };
    let mut writer = TokenWriter::create(output.as_ref(), format.parse()?, info, true)?;
    for sequence in &sequences {
        writer.push(sequence)?;
    }
    Ok(writer.finish()?)
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::from(1)
        }
    }
}
