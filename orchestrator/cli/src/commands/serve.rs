//! `csd serve`: the orchestrator over levels that run elsewhere.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, anyhow, bail};
use csd_config::Cascade;
use csd_worker::TlsArgs;

use crate::{door::Door, interrupt::Interrupt, local, output};

/// Where the API listens when nobody says otherwise.
const DEFAULT: &str = "127.0.0.1:8080";

/// Serve the API over levels that run already.
///
/// The levels' addresses stand in the cascade file (`address = "http://HOST:PORT"`, or a list of them), or are given here. A
/// level at several addresses has as many replicas. SIGTERM drains.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  csd serve cascade.toml --listen 0.0.0.0:8080
  csd serve cascade.toml --level target=http://gpu:50051 --level draft=http://here:50052")]
pub(crate) struct Args {
    /// The cascade file; without one, the bundled cascade (config/tiny.toml).
    cascade: Option<PathBuf>,
    /// Where the API listens; port 0 picks a free one [default: the file's `listen`, else 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where a level runs, instead of what the file says; may be given for each of them, and again for every replica.
    #[arg(long = "level", value_name = "NAME=URL", value_parser = place)]
    levels: Vec<(String, String)>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    door: Door,
}

/// Serves until it is asked to stop.
pub(crate) async fn run(args: Args) -> Result<()> {
    let mut interrupt = Interrupt::catch()?;
    let _seen = local::see(false)?;
    let access = args.door.access()?;
    let mut cascade = local::cascade(args.cascade.as_deref())?;
    settle(&mut cascade, args.levels)?;
    cascade.tls = args.tls.over(&cascade.tls);
    let unplaced = |level: &&csd_config::Level| level.addresses.is_empty();
    if let Some(level) = cascade.levels.iter().find(unplaced) {
        let name = &level.name;
        bail!(
            "level {name:?} has no address; give --level {name}=http://HOST:PORT, or start all levels here with `csd up`"
        );
    }
    let listen = args.listen.as_deref().or(cascade.listen.as_deref());
    let listener = local::bind(listen.unwrap_or(DEFAULT)).await?;
    output::line(format_args!(
        "listening at http://{}",
        listener.local_addr()?
    ))?;
    local::serve(
        cascade,
        access,
        listener,
        async move { interrupt.next().await },
    )
    .await
}

/// Notes where levels run: all places given for a level, and only those.
fn settle(cascade: &mut Cascade, places: Vec<(String, String)>) -> Result<()> {
    let names: Vec<_> = cascade
        .levels
        .iter()
        .map(|level| level.name.clone())
        .collect();
    let mut given = BTreeMap::<_, Vec<_>>::new();
    for (name, url) in places {
        given.entry(name).or_default().push(url);
    }
    for (name, urls) in given {
        let level = cascade.levels.iter_mut().find(|level| level.name == name);
        let level = level.ok_or_else(|| {
            anyhow!(
                "--level {name}: the cascade has no such level; it has {}",
                names.join(", ")
            )
        })?;
        level.addresses = urls;
    }
    Ok(())
}

/// `NAME=URL`
fn place(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, url)) if !name.is_empty() && url.contains("://") => {
            Ok((name.to_owned(), url.to_owned()))
        }
        _ => Err("write NAME=URL, for example target=http://127.0.0.1:50051".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_level_and_url() {
        let read = place("target=http://a:1?x=y").expect("a place");
        assert_eq!(read, ("target".into(), "http://a:1?x=y".into()));
        for text in ["target", "=http://a:1", "target=a:1"] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
