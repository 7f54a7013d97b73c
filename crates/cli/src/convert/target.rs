//! The choice of the target: by the program that the output is for, or else by the ending of the output's name.

use std::path::Path;

use mert_convert::write::{CoreMlPackage, ModelFolder, SafetensorsFile, Target};
use mert_convert::{ConvertError, Program};

use crate::args::Args;

/// Endings of files that are no output. A folder of such a name would be a mistake.
const OTHER_FILES: [&str; 14] = [
    "bin",
    "pt",
    "pth",
    "ckpt",
    "npz",
    "npy",
    "onnx",
    "mlmodel",
    "mlmodelc",
    "json",
    "zip",
    "safetensor",
    "mlpkg",
    "pkl",
];

/// The target of a command. Without an output it is a file, whose plan is printed.
///
/// # Errors
/// [`ConvertError::OutputFormat`] or [`ConvertError::ProgramOutput`] for an output of another name, and
/// [`ConvertError::TargetOption`] for options of a Core ML package with another output.
pub(super) fn choose(args: &Args) -> Result<Box<dyn Target>, ConvertError> {
    let Some(output) = &args.output else { return other(args, SafetensorsFile) };
    let extension = output.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match (args.program, extension.as_deref()) {
        (Some(program), extension) => for_program(args, program, output, extension),
        (None, Some("safetensors")) => other(args, SafetensorsFile),
        (None, Some("mlpackage")) => Ok(Box::new(CoreMlPackage { options: args.coreml.options() })),
        (None, Some(ending)) if OTHER_FILES.contains(&ending) => {
            Err(ConvertError::OutputFormat { path: output.to_path_buf() })
        }
        (None, _) => other(args, ModelFolder),
    }
}

/// The target of `--for`.
fn for_program(
    args: &Args,
    program: Program,
    output: &Path,
    extension: Option<&str>,
) -> Result<Box<dyn Target>, ConvertError> {
    let unfit = |expected| {
        let path = output.to_path_buf();
        Err(ConvertError::ProgramOutput { program: program.name(), expected, path })
    };
    let is_file = extension == Some("safetensors");
    match program.is_folder() {
        true if is_file || extension == Some("mlpackage") => unfit("a folder, whose name has no such ending"),
        true => other(args, ModelFolder),
        false if is_file => other(args, SafetensorsFile),
        false => unfit("a file NAME.safetensors"),
    }
}

/// A target that has no options of Core ML packages.
fn other(args: &Args, target: impl Target + 'static) -> Result<Box<dyn Target>, ConvertError> {
    let reason = "is for Core ML packages: give an output whose name ends in .mlpackage";
    match args.coreml.given() {
        Some(option) => Err(ConvertError::TargetOption { option, reason }),
        None => Ok(Box::new(target)),
    }
}
