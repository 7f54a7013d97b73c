//! Bundles of the MusicGen fixtures, made with the real `mert-convert`.

use std::path::{Path, PathBuf};

use mert_testkit::{fixture, runner};
use tempfile::TempDir;

/// The fixtures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// transformers' MusicGen.
    Plain,
    /// Instruct-MusicGen's checkpoint with audiocraft's files.
    Instruct,
    /// transformers' MusicGen for stereo, with T5 and EnCodec of the plain one.
    Stereo,
}

impl Kind {
    /// Those for mono.
    pub(crate) const ALL: [Kind; 2] = [Kind::Plain, Kind::Instruct];

    /// The reference that PyTorch computed.
    pub(crate) fn reference(self) -> PathBuf {
        match self {
            Kind::Plain => fixture("musicgen/reference-plain.npz"),
            Kind::Instruct => fixture("musicgen/reference-instruct.npz"),
            Kind::Stereo => fixture("musicgen-stereo/reference.npz"),
        }
    }

    /// The arguments of `mert-convert` without options.
    fn inputs(self, output: &Path) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let output = output.display().to_string();
        match self {
            Kind::Plain => vec![text(fixture("musicgen/plain")), output],
            Kind::Stereo => {
                let (model, parts) = (text(fixture("musicgen-stereo")), text(fixture("musicgen/plain")));
                [&model, &output, "--t5", &parts, "--codec", &parts].map(ToString::to_string).to_vec()
            }
            Kind::Instruct => {
                let of = |name: &str| text(fixture("musicgen/instruct").join(name));
                let (base, codec) = (of("state_dict.bin"), of("compression_state_dict.bin"));
                let options = ["--base", &base, "--codec", &codec, "--t5", &of("t5")].map(String::from);
                [of("finetuned.ckpt"), output].into_iter().chain(options).collect()
            }
        }
    }

    /// Runs `mert-convert` on the fixture with these options.
    pub(crate) fn convert(self, output: &Path, options: &[&str]) -> runner::Run {
        let options = options.iter().map(ToString::to_string);
        runner::run("mert-convert", self.inputs(output).into_iter().chain(options).collect::<Vec<String>>())
    }

    /// Converts the fixture into `folder` with these options.
    pub(crate) fn bundle(self, folder: &TempDir, name: &str, options: &[&str]) -> PathBuf {
        let output = folder.path().join(name);
        let run = self.convert(&output, options);
        assert_eq!(run.code, 0, "{self:?} {options:?}: {}{}", run.stdout, run.stderr);
        output
    }
}
