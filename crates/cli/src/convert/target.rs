//! The choice of the target: by the program that the output is for, or else by the ending of the output's name.

use std::path::Path;

use mert_convert::write::{CoreMlPackage, Gguf, ModelFolder, SafetensorsFile, Target};
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
    let Some(output) = &args.output else { return file(args, SafetensorsFile) };
    let extension = output.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match (args.encoder_program(), extension.as_deref()) {
        (Some(program), extension) => for_program(args, program, output, extension),
        (None, Some("safetensors")) => file(args, SafetensorsFile),
        (None, Some("gguf")) => file(args, Gguf),
        (None, Some("mlpackage")) => {
            check_is_not_divided(args)?;
            Ok(Box::new(CoreMlPackage { options: args.coreml.options() }))
        }
        (None, Some(ending)) if OTHER_FILES.contains(&ending) => {
            Err(ConvertError::OutputFormat { path: output.to_path_buf() })
        }
        (None, _) => folder(args),
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
        true if is_file || matches!(extension, Some("mlpackage" | "gguf")) => {
            unfit("a folder, whose name has no such ending")
        }
        true => folder(args),
        false if is_file => file(args, SafetensorsFile),
        false => unfit("a file NAME.safetensors"),
    }
}

/// A model folder, with its weights in files of at most the size that is given.
fn folder(args: &Args) -> Result<Box<dyn Target>, ConvertError> {
    let folder = args.max_shard_size.map_or_else(ModelFolder::default, |size| ModelFolder { max_shard_size: size });
    other(args, folder)
}

/// A file.
fn file(args: &Args, target: impl Target + 'static) -> Result<Box<dyn Target>, ConvertError> {
    check_is_not_divided(args)?;
    other(args, target)
}

/// Refuses a size of files for an output that is one file, or a package.
fn check_is_not_divided(args: &Args) -> Result<(), ConvertError> {
    let reason =
        "is for folders, whose weights may be several files; give an output whose name has no ending, or leave it out";
    match args.max_shard_size {
        Some(_) => Err(ConvertError::TargetOption { option: "--max-shard-size", reason }),
        None => Ok(()),
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
