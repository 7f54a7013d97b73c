//! The requests to the hub about one model: redirections, repeated attempts, and the token, which only the endpoint gets.

use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, ResponseExt};

use crate::response::{FileHeaders, Lookup, check_status, header_text, network_error, not_found};
use crate::retry::Attempts;
use crate::{HubError, HubEvent, HubSettings, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of a single read. A whole download may take any time.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: u32 = 5;

/// A client for one model.
pub(crate) struct Client<'a> {
    agent: Agent,
    settings: &'a HubSettings,
    repo: &'a str,
    pub(crate) on_event: &'a dyn Fn(HubEvent<'_>),
}

impl<'a> Client<'a> {
    pub(crate) fn new(settings: &'a HubSettings, repo: &'a str, on_event: &'a dyn Fn(HubEvent<'_>)) -> Client<'a> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // The system's certificate authorities, because companies add their own.
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .https_only(settings.endpoint.is_https())
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            // Ranges and sizes count the bytes of the file itself, not of a compressed form.
            .accept_encoding("identity")
            // Downloads are redirected to other hosts, which must not get the token.
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .max_redirects(MAX_REDIRECTS)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .timeout_per_write(Some(READ_TIMEOUT))
            .build();
        Client { agent: Agent::new_with_config(agent), settings, repo, on_event }
    }

    /// Looks up a file at a revision, without its bytes.
    pub(crate) fn look_up(&self, revision: &str, file: &str) -> Result<Lookup> {
        let endpoint = &self.settings.endpoint;
        let mut uri = endpoint.file(self.repo, revision, file)?;
        let mut headers = FileHeaders::default();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.head(&uri)?;
            if response.status() == StatusCode::NOT_FOUND {
                return not_found(&response, endpoint, self.repo, revision, file);
            }
            headers.add(&response);
            // A renamed model is redirected on the hub itself, and so are small files; those requests need the token.
            let location = header_text(&response, "location").filter(|_| response.status().is_redirection());
            match location.and_then(|location| endpoint.redirected(&uri, location)) {
                Some(target) => uri = target,
                None => return headers.file_info(uri).map(Lookup::File),
            }
        }
        Err(HubError::protocol(&uri, "it is redirected again and again"))
    }

    /// Requests the bytes of a file from `start` on. The response may nevertheless be the whole file.
    pub(crate) fn get(&self, uri: &Uri, start: u64) -> Result<Response<Body>> {
        let mut request = self.agent.get(uri);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        if let Some(value) = self.authorization(uri) {
            request = request.header(header::AUTHORIZATION, value);
        }
        let response = request.call().map_err(|error| network_error(uri, error))?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(HubError::protocol(uri, "the file is listed but does not exist (HTTP 404)")),
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            // On another server the link has expired; the next attempt gets a new one.
            StatusCode::FORBIDDEN if !self.settings.endpoint.contains(response.get_uri()) => {
                Err(HubError::interrupted(uri, "the link to the file is refused (HTTP 403)"))
            }
            _ => check_status(uri, response, self.settings, self.repo),
        }
    }

    fn head(&self, uri: &Uri) -> Result<Response<Body>> {
        let mut attempts = Attempts::new(uri, self.on_event);
        loop {
            let mut request = self.agent.head(uri).config().max_redirects(0).build();
            if let Some(value) = self.authorization(uri) {
                request = request.header(header::AUTHORIZATION, value);
            }
            let response = request.call().map_err(|error| network_error(uri, error));
            let response = response.and_then(|response| match response.status() {
                StatusCode::NOT_FOUND => Ok(response),
                _ => check_status(uri, response, self.settings, self.repo),
            });
            match response {
                // Without a network the cache is to be used at once, not after several attempts.
                Ok(_) | Err(HubError::Unreachable { .. }) => return response,
                Err(error) => attempts.wait_after(error)?,
            }
        }
    }

    /// The value of the header `Authorization`; `None` for any other server than the endpoint.
    fn authorization(&self, uri: &Uri) -> Option<String> {
        let token = self.settings.token.as_ref()?;
        self.settings.endpoint.contains(uri).then(|| format!("Bearer {}", token.reveal()))
    }
}
