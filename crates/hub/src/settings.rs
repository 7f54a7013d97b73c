//! The settings of the hub: the environment variables that Python's `huggingface_hub` reads
//! (<https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>).

use std::env;
use std::path::{Path, PathBuf};

use crate::{Endpoint, HubError, Result, Token};

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// The hub's server, its cache on this machine, and the permissions.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The server.
    pub endpoint: Endpoint,
    /// The folder that holds `models--owner--name`.
    pub cache: PathBuf,
    /// The access token. It is sent to the endpoint only.
    pub token: Option<Token>,
    /// The variable that forbids the network, if one does.
    pub offline: Option<&'static str>,
}

impl HubSettings {
    /// Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`HubError::Setting`] naming the variable that cannot be used.
    pub fn from_env() -> Result<HubSettings> {
        let home = home()?;
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or(home.join("hub"));
        let cache = std::path::absolute(&cache)
            .map_err(|error| HubError::Setting { variable: "HF_HUB_CACHE", reason: error.to_string() })?;
        let token = if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(&home)? };
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|variable| is_set(variable));
        let endpoint = text("HF_ENDPOINT").as_deref().unwrap_or(DEFAULT_ENDPOINT).parse()?;
        Ok(HubSettings { endpoint, cache, token, offline })
    }
}

/// `HF_HOME`, or its default folder.
fn home() -> Result<PathBuf> {
    let default = || {
        let caches = path("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")))?;
        Some(caches.join("huggingface"))
    };
    path("HF_HOME").or_else(default).ok_or_else(|| HubError::Setting {
        variable: "HF_HOME",
        reason: "it is not set and there is no home folder; set it to a folder for downloads".into(),
    })
}

fn token(home: &Path) -> Result<Option<Token>> {
    let from_file = |path: PathBuf| std::fs::read_to_string(path).ok();
    let sources = [
        ("HF_TOKEN", text("HF_TOKEN")),
        ("HUGGING_FACE_HUB_TOKEN", text("HUGGING_FACE_HUB_TOKEN")),
        ("HF_TOKEN_PATH", path("HF_TOKEN_PATH").or(Some(home.join("token"))).and_then(from_file)),
    ];
    for (variable, source) in sources {
        let Some(source) = source.filter(|source| !source.trim().is_empty()) else { continue };
        let reason = "the token has characters that no token has; copy it again, on one line";
        return Token::new(&source).map(Some).ok_or_else(|| HubError::Setting { variable, reason: reason.into() });
    }
    Ok(None)
}

fn text(variable: &str) -> Option<String> {
    env::var(variable).ok().map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
}

/// A variable's folder or file. `~` is expanded as in Python, because no shell expands it in a settings file.
fn path(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)?;
    match path.strip_prefix("~") {
        Ok(rest) => Some(env::home_dir()?.join(rest)),
        Err(_) => Some(path),
    }
}

fn is_set(variable: &str) -> bool {
    text(variable).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str()))
}
