//! The server: its address, its routes, and its end.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

use crate::api::Route;
use crate::host::{self, Hosts};
use crate::metrics::NamedMetric;
use crate::state::State;
use crate::uploads::{Embed, Uploads};
use crate::{Result, ServeError, api, assets, audio, players, security};

/// The port that is used unless another is chosen.
pub const DEFAULT_PORT: u16 = 8765;

/// The time that answers in progress have when the server ends.
const GRACE: Duration = Duration::from_millis(500);

/// The address of the server, and the names by which it may be called.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address to listen on: a loopback address, or any other if others may use the server.
    pub ip: IpAddr,
    /// The port; 0 for any free one.
    pub port: u16,
    /// Names other than `localhost` and addresses that a `Host` header may have.
    pub host_names: Vec<String>,
    /// The learned metrics that requests may choose; all fit the catalogue.
    pub metrics: Vec<NamedMetric>,
}

/// Serves the catalogue in `folder` until the process is interrupted. With `embed`, files that are sent to it can be searched
/// from. `ready` is called with the address once requests
/// are answered, `warn` with what the person who started the server should know.
///
/// # Errors
/// [`ServeError::Catalogue`] if the catalogue cannot be opened, [`ServeError::Bind`] if the address cannot be listened on.
pub fn serve(
    folder: &Path,
    options: &ServeOptions,
    embed: Option<Embed>,
    ready: impl FnOnce(SocketAddr),
    warn: impl Fn(&str) + Send + Sync + 'static,
) -> Result<()> {
    // Deleted when the server ends, whatever is being embedded then.
    let temporary = embed.is_some().then(|| tempfile::Builder::new().prefix("mert-search-").tempdir()).transpose()?;
    let uploads =
        Uploads::new(embed, temporary.as_ref().map_or_else(PathBuf::new, |folder| folder.path().to_path_buf()));
    let state = Arc::new(State::open(folder, options.metrics.clone(), uploads, Box::new(warn))?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().enable_time().build()?;
    let result = runtime.block_on(async {
        let address = SocketAddr::new(options.ip, options.port);
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
        ready(listener.local_addr()?);
        let router = router(state, Hosts::new(options.host_names.clone()));
        tokio::select! {
            result = axum::serve(listener, router) => result.map_err(ServeError::Io),
            () = interrupted() => Ok(()),
        }
    });
    runtime.shutdown_timeout(GRACE);
    result
}

/// All routes. Audio is not compressed: it would lose its ranges and gain nothing.
fn router(state: Arc<State>, hosts: Hosts) -> Router {
    let collect = |routes: Vec<Route>| {
        routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
    };
    let texts = collect(api::routes()).merge(collect(players::routes())).merge(assets::routes());
    Router::new()
        .merge(texts.layer(CompressionLayer::new()))
        .merge(collect(audio::routes()))
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::method_not_allowed)
        .with_state(state)
        .layer(middleware::from_fn(security::add_headers))
        .layer(middleware::from_fn_with_state(Arc::new(hosts), host::check))
}

/// Waits for an interrupt or, where there are such signals, for the request to terminate.
async fn interrupted() {
    let interrupt = async {
        // Without a handler the signal ends the process at once, which is as well.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
