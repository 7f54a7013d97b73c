//! The choice of the output format: by the program that the output is for, or else by the ending of its name.

use std::path::Path;

use super::{ByteSize, CoreMlOptions, CoreMlPackage, Gguf, ModelFolder, SafetensorsFile, Target};
use crate::{ConvertError, Program, Result};

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

/// The options of single formats.
#[derive(Debug, Clone, Default)]
pub struct TargetOptions {
    /// The size of the files that the weights of a folder are divided into; [`ModelFolder`]'s default without it.
    pub max_shard_size: Option<ByteSize>,
    /// The options of a Core ML package.
    pub coreml: CoreMlOptions,
    /// The first option that only Core ML packages have and that the user gave, for the message that refuses it elsewhere.
    pub given_for_coreml: Option<&'static str>,
}

/// The format of `output`. Without an output it is a file, whose plan is printed.
///
/// # Errors
/// [`ConvertError::OutputFormat`] or [`ConvertError::ProgramOutput`] for an output of another name, and
/// [`ConvertError::TargetOption`] for options of another format.
pub fn target_for(output: Option<&Path>, program: Option<Program>, options: &TargetOptions) -> Result<Box<dyn Target>> {
    let Some(output) = output else { return options.file(SafetensorsFile) };
    let extension = output.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    match (program, extension.as_deref()) {
        (Some(program), extension) => options.for_program(program, output, extension),
        (None, Some("safetensors")) => options.file(SafetensorsFile),
        (None, Some("gguf")) => options.file(Gguf),
        (None, Some("mlpackage")) => {
            options.check_is_not_divided()?;
            Ok(Box::new(CoreMlPackage { options: options.coreml.clone() }))
        }
        (None, Some(ending)) if OTHER_FILES.contains(&ending) => {
            Err(ConvertError::OutputFormat { path: output.to_path_buf() })
        }
        (None, _) => options.folder(),
    }
}

impl TargetOptions {
    fn for_program(&self, program: Program, output: &Path, extension: Option<&str>) -> Result<Box<dyn Target>> {
        let unfit = |expected| {
            let path = output.to_path_buf();
            Err(ConvertError::ProgramOutput { program: program.name(), expected, path })
        };
        let is_file = extension == Some("safetensors");
        match program.is_folder() {
            true if is_file || matches!(extension, Some("mlpackage" | "gguf")) => {
                unfit("a folder, whose name has no such ending")
            }
            true => self.folder(),
            false if is_file => self.file(SafetensorsFile),
            false => unfit("a file NAME.safetensors"),
        }
    }

    /// A model folder, with its weights in files of at most the size that is given.
    fn folder(&self) -> Result<Box<dyn Target>> {
        let folder = self.max_shard_size.map_or_else(ModelFolder::default, |size| ModelFolder { max_shard_size: size });
        self.other(folder)
    }

    /// A file.
    fn file(&self, target: impl Target + 'static) -> Result<Box<dyn Target>> {
        self.check_is_not_divided()?;
        self.other(target)
    }

    /// Refuses a size of files for an output that is one file, or a package.
    fn check_is_not_divided(&self) -> Result<()> {
        let reason = "is for folders, whose weights may be several files; give an output whose name has no ending, or leave \
                      it out";
        match self.max_shard_size {
            Some(_) => Err(ConvertError::TargetOption { option: "--max-shard-size", reason }),
            None => Ok(()),
        }
    }

    /// A target that has no options of Core ML packages.
    fn other(&self, target: impl Target + 'static) -> Result<Box<dyn Target>> {
        let reason = "is for Core ML packages: give an output whose name ends in .mlpackage";
        match self.given_for_coreml {
            Some(option) => Err(ConvertError::TargetOption { option, reason }),
            None => Ok(Box::new(target)),
        }
    }
}
