//! Checkpoints: pickles, zip containers, the legacy container and safetensors, as `mert-convert` opens and reads them.

use std::io::{Cursor, Read, Write};
use std::path::PathBuf;

use mert_arch::fairseq::FairseqConfig;
use mert_checkpoint::Source;
use mert_testkit::fuzz::Seed;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{bounded, folder, fuzz_file};

const ZIPS: [&str; 16] = [
    "containers/zip.bin",
    "containers/views.bin",
    "containers/lightning.ckpt",
    "fairseq/args.pt",
    "fairseq/fine-tuned.pt",
    "fairseq/omegaconf-2.0.pt",
    "fairseq/omegaconf-2.3.pt",
    "hostile/foreign-tensor.bin",
    "hostile/negated-view.bin",
    "hostile/numpy.bin",
    "hostile/os-system.bin",
    "pickles/tensors.bin",
    "pickles/nested.bin",
    "pickles/objects.bin",
    "pickles/objects-protocol5.bin",
    "pickles/optimizer.pt",
];

const LEGACY: [&str; 5] = [
    "fairseq/legacy.pt",
    "containers/legacy.bin",
    "pickles/tensors-legacy.bin",
    "pickles/objects-legacy.bin",
    "pickles/module-legacy.bin",
];

/// Opens a checkpoint and reads every tensor; a refusal is as good as success, but must have a reason.
fn read(path: PathBuf) -> Result<(), String> {
    let said =
        |error: String| if error.trim().is_empty() { Err("an error without a message".to_string()) } else { Ok(()) };
    let source = match Source::open(&path) {
        Ok(source) => source,
        Err(error) => return said(error.to_string()),
    };
    if let Some(cfg) = &source.listing().training_config
        && let Err(error) = FairseqConfig::from_cfg(cfg).and_then(|config| config.stated_fields())
    {
        said(error.to_string())?;
    }
    for (name, info) in &source.listing().tensors {
        match source.checkpoint().read(name) {
            Ok(bytes) => {
                let expected = info.dtype.size().map(|size| info.shape.iter().product::<usize>() * size);
                if expected.is_some_and(|expected| expected != bytes.len()) {
                    return Err(format!("`{name}` {:?} has {} bytes", info.shape, bytes.len()));
                }
            }
            Err(error) => said(error.to_string())?,
        }
    }
    Ok(())
}

#[test]
fn zip() {
    fuzz_file("zip", ZIPS.map(Seed::fixture).into(), None, read);
}

#[test]
fn legacy() {
    fuzz_file("legacy", LEGACY.map(Seed::fixture).into(), None, read);
}

#[test]
fn safetensors() {
    fuzz_file("safetensors", vec![Seed::fixture("containers/plain.safetensors")], None, read);
}

/// The entries of a zip file, by their names in it.
fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        entries.push((entry.name().unwrap().into_owned(), bytes));
    }
    entries
}

/// The pickle alone is mutated, in a container that is whole.
#[test]
fn pickle() {
    let containers = ZIPS.map(|path| (path, entries(&Seed::fixture(path).bytes)));
    let corpus = containers.iter().map(|(path, entries)| {
        let (_, pickle) = entries.iter().find(|(name, _)| name.ends_with("data.pkl")).unwrap();
        Seed { name: path.replace('/', "_"), bytes: pickle.clone() }
    });
    let folder = folder();
    let run = |input: &Seed| {
        let Some((path, entries)) = containers.iter().find(|(path, _)| input.name.ends_with(&path.replace('/', "_")))
        else {
            return Err(format!("no fixture is called {}", input.name));
        };
        let file = folder.path().join(path.rsplit('/').next().unwrap());
        let mut zip = ZipWriter::new(std::fs::File::create(&file).unwrap());
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, bytes) in entries {
            zip.start_file(name.as_str(), options).unwrap();
            zip.write_all(if name.ends_with("data.pkl") { &input.bytes } else { bytes }).unwrap();
        }
        let length = zip.finish().unwrap().metadata().unwrap().len();
        bounded(length as usize, || read(file))
    };
    let _alone = super::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    mert_testkit::fuzz::Target { name: "pickle", corpus: corpus.collect(), repair: None, run: &run }.fuzz();
}
