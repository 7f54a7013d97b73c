//! The audio input that the files beside an original checkpoint state, compared with a converted file's record. Both sides
//! of a comparison get the same samples, so that hidden states cannot show that the samples are wrong.

use std::path::Path;

use mert_arch::{PREPROCESSOR_FILES, Preprocessor, PreprocessorConfig, text_from_bytes};

use crate::{Result, VerifyError};

/// Describes each field of the preprocessor files beside `checkpoint` that `recorded` contradicts.
///
/// # Errors
/// [`VerifyError::Read`], [`VerifyError::Config`] for a file that transformers would not accept.
pub(crate) fn contradictions(checkpoint: &Path, recorded: Preprocessor) -> Result<Vec<String>> {
    let folder = if checkpoint.is_dir() { Some(checkpoint) } else { checkpoint.parent() };
    let mut found = Vec::new();
    for file in PREPROCESSOR_FILES.iter().filter_map(|name| Some(folder?.join(name))).filter(|file| file.is_file()) {
        let bytes = std::fs::read(&file).map_err(|source| VerifyError::read(&file, source))?;
        let text = text_from_bytes(&bytes).map_err(|reason| VerifyError::checkpoint(&file, reason))?;
        let stated = PreprocessorConfig::from_json(&text);
        let stated = stated.map_err(|source| VerifyError::Config { path: file.clone(), source })?;
        let mut compare = |field: &str, recorded: String, stated: Option<String>| {
            if let Some(stated) = stated.filter(|stated| *stated != recorded) {
                found.push(format!(
                    "the converted file records {field} {recorded}, {} has {stated}: embeddings of audio would not be the \
                     original's; convert it again, or correct the one that is wrong",
                    file.display()
                ));
            }
        };
        compare("do_normalize", recorded.do_normalize.to_string(), stated.do_normalize.map(|v| v.to_string()));
        compare("sampling_rate", recorded.sampling_rate.to_string(), stated.sampling_rate.map(|v| v.to_string()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("model.safetensors");
        let recorded = Preprocessor { do_normalize: true, sampling_rate: 16_000 };
        assert_eq!(contradictions(&checkpoint, recorded).unwrap(), Vec::<String>::new());
        for (text, fields) in [
            (r#"{"do_normalize": true, "sampling_rate": 16000}"#, &[][..]),
            (r#"{"sampling_rate": 16000.0}"#, &[]),
            (r#"{"do_normalize": false}"#, &["do_normalize true"]),
            (r#"{"do_normalize": 0, "sampling_rate": 24000}"#, &["do_normalize true", "sampling_rate 16000"]),
        ] {
            std::fs::write(folder.path().join("preprocessor_config.json"), text).unwrap();
            for path in [&checkpoint, folder.path()] {
                let found = contradictions(path, recorded).unwrap();
                assert_eq!(found.len(), fields.len(), "{text}: {found:?}");
                assert!(found.iter().zip(fields).all(|(found, field)| found.contains(field)), "{text}: {found:?}");
            }
        }
    }
}
