//! The exceptions of the package, and which errors of the libraries they stand for. Their texts are those of the commands.

use mert_audio::AudioError as Audio;
use mert_convert::ConvertError;
use mert_embed::EmbedError;
use mert_search::SearchError;
use mert_verify::VerifyError;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;

create_exception!(
    mert_toolkit,
    MertError,
    PyException,
    "Something could not be done; the base of the package's exceptions."
);
create_exception!(mert_toolkit, ModelError, MertError, "A model cannot be found, downloaded, loaded or run.");
create_exception!(mert_toolkit, AudioError, MertError, "Audio cannot be decoded or embedded.");
create_exception!(
    mert_toolkit,
    ConversionError,
    MertError,
    "A checkpoint was not converted; the output is as it was before."
);
create_exception!(mert_toolkit, VerificationError, MertError, "A model could not be compared with its references.");
create_exception!(mert_toolkit, CatalogueError, MertError, "A catalogue cannot be read or searched.");

/// The exception for an error of embedding.
pub(crate) fn of_embedding(error: EmbedError) -> PyErr {
    match error {
        EmbedError::Audio(error) => of_audio(&error),
        EmbedError::Layers(error) => PyValueError::new_err(error.to_string()),
        EmbedError::Model(_) | EmbedError::NotFinite { .. } | EmbedError::NoProjection { .. } => {
            ModelError::new_err(error.to_string())
        }
        error => MertError::new_err(error.to_string()),
    }
}

/// The exception for an error of audio.
pub(crate) fn of_audio(error: &Audio) -> PyErr {
    AudioError::new_err(error.to_string())
}

/// The exception for an error of opening a model.
pub(crate) fn of_model(error: &anyhow::Error) -> PyErr {
    ModelError::new_err(mert_cli::terminal::error_text(error))
}

/// The exception for an error of a conversion.
pub(crate) fn of_conversion(error: &ConvertError) -> PyErr {
    ConversionError::new_err(error.to_string())
}

/// The exception for an error of a verification.
pub(crate) fn of_verification(error: &VerifyError) -> PyErr {
    VerificationError::new_err(error.to_string())
}

/// The exception for an error of a search.
pub(crate) fn of_search(error: &SearchError) -> PyErr {
    match error {
        SearchError::Query(reason) => PyValueError::new_err(reason.clone()),
        error => CatalogueError::new_err(error.to_string()),
    }
}

/// The exception for an error of a seed: of its text, of a file outside the catalogue, or of the model that embeds it.
pub(crate) fn of_seed(error: &anyhow::Error) -> PyErr {
    let text = mert_cli::terminal::error_text(error);
    if let Some(error) = error.downcast_ref::<SearchError>() {
        return of_search(error);
    }
    match error.downcast_ref::<EmbedError>() {
        Some(EmbedError::Audio(_) | EmbedError::Passage { .. }) => AudioError::new_err(text),
        _ => ModelError::new_err(text),
    }
}
