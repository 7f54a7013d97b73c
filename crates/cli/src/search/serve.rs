//! `mert-search serve`: a page to search and listen on, and the API behind it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use mert_cli::terminal::{Exit, print, say};
use mert_serve::{DEFAULT_PORT, ServeOptions, serve};

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
}

/// Serves the page until the process is interrupted.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    if let Some(name) = args.allow_hosts.iter().find(|name| name.is_empty() || name.contains([':', '/', ' '])) {
        bail!("invalid --allow-host {name}: expected a name without a port, such as music.local");
    }
    let ip = args.listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if !ip.is_loopback() {
        say(&format!(
            "warning: {ip} is not a loopback address. Everyone who reaches it can search and hear the whole catalogue: \
             there are no users and no passwords, and nothing is encrypted"
        ));
    }
    let options = ServeOptions { ip, port: args.port, host_names: args.allow_hosts.clone() };
    let ready = |address| {
        // The address is a result: a script that started the server reads it.
        let _ = print(&format!("http://{address}/\n"));
        say("Ctrl-C ends the server");
    };
    serve(&args.catalogue, &options, ready, |message| say(&format!("mert-search: {message}")))?;
    Ok(Exit::Success)
}
