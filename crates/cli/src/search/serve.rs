//! `mert-search serve`: a page to search and listen on, and the API behind it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use mert_cli::catalogue::CatalogueModel;
use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print, say};
use mert_search::{Catalogue, excerpt};
use mert_serve::{DEFAULT_PORT, Embed, NamedMetric, ServeOptions, is_host_name, serve};
use mert_table::printable_path;

/// The options of `mert-search serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The catalogue's folder
    catalogue: PathBuf,
    /// The port; 0 for any free one
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Listen on this address instead of the loopback: whoever reaches it can search and hear the whole catalogue
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// Answer under this name as well, such as host.docker.internal; localhost and addresses always work
    #[arg(long = "allow-host", value_name = "NAME")]
    allow_hosts: Vec<String>,
    /// The model that the catalogue was made with: files can be dropped on the page to search from. For each model of a
    /// catalogue of several, in their order
    #[arg(long, value_name = "MODEL")]
    model: Vec<PathBuf>,
    /// A metric of `mert-search learn` that the page can choose, by the name of the file; given again for each
    #[arg(long, value_name = "FILE")]
    metric: Vec<PathBuf>,
}

/// Serves the page until the process is interrupted.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    args.allow_hosts.iter().try_for_each(|name| check_host(name))?;
    let ip = args.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if !ip.is_loopback() {
        say(&format!(
            "warning: {ip} is not a loopback address. Everyone who reaches it can search and hear the whole catalogue: \
             there are no users and no passwords, and nothing is encrypted"
        ));
    }
    let (metrics, embed) = extras(args)?;
    let options = ServeOptions { ip, port: args.port, host_names: args.allow_hosts.clone(), metrics };
    let ready = |address| {
        // The address is a result: a script that started the server reads it.
        let _ = print(&format!("http://{address}/\n"));
        say("Ctrl-C ends the server");
    };
    serve(&args.catalogue, &options, embed, ready, |message| say(&format!("mert-search: {message}")))?;
    Ok(Exit::Success)
}

/// Refuses a name that is none, and `*`: with any name allowed, a page of another site could reach the server by one of its
/// own (DNS rebinding).
fn check_host(name: &str) -> anyhow::Result<()> {
    if name.contains('*') {
        bail!("invalid --allow-host {}: every name has to be given, because any could lead here", excerpt(name));
    }
    if !is_host_name(name) {
        bail!("invalid --allow-host {}: expected a name without a port, such as music.local", excerpt(name));
    }
    Ok(())
}

/// The metrics, and what embeds files that are sent.
fn extras(args: &ServeArgs) -> anyhow::Result<(Vec<NamedMetric>, Option<Embed>)> {
    if args.metric.is_empty() && args.model.is_empty() {
        return Ok((Vec::new(), None));
    }
    let catalogue = Catalogue::open(&args.catalogue)?;
    let mut metrics: Vec<NamedMetric> = Vec::with_capacity(args.metric.len());
    for path in &args.metric {
        let metric = NamedMetric::load(path, &catalogue)?;
        if metrics.iter().any(|other| other.name == metric.name) {
            bail!("two files of --metric are called {}: rename one, the page chooses by name", excerpt(&metric.name));
        }
        metrics.push(metric);
    }
    if args.model.is_empty() {
        return Ok((metrics, None));
    }
    let mut model = CatalogueModel::open(&catalogue, &args.model, Messages::of("mert-search", false))?;
    model.notes().iter().for_each(|note| say(note));
    let embed: Embed = Box::new(move |path, progress| {
        let segments = model.embed(path, None, progress).with_context(|| printable_path(path));
        segments.map_err(|error| mert_cli::terminal::error_text(&error))
    });
    Ok((metrics, Some(embed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_are_names() {
        for name in ["music.local", "host.docker.internal", "nas", "my_nas-2"] {
            check_host(name).unwrap();
        }
        let long = "a.".repeat(200);
        for name in ["*", "*.local", "", "a:8765", "a/b", "a b", ".local", "a..b", "-a", "music.local.\n", &long] {
            assert!(check_host(name).is_err(), "{name}");
        }
    }
}
