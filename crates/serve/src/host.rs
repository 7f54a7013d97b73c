//! The check of `Host` and `Origin`. A page of another site cannot read answers of this server, unless its name is made
//! to lead to the loopback address (DNS rebinding): then the browser takes both for one site, and only `Host` still has
//! the other name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mert_search::excerpt;

use crate::api::ApiError;

/// The names by which the server may be called.
#[derive(Debug)]
pub(crate) struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// `localhost`, all addresses, and `names`.
    pub(crate) fn new(names: Vec<String>) -> Self {
        Hosts { names: names.into_iter().map(|name| name.to_ascii_lowercase()).collect() }
    }

    /// Whether the server may be called by `authority`, a name or address with or without a port. An address cannot be
    /// rebound, and the port may be another where it is forwarded.
    fn allows(&self, authority: &str) -> bool {
        let host = host_of(authority).to_ascii_lowercase();
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&host);
        host == "localhost" || address.parse::<IpAddr>().is_ok() || self.names.contains(&host)
    }
}

/// Whether a name is one that a server can be given, without a port: letters, digits, `-` and `_` between dots.
pub fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..64).contains(&label.len()) && label.chars().all(is_inside) && !label.starts_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The host of an authority, without the port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Refuses requests under names that are not this server's, and those that other sites' pages make.
pub(crate) async fn check(State(hosts): State<Arc<Hosts>>, request: Request, next: Next) -> Response {
    match refusal(&hosts, request.uri(), request.headers()) {
        Some(reason) => ApiError::new(StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

/// The reason to refuse a request.
fn refusal(hosts: &Hosts, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut authorities = headers.get_all(HOST).iter();
    let authority = match (authorities.next(), authorities.next()) {
        (Some(host), None) => host.to_str().unwrap_or_default(),
        (None, None) => uri.authority().map_or("", |authority| authority.as_str()),
        (_, Some(_)) => return Some("the request has several Host headers".into()),
    };
    // A target such as `http://name/` says where the request goes, whatever `Host` says (RFC 9112, section 3.2.2).
    let target = uri.authority().map(|target| target.as_str());
    for authority in [Some(authority), target].into_iter().flatten() {
        if !hosts.allows(authority) {
            let name = host_of(authority);
            if name.is_empty() {
                return Some("the request has no Host: use the server's address".into());
            }
            // Only what the option takes is proposed.
            let option = match is_host_name(name) {
                true => format!(", or start it with --allow-host {name}"),
                false => String::new(),
            };
            return Some(format!("this server is not called `{}`: use its address{option}", excerpt(authority)));
        }
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("sec-fetch-site") == Some("cross-site") && header("sec-fetch-mode") != Some("navigate") {
        return Some("pages of other sites may not use this server".into());
    }
    // Browsers send `Origin` with changes, and with requests of scripts to other sites.
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let other = origin.split_once("://").map_or(origin, |(_, authority)| authority);
        if !other.eq_ignore_ascii_case(authority) {
            return Some(format!("a page of {} may not use this server", excerpt(origin)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(headers: &[(&'static str, &str)]) -> bool {
        refuses_target("/", headers)
    }

    fn refuses_target(target: &'static str, headers: &[(&'static str, &str)]) -> bool {
        let hosts = Hosts::new(vec!["Music.Local".into()]);
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.append(*name, value.parse().unwrap());
        });
        refusal(&hosts, &Uri::from_static(target), &map).is_some()
    }

    #[test]
    fn only_names_that_can_be_allowed_are_proposed() {
        let reason = |host: &str| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            refusal(&Hosts::new(Vec::new()), &Uri::from_static("/"), &headers).unwrap()
        };
        assert!(reason("nas.local:8765").ends_with("with --allow-host nas.local"));
        for host in ["*", "*.local:1", "a b", "-x"] {
            let reason = reason(host);
            assert!(reason.contains(host) && !reason.contains("--allow-host"), "{reason}");
        }
        for host in ["", ":8765"] {
            assert_eq!(reason(host), "the request has no Host: use the server's address");
        }
    }

    #[test]
    fn names_of_other_sites_are_refused_and_addresses_are_not() {
        for host in ["localhost", "LOCALHOST:8765", "127.0.0.1:1", "[::1]:8765", "192.168.1.5:80", "music.local:8765"] {
            assert!(!refuses(&[("host", host)]), "{host}");
        }
        for host in ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "", ":1"]
        {
            assert!(refuses(&[("host", host)]), "{host}");
        }
        assert!(refuses(&[]));
        assert!(!refuses_target("http://localhost:8765/", &[("host", "localhost:8765")]));
        for target in ["http://evil.example/", "http://localhost@evil.example/", "http://user@evil.example:8765/"] {
            assert!(refuses_target(target, &[("host", "localhost:8765")]), "{target}");
        }
        assert!(refuses(&[("host", "localhost"), ("host", "evil.example")]));
    }

    #[test]
    fn other_origins_may_not_change_anything_and_their_pages_may_not_use_answers() {
        let host = ("host", "localhost:8765");
        assert!(!refuses(&[host, ("origin", "http://localhost:8765")]));
        assert!(refuses(&[host, ("origin", "http://localhost:9000")]));
        assert!(refuses(&[host, ("origin", "null")]));
        assert!(refuses(&[host, ("origin", "http://localhost:8765"), ("origin", "http://evil.example")]));
        assert!(refuses(&[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]));
        assert!(!refuses(&[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        assert!(!refuses(&[host, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")]));
    }
}
