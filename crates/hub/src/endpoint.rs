//! The hub's address: the addresses of files on it, and the decision whether an address belongs to it. That decision
//! alone says which requests carry the token. The parser is the one of the HTTP client, so that the host compared is the
//! host that is connected to.

use std::fmt;
use std::str::FromStr;

use ureq::http::Uri;

use crate::{HubError, Result};

/// The server, such as `https://huggingface.co` or a mirror of it, possibly with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// As given, without a slash at the end.
    text: String,
    origin: Origin,
}

/// Scheme, user, host and port of an address (<https://www.rfc-editor.org/rfc/rfc6454#section-4>). Browsers leave the
/// user out; here a redirection that adds one to the hub's own host is suspicious.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    user: Option<String>,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of an absolute HTTP address.
    fn of(uri: &Uri) -> Option<Origin> {
        let (scheme, authority) = (uri.scheme_str()?.to_ascii_lowercase(), uri.authority()?);
        let default_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let (user, host_and_port) = match authority.as_str().rsplit_once('@') {
            Some((user, host_and_port)) => (Some(user.to_string()), host_and_port),
            None => (None, authority.as_str()),
        };
        // The parser ignores what follows an IPv6 host (`[::1].evil`) and a port beyond 65535.
        let port = match host_and_port.strip_prefix(authority.host())? {
            "" | ":" => default_port,
            rest => rest.strip_prefix(':')?.parse().ok()?,
        };
        let host = authority.host().to_ascii_lowercase();
        (!host.is_empty()).then_some(Origin { scheme, user, host, port })
    }
}

impl Endpoint {
    /// The address of a file of a model.
    ///
    /// # Errors
    /// [`HubError::Protocol`] if a part of it is too long for an address.
    pub(crate) fn file(&self, repo: &str, revision: &str, path: &str) -> Result<Uri> {
        let path: Vec<String> = path.split('/').map(escape).collect();
        // The hub expects the slashes of a revision escaped, and those of a path as they are.
        let text = format!("{}/{repo}/resolve/{}/{}", self.text, escape(revision), path.join("/"));
        text.parse().map_err(|error| HubError::protocol(&text, format!("it is not an address: {error}")))
    }

    /// Whether an address is on this server.
    pub(crate) fn contains(&self, uri: &Uri) -> bool {
        Origin::of(uri).as_ref() == Some(&self.origin)
    }

    /// The target of a redirection from `uri` if it is on this server; `None` for another server.
    pub(crate) fn redirected(&self, uri: &Uri, location: &str) -> Option<Uri> {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let target = match location {
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
            _ => location.to_string(),
        };
        target.parse().ok().filter(|target| self.contains(target))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.origin.scheme == "https"
    }
}

impl FromStr for Endpoint {
    type Err = HubError;

    /// Parses an address such as `https://huggingface.co`.
    ///
    /// # Errors
    /// [`HubError::Setting`] for `HF_ENDPOINT`, the variable that it comes from.
    fn from_str(text: &str) -> Result<Endpoint> {
        let text = text.trim().trim_end_matches('/');
        let uri = text.parse::<Uri>().ok().filter(|uri| uri.query().is_none() && !text.contains('#'));
        let origin = uri.as_ref().and_then(Origin::of);
        origin.map(|origin| Endpoint { text: text.to_string(), origin }).ok_or_else(|| HubError::Setting {
            variable: "HF_ENDPOINT",
            reason: format!("invalid address `{text}`: expected https://HOST or http://HOST"),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Percent-encodes what one segment of an address's path cannot hold.
fn escape(text: &str) -> String {
    let is_unreserved = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|c| if is_unreserved(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    fn contains(endpoint_text: &str, uri: &str) -> bool {
        // An address that the client cannot parse is not requested at all.
        uri.parse().is_ok_and(|uri| endpoint(endpoint_text).contains(&uri))
    }

    #[test]
    fn spellings_of_one_server() {
        for uri in [
            "https://a.b",
            "https://a.b/",
            "https://a.b?c",
            "https://a.b/c#d",
            "https://a.b:443/",
            "https://a.b:/x",
            "https://A.B/x",
            "HTTPS://a.b/x",
            "https://a.b/x@evil",
            "https://a.b/https://evil/",
            "https://a.b?@evil",
        ] {
            assert!(contains("https://a.b", uri), "{uri}");
            assert!(contains("HTTPS://A.b:443/mirror", uri), "{uri}");
        }
        assert!(contains("http://a.b", "http://a.b:80/"));
        assert!(contains("http://127.0.0.1:8080", "http://127.0.0.1:8080/x"));
        assert!(contains("https://[2001:DB8::1]", "https://[2001:db8::1]:443/x"));
        assert!(contains("https://[::1]:8443", "https://[::1]:8443/x"));
        assert!(contains("https://me:secret@a.b", "https://me:secret@a.b/x"));
    }

    #[test]
    fn other_servers() {
        for uri in [
            "http://a.b/",
            "http://a.b:443/",
            "https://a.b:444/",
            "https://a.b:80/",
            "https://a.b:65979/", // 443 + 65536
            "https://a.b.evil/x",
            "https://evila.b/x",
            "https://evil/a.b",
            "https://evil/https://a.b/",
            "https://evil?https://a.b/",
            "https://evil#a.b",
            "https://a.b@evil/",
            "https://a.b:443@evil/",
            "https://a.b%2F@evil/",
            "https://a.b%40evil/",
            "https://x@a.b/",
            "https://a.b@a.b/",
            "https://a.b\\@evil/",
            "https://evil\\@a.b/",
            "https://evil\\.a.b/",
            "https://a.b\t.evil/",
            "https:a.b",
            "https:///a.b",
            "ftp://a.b/",
            "a.b",
            "//a.b/",
            "/a.b",
            "https://xn--a-ecp.b/",
            "https://[::1]/",
            "https://[a.b]/",
        ] {
            assert!(!contains("https://a.b", uri), "{uri}");
        }
        assert!(!contains("https://[::1]:8443", "https://[::1]/"));
        assert!(!contains("https://[::1]:8443", "https://[::2]:8443/"));
        assert!(!contains("https://[::1]", "https://[::1]@evil/"));
        assert!(!contains("https://[::1]", "https://[::1].evil/"));
        assert!(!contains("https://me:secret@a.b", "https://a.b/"));
        assert!(!contains("https://me:secret@a.b", "https://me:SECRET@a.b/"));
        assert!(!contains("https://me:secret@a.b", "https://me:secret@evil/"));
    }

    #[test]
    fn redirections() {
        let (hub, uri) = (endpoint("https://a.b/mirror"), "https://a.b/mirror/x?y".parse().unwrap());
        let redirected = |location: &str| hub.redirected(&uri, location).map(|target| target.to_string());
        assert_eq!(redirected("/z?q").as_deref(), Some("https://a.b/z?q"));
        assert_eq!(redirected("//a.b/z").as_deref(), Some("https://a.b/z"));
        assert_eq!(redirected("https://A.B:443/z").as_deref(), Some("https://A.B:443/z"));
        for other in
            ["//evil/z", "https://evil/", "http://a.b/", "https://a.b@evil/", "//a.b@evil/", "/\\evil", "z", ""]
        {
            assert!(redirected(other).is_none_or(|target| target.starts_with("https://a.b/")), "{other}");
        }
        assert_eq!(redirected("//evil/z"), None);
        assert_eq!(redirected("//a.b@evil/"), None);
    }

    #[test]
    fn addresses_of_files() {
        let file = |revision, path| endpoint("http://a.b/c/").file("o/n", revision, path).unwrap().to_string();
        assert_eq!(file("refs/pr/1", "x/y.npz"), "http://a.b/c/o/n/resolve/refs%2Fpr%2F1/x/y.npz");
        assert_eq!(file("v1+ä#%", "?.bin"), "http://a.b/c/o/n/resolve/v1%2B%C3%A4%23%25/%3F.bin");
    }

    #[test]
    fn endpoints_that_are_not_addresses() {
        for text in
            ["", "huggingface.co", "ftp://a.b", "https://", "https://?x", "https://a.b?x", "https://a.b#x", "/a"]
        {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains("HF_ENDPOINT") && error.contains("https://HOST"), "{text}: {error}");
        }
    }
}
