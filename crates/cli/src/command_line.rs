//! The command line as all commands read it.

use clap::error::ErrorKind;
use clap::{Command, Parser};

/// The arguments of this process; ends it with a message if they are wrong, or after `--help` and `--version`.
pub fn parse<T: Parser>() -> T {
    try_parse().unwrap_or_else(|error| error.exit())
}

/// The arguments of this process.
///
/// # Errors
/// clap's, which hold the message, also for `--help` and `--version`.
pub fn try_parse<T: Parser>() -> Result<T, clap::Error> {
    let mut command = with_negative_numbers(T::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    mert_runtime::check_instruction_set().map_err(|reason| command.error(ErrorKind::InvalidValue, reason))?;
    T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// A negative number after an option is its value. Otherwise clap takes it for an unknown option, and advises to put it
/// behind `--`, where it would be a file; so the option's own check says what it expects.
fn with_negative_numbers(command: Command) -> Command {
    let command =
        command.mut_args(|argument| match argument.get_action().takes_values() && !argument.is_positional() {
            true => argument.allow_negative_numbers(true),
            false => argument,
        });
    command.mut_subcommands(with_negative_numbers)
}

#[cfg(test)]
mod tests {
    use clap::{Args, CommandFactory, FromArgMatches, Subcommand};

    use super::*;

    #[derive(Debug, Parser)]
    struct Tool {
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(Debug, Subcommand)]
    enum Sub {
        Walk(Walk),
    }

    #[derive(Debug, Args)]
    struct Walk {
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
        #[arg(long)]
        quick: bool,
        file: Option<String>,
    }

    #[test]
    fn a_negative_number_is_judged_by_its_option() {
        let read = |arguments: &[&str]| {
            let matches = with_negative_numbers(Tool::command()).try_get_matches_from(arguments)?;
            Tool::from_arg_matches(&matches)
        };
        let error = read(&["tool", "walk", "--steps", "-1"]).unwrap_err().to_string();
        assert!(error.contains("-1 is not in 1.."), "{error}");
        assert!(!error.contains("tip"), "{error}");
        let Tool { command: Sub::Walk(walk) } = read(&["tool", "walk", "--steps", "2", "--quick", "a"]).unwrap();
        assert_eq!((walk.steps, walk.quick, walk.file.as_deref()), (2, true, Some("a")));
        assert!(read(&["tool", "walk", "--steps", "2", "-1"]).is_err());
    }
}
