//! The names of models and files of the hub, and their distinction from paths on the disk.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use crate::{HubError, Result};

/// Extensions of checkpoints and their companions. A missing path with one of them is a wrong path, not a model.
const FILE_EXTENSIONS: [&str; 8] = ["bin", "pt", "pth", "ckpt", "safetensors", "json", "mlpackage", "npz"];

/// The prefix of names that cannot be paths.
const SCHEME: &str = "hf://";

const MODEL_FORM: &str = "hf://owner/name or hf://owner/name@revision";
const FILE_FORM: &str = "hf://owner/name/FILE or hf://owner/name@revision/FILE";

/// A model of the hub, with an optional revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// Owner and name, `m-a-p/MERT-v1-95M`.
    pub repo: String,
    /// The branch, tag or commit, if one was given.
    pub revision: Option<String>,
    /// Whether it was given as `hf://…`, which cannot be a path.
    pub explicit: bool,
}

impl HubName {
    /// The model that an input names, or `None` if it is a path. `hf://owner/name` is always a model; `owner/name` is one
    /// if nothing exists at that path and it has no extension of a checkpoint. Each may end in `@revision`.
    ///
    /// # Errors
    /// [`HubError::Name`] for a malformed name after `hf://`, and for a malformed revision after `owner/name@`.
    pub fn of_input(input: &Path) -> Result<Option<HubName>> {
        let Some(text) = input.to_str() else { return Ok(None) };
        if text.starts_with(SCHEME) {
            return HubName::parse(text).map(Some);
        }
        let absent = std::fs::symlink_metadata(input).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let extension = input.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !absent || FILE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
            return Ok(None);
        }
        match HubName::parse(text) {
            Ok(name) => Ok(Some(name)),
            Err(error) if text.split_once('@').is_some_and(|(repo, _)| repo_fault(repo).is_none()) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Parses `owner/name` or `owner/name@revision`, with or without `hf://` before it.
    ///
    /// # Errors
    /// [`HubError::Name`] if the hub does not allow such a name.
    pub fn parse(text: &str) -> Result<HubName> {
        let (explicit, rest) = match text.strip_prefix(SCHEME) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (rest, None),
        };
        match repo_fault(repo).or_else(|| revision_fault(revision?)) {
            Some(reason) => Err(HubError::name(text, reason, MODEL_FORM)),
            None => Ok(HubName { repo: repo.to_string(), revision: revision.map(str::to_string), explicit }),
        }
    }
}

/// A file of a model of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// The model.
    pub model: HubName,
    /// The file's path in the model, with slashes.
    pub path: String,
}

impl HubFile {
    /// The file that an input names as `hf://owner/name/path`, or `None` if it is a path on the disk.
    ///
    /// # Errors
    /// [`HubError::Name`] for a malformed name after `hf://`.
    pub fn of_input(input: &Path) -> Result<Option<HubFile>> {
        match input.to_str() {
            Some(text) if text.starts_with(SCHEME) => HubFile::parse(text).map(Some),
            _ => Ok(None),
        }
    }

    /// Parses `hf://owner/name/path` or `hf://owner/name@revision/path`. A slash in the revision is written `%2F`, as in
    /// Python's `huggingface_hub`.
    ///
    /// # Errors
    /// [`HubError::Name`] if it is malformed.
    pub fn parse(text: &str) -> Result<HubFile> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let mut parts = rest.splitn(3, '/');
        let (Some(owner), Some(name), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HubError::name(text, "the path of the file in the model is missing", FILE_FORM));
        };
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, Some(revision.replace("%2F", "/"))),
            None => (name, None),
        };
        let repo = format!("{owner}/{name}");
        let reason = repo_fault(&repo).or_else(|| revision_fault(revision.as_deref()?)).or_else(|| path_fault(path));
        match reason {
            Some(reason) => Err(HubError::name(text, reason, FILE_FORM)),
            None => Ok(HubFile { model: HubName { repo, revision, explicit: true }, path: path.to_string() }),
        }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// The fault of a model's name, by the hub's rules
/// (<https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/utils/_validators.py>).
fn repo_fault(repo: &str) -> Option<&'static str> {
    let Some((owner, name)) = repo.split_once('/') else { return Some("the owner is missing") };
    if repo.len() > 96 {
        return Some("it is longer than 96 characters");
    }
    if !is_legal_part(owner) || !is_legal_part(name) || name.ends_with(".git") {
        return Some(
            "owner and name consist of letters, digits, `-`, `_` and `.`, neither begin nor end with `-` or `.`, and have \
             no `--` or `..`",
        );
    }
    None
}

fn is_legal_part(part: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty()
        && part.chars().all(is_legal)
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
        && !part.contains("--")
        && !part.contains("..")
}

/// The fault of a revision, by the rules of `git check-ref-format`, which also keep it below `refs/` in the cache.
fn revision_fault(revision: &str) -> Option<&'static str> {
    let is_legal = |c: char| c.is_ascii_graphic() && !matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    let is_legal_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.ends_with(".lock");
    let legal = revision.len() <= 255
        && revision.chars().all(is_legal)
        && !revision.contains("..")
        && !revision.contains("@{")
        && revision.split('/').all(is_legal_part);
    (!legal).then_some("the text after @ is not a branch, tag or commit")
}

/// The fault of a file's path in a model. A legal path stays below the snapshot's folder in the cache.
fn path_fault(path: &str) -> Option<&'static str> {
    let is_legal = |c: char| !c.is_control() && !matches!(c, '\\' | ':');
    let is_legal_part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    let legal = path.len() <= 1024 && path.chars().all(is_legal) && path.split('/').all(is_legal_part);
    (!legal).then_some("the path of the file in the model is not one of plain folder and file names")
}

/// Whether this is a whole commit hash, which always means the same files.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names() {
        let name = HubName::parse("m-a-p/MERT-v1-95M").unwrap();
        assert_eq!((name.repo.as_str(), name.revision, name.explicit), ("m-a-p/MERT-v1-95M", None, false));
        let name = HubName::parse("hf://a/b.c_d@refs/pr/1").unwrap();
        assert_eq!((name.repo.as_str(), name.revision.as_deref(), name.explicit), ("a/b.c_d", Some("refs/pr/1"), true));
        assert_eq!(HubName::parse("a/b@v1.0").unwrap().to_string(), "a/b@v1.0");
    }

    #[test]
    fn no_names() {
        let long = format!("a/{}", "b".repeat(96));
        for text in [
            "",
            "a",
            "/a",
            "a/",
            "a/b/c",
            "../b",
            "./b",
            "a/..",
            "a/b--c",
            "-a/b",
            "a/b.",
            "a b/c",
            "a/ü",
            "a/b.git",
            "a\\b/c",
            "a/b@",
            "a/b@../x",
            "a/b@x//y",
            "a/b@/x",
            "a/b@x/",
            "a/b@.x",
            "a/b@x y",
            "a/b@x:y",
            "a/b@x\\y",
            "a/b@x.lock",
            "a/b@x\u{7}",
            "hf://",
            "hf:///a/b",
            "https://a/b",
            &long,
        ] {
            assert!(HubName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_models() {
        let file = HubFile::parse("hf://owner/name/reference.npz").unwrap();
        assert_eq!((file.model.repo.as_str(), file.path.as_str()), ("owner/name", "reference.npz"));
        assert!(file.model.explicit && file.model.revision.is_none());
        let file = HubFile::parse("hf://owner/name@refs%2Fpr%2F1/clips/a b.npz").unwrap();
        assert_eq!((file.model.revision.as_deref(), file.path.as_str()), (Some("refs/pr/1"), "clips/a b.npz"));
        for text in [
            "hf://owner/name",
            "hf://owner/name/",
            "hf://owner//x.npz",
            "hf://owner/name/../x.npz",
            "hf://owner/name/./x.npz",
            "hf://owner/name//x.npz",
            "hf://owner/name/x\\y.npz",
            "hf://owner/name/c:x.npz",
            "hf://owner/name/x\n.npz",
            "hf://owner/name@/x.npz",
            "hf://owner/name@..%2Fx/x.npz",
            "hf://../name/x.npz",
            "hf:///owner/name/x.npz",
        ] {
            assert!(HubFile::of_input(Path::new(text)).is_err(), "{text}");
        }
        assert_eq!(HubFile::of_input(Path::new("owner/name/x.npz")).unwrap(), None);
    }

    #[test]
    fn what_is_a_path() {
        let of = |text: &str| HubName::of_input(Path::new(text));
        for path in [
            "src/lib.rs",
            "models/foo.bin",
            "models/foo.PT",
            "nothing",
            "no/such/file",
            "./a/b",
            "/a/b",
            "Cargo.toml/b",
        ] {
            assert_eq!(of(path).unwrap(), None, "{path}");
        }
        assert!(of("nobody/nothing").unwrap().is_some_and(|name| !name.explicit));
        assert!(of("hf://nobody/weights.bin").unwrap().is_some_and(|name| name.explicit));
        assert!(of("hf://nothing").is_err());
        assert_eq!(of("nobody/nothing@x.bin").unwrap(), None);
        let error = of("nobody/nothing@").unwrap_err().to_string();
        assert!(error.starts_with("invalid name `nobody/nothing@`: the text after @ is not"), "{error}");
        let error = of("hf://a/b@x\n\u{1b}").unwrap_err().to_string();
        assert!(error.starts_with(r"invalid name `hf://a/b@x\n\u{1b}`"), "{error}");
    }
}
