//! The models in `fixtures/families/`: one for each family and form, with the hidden states of its own transformers class.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mert_arch::Config;

use crate::{fixture, sharp_checkpoint, write_torch_zip};

/// The names that a checkpoint in `fixtures/families/` has.
const CHECKPOINTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The seed of the weights that are too large to keep: `SEED` in `scripts/fixtures/recipes.py`.
const SEED: u64 = 20_261_121;

/// A folder in `fixtures/families/`, each a row of `scripts/fixtures/families.py`.
#[derive(Debug, Clone)]
pub struct FamilyFixture {
    /// The name of the folder.
    pub name: String,
    /// The configuration in its `config.json`.
    pub config: Config,
    folder: PathBuf,
}

impl FamilyFixture {
    /// Lists all fixtures, sorted by name.
    ///
    /// # Panics
    /// If one of them cannot be read: the repository is not complete.
    pub fn all() -> Vec<FamilyFixture> {
        let folders = fs::read_dir(fixture("families")).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<PathBuf>>>()
        });
        let folders = folders.unwrap_or_else(|error| panic!("fixtures/families cannot be listed: {error}"));
        let mut fixtures: Vec<FamilyFixture> = folders.into_iter().map(Self::open).collect();
        fixtures.sort_by(|a, b| a.name.cmp(&b.name));
        fixtures
    }

    /// The fixture of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(name: &str) -> FamilyFixture {
        Self::open(fixture("families").join(name))
    }

    fn open(folder: PathBuf) -> FamilyFixture {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(folder.join("config.json")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let config = Config::from_json(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        FamilyFixture { name, config, folder }
    }

    /// The path of the `config.json`.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// The path of the hidden states, which transformers returned.
    pub fn reference(&self) -> PathBuf {
        self.folder.join("reference.npz")
    }

    /// The path of the checkpoint. If the repository does not keep it, it is generated in `scratch`, in a folder of its own
    /// with the other files of the fixture.
    ///
    /// # Errors
    /// Errors of writing to `scratch`.
    pub fn checkpoint(&self, scratch: &Path) -> io::Result<PathBuf> {
        if let Some(file) = CHECKPOINTS.iter().map(|name| self.folder.join(name)).find(|file| file.is_file()) {
            return Ok(file);
        }
        let folder = scratch.join(&self.name);
        let file = folder.join("pytorch_model.bin");
        if !file.is_file() {
            fs::create_dir_all(&folder)?;
            for name in ["config.json", "preprocessor_config.json"] {
                fs::copy(self.folder.join(name), folder.join(name))?;
            }
            write_torch_zip(&file, &sharp_checkpoint(&self.config, SEED))?;
        }
        Ok(file)
    }
}
