use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::HubError;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where the hub is, where its cache is, and what may be done: what Python's `huggingface_hub` reads from the
/// environment.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The server, without a slash at the end.
    pub endpoint: String,
    /// The folder with `models--owner--name`.
    pub cache: PathBuf,
    /// What is sent to the endpoint, and only there.
    pub token: Option<Token>,
    /// The variable that forbids the network, if one does.
    pub offline: Option<&'static str>,
}

/// A secret, which is not printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// `None` if it is empty or has characters that no token has.
    pub fn new(token: &str) -> Option<Token> {
        let token = token.trim();
        let legal = !token.is_empty() && token.bytes().all(|c| c.is_ascii_graphic());
        legal.then(|| Token(token.to_string()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl HubSettings {
    /// From `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`HubError::Setting`] names the variable that cannot be used.
    pub fn from_env() -> Result<HubSettings, HubError> {
        let home = home()?;
        let cache = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE")).unwrap_or(home.join("hub"));
        let cache = std::path::absolute(&cache)
            .map_err(|error| HubError::Setting { variable: "HF_HUB_CACHE", reason: error.to_string() })?;
        let token = if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(&home)? };
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|variable| is_set(variable));
        Ok(HubSettings { endpoint: endpoint()?, cache, token, offline })
    }
}

/// `HF_HOME`, or the folder that it defaults to.
fn home() -> Result<PathBuf, HubError> {
    let default = || {
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")))?;
        Some(caches.join("huggingface"))
    };
    folder("HF_HOME").or_else(default).ok_or_else(|| HubError::Setting {
        variable: "HF_HOME",
        reason: "it is not set and there is no home folder; set it to a folder for downloads".into(),
    })
}

fn endpoint() -> Result<String, HubError> {
    let Some(endpoint) = text("HF_ENDPOINT") else { return Ok(DEFAULT_ENDPOINT.into()) };
    if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
        return Err(HubError::Setting {
            variable: "HF_ENDPOINT",
            reason: format!("`{endpoint}` does not begin with https:// or http://"),
        });
    }
    Ok(endpoint.trim_end_matches('/').to_string())
}

fn token(home: &Path) -> Result<Option<Token>, HubError> {
    let from_file = |path: PathBuf| std::fs::read_to_string(path).ok();
    let sources = [
        ("HF_TOKEN", text("HF_TOKEN")),
        ("HUGGING_FACE_HUB_TOKEN", text("HUGGING_FACE_HUB_TOKEN")),
        ("HF_TOKEN_PATH", folder("HF_TOKEN_PATH").or(Some(home.join("token"))).and_then(from_file)),
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

/// A folder or file; `~` is the home folder, as in Python, because no shell expands it in a settings file.
fn folder(variable: &str) -> Option<PathBuf> {
    let path = env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)?;
    match path.strip_prefix("~") {
        Ok(rest) => Some(env::home_dir()?.join(rest)),
        Err(_) => Some(path),
    }
}

fn is_set(variable: &str) -> bool {
    text(variable).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str()))
}
