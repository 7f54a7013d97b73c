//! `mert-verify`: does a converted model still compute what PyTorch computes?

mod cli;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = cli::Args::parse_or_report();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(std::io::stderr)
        .init();
    match cli::run(&args) {
        Ok(cli::Outcome::Passed) => ExitCode::SUCCESS,
        Ok(cli::Outcome::Failed) => ExitCode::from(1),
        Ok(cli::Outcome::NotChecked) => ExitCode::from(2),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mert-verify: {}", mert_verify::report::printable(&error.to_string()));
            ExitCode::from(2)
        }
    }
}
