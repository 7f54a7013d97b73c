use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use crate::HubError;

/// What a path to a checkpoint ends in: a missing one is a wrong path, not a model of the hub.
const FILE_EXTENSIONS: [&str; 8] = ["bin", "pt", "pth", "ckpt", "safetensors", "json", "mlpackage", "npz"];

/// A model of the hub and which of its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// Owner and name, `m-a-p/MERT-v1-95M`.
    pub repo: String,
    /// The branch, tag or commit, if one was given.
    pub revision: Option<String>,
    /// Whether it was given as `hf://…`, so that it cannot have been meant as a path.
    pub explicit: bool,
}

impl HubName {
    /// What `input` names on the hub: `hf://owner/name` always, `owner/name` if nothing is there on the disk and it
    /// does not end as a checkpoint file does; each may end in `@revision`. `None` if it is a path.
    ///
    /// # Errors
    /// [`HubError::Name`] for `hf://` and something illegal.
    pub fn of_input(input: &Path) -> Result<Option<HubName>, HubError> {
        let Some(text) = input.to_str() else { return Ok(None) };
        if text.starts_with("hf://") {
            return HubName::parse(text).map(Some);
        }
        let absent = std::fs::symlink_metadata(input).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let extension = input.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !absent || FILE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
            return Ok(None);
        }
        Ok(HubName::parse(text).ok())
    }

    /// Parses `owner/name` or `owner/name@revision`, with or without `hf://` before it.
    ///
    /// # Errors
    /// [`HubError::Name`] if the hub allows no such name.
    pub fn parse(text: &str) -> Result<HubName, HubError> {
        let illegal = |reason| HubError::Name { given: text.to_string(), reason };
        let rest = text.strip_prefix("hf://");
        let explicit = rest.is_some();
        let rest = rest.unwrap_or(text);
        let (repo, revision) = match rest.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (rest, None),
        };
        let (owner, name) = repo.split_once('/').ok_or_else(|| illegal("there is no owner before a slash"))?;
        if repo.len() > 96 {
            return Err(illegal("it is longer than 96 characters"));
        }
        if !is_legal_part(owner) || !is_legal_part(name) || name.ends_with(".git") {
            return Err(illegal(
                "owner and name are of letters, digits, `-`, `_` and `.`, neither begin nor end with `-` or `.`, and \
                 have no `--` or `..`",
            ));
        }
        if !revision.is_none_or(is_legal_revision) {
            return Err(illegal("what follows the @ is no branch, tag or commit"));
        }
        Ok(HubName { repo: repo.to_string(), revision: revision.map(str::to_string), explicit })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

fn is_legal_part(part: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty()
        && part.chars().all(legal)
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
        && !part.contains("--")
        && !part.contains("..")
}

/// As `git check-ref-format` has it, and so that it stays below `refs/` in the cache.
fn is_legal_revision(revision: &str) -> bool {
    let legal = |c: char| c.is_ascii_graphic() && !matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    revision.len() <= 255
        && revision.chars().all(legal)
        && !revision.contains("..")
        && !revision.contains("@{")
        && revision
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.ends_with(".lock"))
}

/// Whether this is a whole commit hash, which no branch or tag can be moved to or from.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this is a SHA-256 in lower-case hexadecimal.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
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
    }
}
