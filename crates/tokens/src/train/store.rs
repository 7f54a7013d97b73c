//! The folder of a training that is not finished: frames, in files that are mapped, and the centres after the last pass.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mert_fs::{MappedFile, replace_file};
use serde::{Deserialize, Serialize};

use crate::TokensError;

/// The files of a training in its folder, beside the lock. Nothing else in it is touched: it may have been there before.
const FILES: [&str; 6] = ["settings", "k-means", "files.jsonl", "training.f32", "held-out.f32", "centres.f32"];

/// The start of a line of the settings that is about an input.
pub const INPUT: &str = "input ";

/// The file that one process at a time has locked.
const LOCK: &str = "lock";

/// The two sets of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The frames that centres are found from.
    Training,
    /// The frames that centres are only judged with.
    HeldOut,
}

/// A file whose frames are in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredFile {
    /// The index of the file among the inputs.
    pub index: usize,
    /// The set that its frames belong to.
    pub part: Part,
    /// The number of its frames.
    pub frames: u64,
    /// Silent windows, which are left out.
    pub silent: u64,
}

/// The centres after a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The passes that are done; 0 for the centres to start from.
    pub pass: usize,
    /// The centres, one after the other.
    pub centres: Vec<f32>,
}

/// The folder with the frames and centres of one training. One process at a time has it.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    dim: usize,
    files: Vec<StoredFile>,
    log: File,
    training: BufWriter<File>,
    held_out: BufWriter<File>,
    _lock: File,
}

impl Store {
    /// The folder for the training of `output`.
    pub fn path_for(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(".training");
        PathBuf::from(name)
    }

    /// Opens the folder for `output`, with frames of `dim` values, and continues with what it holds. `settings` is all that
    /// the frames depend on, a line for each option and a line with [`INPUT`] in front for each input, and `kmeans` what
    /// centres depend on beside them: with another `kmeans` the frames are kept and the centres discarded, with `restart` all
    /// that is there.
    ///
    /// # Errors
    /// [`TokensError::OtherTraining`] if it holds the frames of another training; [`TokensError::Locked`]; what the
    /// operating system says.
    pub fn open(output: &Path, dim: usize, settings: &str, kmeans: &str, restart: bool) -> Result<Self, TokensError> {
        let folder = Store::path_for(output);
        let read = |path: &Path, source| TokensError::Read { path: path.to_path_buf(), source };
        std::fs::create_dir_all(&folder).map_err(|error| read(&folder, error))?;
        let lock = File::create(folder.join(LOCK)).map_err(|error| read(&folder, error))?;
        lock.try_lock().map_err(|_| TokensError::Locked { path: folder.clone() })?;
        let settings_file = folder.join("settings");
        if restart {
            remove_files(&folder)?;
        }
        let log_path = folder.join("files.jsonl");
        let has_files = !stored_files(&log_path).map_err(|error| read(&log_path, error))?.is_empty();
        match std::fs::read_to_string(&settings_file) {
            Ok(found) if found == settings => {}
            Ok(found) if has_files => {
                let difference = difference(&found, settings);
                return Err(TokensError::OtherTraining { path: folder, difference });
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(read(&settings_file, error)),
            _ => replace_bytes(&settings_file, settings.as_bytes())?,
        }
        let kmeans_file = folder.join("k-means");
        if std::fs::read_to_string(&kmeans_file).is_ok_and(|found| found != kmeans) {
            match std::fs::remove_file(folder.join("centres.f32")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(read(&folder, error)),
                _ => {}
            }
        }
        replace_bytes(&kmeans_file, kmeans.as_bytes())?;
        let files = stored_files(&log_path).map_err(|error| read(&log_path, error))?;
        // A line that was cut off by the end of the process is written again.
        let log: String =
            files.iter().filter_map(|file| serde_json::to_string(file).ok()).map(|line| line + "\n").collect();
        replace_bytes(&log_path, log.as_bytes())?;
        let log = OpenOptions::new().append(true).open(&log_path).map_err(|error| read(&log_path, error))?;
        let values = |part: Part, name: &str| {
            let path = folder.join(name);
            let frames: u64 = files.iter().filter(|file| file.part == part).map(|file| file.frames).sum();
            frames_file(&path, frames * dim as u64 * 4).map_err(|error| read(&path, error))
        };
        let (training, held_out) = (values(Part::Training, "training.f32")?, values(Part::HeldOut, "held-out.f32")?);
        Ok(Store { folder, dim, files, log, training, held_out, _lock: lock })
    }

    /// The files whose frames are here, in the order in which they came.
    pub fn files(&self) -> &[StoredFile] {
        &self.files
    }

    /// Adds frames of a file that is not finished.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn add(&mut self, part: Part, values: &[f32]) -> Result<(), TokensError> {
        let file = self.file(part);
        let bytes: &[u8] = bytemuck::cast_slice(values);
        file.write_all(bytes).map_err(|error| self.error(error))
    }

    /// Forgets the frames of a file that is not finished.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub fn forget(&mut self, part: Part) -> Result<(), TokensError> {
        let frames = self.frames(part);
        let bytes = frames * self.dim as u64 * 4;
        let file = self.file(part);
        let truncated = file.flush().and_then(|()| {
            file.get_mut().set_len(bytes)?;
            file.get_mut().seek(SeekFrom::Start(bytes)).map(drop)
        });
        truncated.map_err(|error| self.error(error))
    }

    /// Records a file whose frames were all added.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(&mut self, file: StoredFile) -> Result<(), TokensError> {
        let written = self.file(file.part).flush().and_then(|()| {
            let mut line = serde_json::to_string(&file)?;
            line.push('\n');
            self.log.write_all(line.as_bytes())
        });
        written.map_err(|error| self.error(error))?;
        self.files.push(file);
        Ok(())
    }

    /// The number of frames of finished files.
    pub fn frames(&self, part: Part) -> u64 {
        self.files.iter().filter(|file| file.part == part).map(|file| file.frames).sum()
    }

    /// The frames of finished files, mapped.
    ///
    /// # Errors
    /// If the file cannot be mapped.
    pub fn mapped(&mut self, part: Part) -> Result<Option<MappedFile>, TokensError> {
        if self.frames(part) == 0 {
            return Ok(None);
        }
        self.file(part).flush().map_err(|error| self.error(error))?;
        let path = self.folder.join(match part {
            Part::Training => "training.f32",
            Part::HeldOut => "held-out.f32",
        });
        MappedFile::open(&path).map(Some).map_err(|source| TokensError::Read { path, source })
    }

    /// The rows at which the files of a set end.
    pub fn ends(&self, part: Part) -> Vec<usize> {
        let files = self.files.iter().filter(|file| file.part == part);
        files
            .scan(0, |row, file| {
                *row += file.frames as usize;
                Some(*row)
            })
            .collect()
    }

    /// The centres after the last pass, if there are any of this size.
    pub fn checkpoint(&self, k: usize) -> Option<Checkpoint> {
        let bytes = std::fs::read(self.folder.join("centres.f32")).ok()?;
        let (pass, rest) = bytes.split_first_chunk::<8>()?;
        let (checksum, values) = rest.split_first_chunk::<4>()?;
        let whole = values.len() == k * self.dim * 4 && crc32fast::hash(values) == u32::from_le_bytes(*checksum);
        let centres = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        whole.then(|| Checkpoint { pass: u64::from_le_bytes(*pass) as usize, centres })
    }

    /// Keeps the centres after a pass.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn keep(&self, pass: usize, centres: &[f32]) -> Result<(), TokensError> {
        let values: Vec<u8> = centres.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut bytes = (pass as u64).to_le_bytes().to_vec();
        bytes.extend(crc32fast::hash(&values).to_le_bytes());
        bytes.extend(values);
        replace_bytes(&self.folder.join("centres.f32"), &bytes)
    }

    /// Removes the frames and centres, since the vocabulary is written, and the folder, unless other files are in it.
    ///
    /// # Errors
    /// If they cannot be removed.
    pub fn remove(self) -> Result<(), TokensError> {
        let folder = self.folder.clone();
        drop(self);
        let error = |source| TokensError::Read { path: folder.clone(), source };
        remove_files(&folder)?;
        std::fs::remove_file(folder.join(LOCK)).map_err(error)?;
        mert_fs::remove_stale_temporaries(&folder).map_err(error)?;
        match std::fs::remove_dir(&folder) {
            Err(source) if source.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error(source)),
            _ => Ok(()),
        }
    }

    fn file(&mut self, part: Part) -> &mut BufWriter<File> {
        match part {
            Part::Training => &mut self.training,
            Part::HeldOut => &mut self.held_out,
        }
    }

    fn error(&self, source: io::Error) -> TokensError {
        TokensError::Read { path: self.folder.clone(), source }
    }
}

/// The difference between the settings of an interrupted training and those that are wanted. The lines of inputs come last, and
/// begin with [`INPUT`].
fn difference(found: &str, wanted: &str) -> String {
    let settings =
        |text: &str| text.lines().filter(|line| !line.starts_with(INPUT)).map(str::to_string).collect::<Vec<_>>();
    let line = mert_arch::printable_line;
    let (old, new) = (settings(found), settings(wanted));
    match old.iter().zip(&new).find(|(old, new)| old != new) {
        Some((old, new)) => format!("setting ({} instead of {})", line(old), line(new)),
        None => {
            "choice of windows: other inputs, a file that has changed, or other --frames, --held-out or --k".to_string()
        }
    }
}

/// Removes the files of a training in `folder`, but not its lock.
fn remove_files(folder: &Path) -> Result<(), TokensError> {
    for path in FILES.map(|name| folder.join(name)) {
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(TokensError::Read { path, source }),
            _ => {}
        }
    }
    Ok(())
}

/// Replaces the file at `path` in one step.
fn replace_bytes(path: &Path, bytes: &[u8]) -> Result<(), TokensError> {
    Ok(replace_file(path, |file: &mut File| file.write_all(bytes))?)
}

/// The files in a log, up to a line that is not whole.
fn stored_files(path: &Path) -> io::Result<Vec<StoredFile>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map_while(|line| serde_json::from_str(line).ok())
        .collect())
}

/// A file of frames, cut to the `bytes` bytes of finished files.
fn frames_file(path: &Path, bytes: u64) -> io::Result<BufWriter<File>> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    if file.metadata()?.len() < bytes {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than its log says: give --restart"));
    }
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(bytes))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmeans::Frames;

    fn stored(index: usize, part: Part, frames: u64) -> StoredFile {
        StoredFile { index, part, frames, silent: 0 }
    }

    #[test]
    fn continues_after_the_last_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("vocabulary.safetensors");
        {
            let mut store = Store::open(&output, 2, "layer 2\n", "k 2\n", false).unwrap();
            assert!(matches!(Store::open(&output, 2, "layer 2\n", "k 2\n", false), Err(TokensError::Locked { .. })));
            store.add(Part::Training, &[1.0, 2.0, 3.0, 4.0]).unwrap();
            store.finish(stored(0, Part::Training, 2)).unwrap();
            store.add(Part::HeldOut, &[9.0, 9.0]).unwrap();
            store.finish(stored(1, Part::HeldOut, 1)).unwrap();
            store.keep(3, &[0.5, 1.5, 2.5, 3.5]).unwrap();
            // A file that is not finished.
            store.add(Part::Training, &[7.0; 6]).unwrap();
        }
        let log = Store::path_for(&output).join("files.jsonl");
        let mut text = std::fs::read_to_string(&log).unwrap();
        text.push_str("{\"index\":2,");
        std::fs::write(&log, text).unwrap();
        {
            let mut store = Store::open(&output, 2, "layer 2\n", "k 2\n", false).unwrap();
            assert_eq!(store.files().len(), 2);
            assert_eq!(store.checkpoint(2), Some(Checkpoint { pass: 3, centres: vec![0.5, 1.5, 2.5, 3.5] }));
            assert_eq!(store.checkpoint(3), None);
            store.add(Part::Training, &[8.0, 8.0]).unwrap();
            store.forget(Part::Training).unwrap();
            store.add(Part::Training, &[5.0, 6.0]).unwrap();
            store.finish(stored(2, Part::Training, 1)).unwrap();
            let mapped = store.mapped(Part::Training).unwrap().unwrap();
            assert_eq!(
                Frames::mapped(&mapped, 0..mapped.bytes().len(), 2).unwrap().values(),
                [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
            );
            assert_eq!(store.ends(Part::Training), [2, 3]);
            assert_eq!(store.frames(Part::HeldOut), 1);
        }
        // Another k needs other centres of the same frames.
        let store = Store::open(&output, 2, "layer 2\n", "k 3\n", false).unwrap();
        assert_eq!((store.files().len(), store.checkpoint(2)), (3, None));
        drop(store);
        let other = Store::open(&output, 2, "layer 3\n", "k 2\n", false).unwrap_err();
        assert!(
            other.to_string().contains("layer 2 instead of layer 3") && other.to_string().contains("--restart"),
            "{other}"
        );
        let fresh = Store::open(&output, 2, "layer 3\n", "k 2\n", true).unwrap();
        assert_eq!((fresh.files().len(), fresh.checkpoint(2)), (0, None));
        fresh.remove().unwrap();
        assert!(!Store::path_for(&output).exists());
    }

    #[test]
    fn what_was_in_the_folder_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("v.safetensors");
        let own = Store::path_for(&output).join("thesis.txt");
        std::fs::create_dir(Store::path_for(&output)).unwrap();
        std::fs::write(&own, "mine").unwrap();
        for restart in [false, true] {
            Store::open(&output, 2, "a\n", "", restart).unwrap().remove().unwrap();
            let left: Vec<_> =
                std::fs::read_dir(Store::path_for(&output)).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(left, [own.as_path()]);
        }
        std::fs::remove_file(&own).unwrap();
        Store::open(&output, 2, "a\n", "", false).unwrap().remove().unwrap();
        assert!(!Store::path_for(&output).exists());
    }

    #[test]
    fn another_training_is_named_by_its_option() {
        let difference = |found: &str, wanted: &str| super::difference(found, wanted);
        let text = difference("seed 0\ninput a.wav (3 of 9 windows)\n", "seed 1\ninput a.wav (4 of 9 windows)\n");
        assert_eq!(text, "setting (seed 0 instead of seed 1)");
        let text = difference("seed 0\ninput a.wav (3 of 9 windows)\n", "seed 0\ninput a.wav (4 of 9 windows)\n");
        assert!(text.starts_with("choice of windows: "), "{text}");
    }

    #[test]
    fn damaged_centres_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("v");
        let store = Store::open(&output, 1, "", "", false).unwrap();
        store.keep(1, &[1.0, 2.0]).unwrap();
        let path = Store::path_for(&output).join("centres.f32");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(store.checkpoint(2), None);
    }
}
