//! The target of a command.

use mert_convert::ConvertError;
use mert_convert::write::{Target, TargetOptions, target_for};

use crate::args::Args;

/// The target of a command. Without an output it is a file, whose plan is printed.
///
/// # Errors
/// Those of [`target_for`].
pub(super) fn choose(args: &Args) -> Result<Box<dyn Target>, ConvertError> {
    let options = TargetOptions {
        max_shard_size: args.max_shard_size,
        coreml: args.coreml.options(),
        given_for_coreml: args.coreml.given(),
    };
    target_for(args.output.as_deref(), args.encoder_program(), &options)
}
