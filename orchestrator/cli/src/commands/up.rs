//! `csd up`: a whole cascade on this machine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use csd_config::{Cascade, Source};
use serde_json::json;

use crate::{
    door::Door,
    interrupt::Interrupt,
    local::{self, Local, Overrides},
    output,
    supervisor::{Announcement, Event},
    table::Table,
};

/// Where the API listens when nobody says otherwise.
const DEFAULT: &str = "127.0.0.1:8080";

/// Start every level of a cascade and the orchestrator on this machine.
///
/// Each level becomes a process of its own; the orchestrator runs in this one. A level that dies is started again where it
/// was. Ctrl-C or SIGTERM stops everything. A level with an `address` in the file is taken to run there already.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  csd up                                       the bundled cascade at http://127.0.0.1:8080
  csd up config/tiny-q8.toml --listen 127.0.0.1:0
  csd up --json | jq -r 'select(.listening).listening'")]
pub(crate) struct Args {
    /// The cascade file; without one, the bundled cascade (config/tiny.toml).
    cascade: Option<PathBuf>,
    /// Where the API listens; port 0 picks a free one [default: the file's `listen`, else 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Print JSON lines: one a level whenever it is ready, and one once requests are answered.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    door: Door,
}

/// Runs the cascade until it is asked to stop.
pub(crate) async fn run(args: Args) -> Result<()> {
    let mut interrupt = Interrupt::catch()?;
    let _seen = local::see(true)?;
    let access = args.door.access()?;
    let cascade = args
        .overrides
        .apply(local::cascade(args.cascade.as_deref())?);
    let listen = args.listen.as_deref().or(cascade.listen.as_deref());
    let listener = local::bind(listen.unwrap_or(DEFAULT)).await?;
    let show = Show {
        json: args.json,
        cascade: cascade.clone(),
    };

    let local = Local::start(cascade, args.cascade.as_deref(), &args.overrides, listener)?;
    let mut local = local.open_to(access);
    let ended = tokio::select! {
        ended = show.run(&mut local) => ended,
        () = interrupt.next() => {
            eprintln!("stopping");
            Ok(())
        }
    };
    // Who asks twice does not want to wait; what is left is killed then.
    tokio::select! {
        () = local.stop() => {}
        () = interrupt.next() => {}
    }
    ended
}

/// What is shown of a running cascade.
struct Show {
    json: bool,
    cascade: Cascade,
}

impl Show {
    /// Starts and serves; ends only when something cannot go on.
    async fn run(&self, local: &mut Local) -> Result<()> {
        let mut workers = Vec::new();
        let healthy = |worker: &Announcement| {
            workers.push(worker.clone());
            eprintln!("{} is ready", worker.level);
            self.level(worker)
        };
        local.ready(healthy).await?;
        self.listening(&local.url, &workers)?;
        loop {
            match local.event().await? {
                Event::Ready(worker) => {
                    eprintln!("{} is back, process {}", worker.level, worker.pid);
                    self.level(&worker)?;
                }
                Event::Lost {
                    level,
                    reason,
                    retry,
                } => eprintln!("{level} died: {reason}; it is started again in {retry:?}"),
            }
        }
    }

    /// A level is ready.
    fn level(&self, worker: &Announcement) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        output::line(serde_json::to_string(worker)?)
    }

    /// Requests are answered.
    fn listening(&self, url: &str, workers: &[Announcement]) -> Result<()> {
        if self.json {
            return output::line(json!({"listening": url}));
        }
        let mut table = Table::new(["level", "model", ">pid", "address", "metrics"]);
        for level in &self.cascade.levels {
            let worker = workers.iter().find(|worker| worker.level == level.name);
            let address = worker.map_or_else(
                || level.addresses.join(" "),
                |worker| worker.address.clone(),
            );
            let model = match &level.source {
                Source::Neural { model, .. } => shown(model),
                Source::MaxGram { .. } => "Max-Gram".into(),
            };
            let model = match &level.emulate {
                Some(emulation) => format!("{model} (emulated: {emulation})"),
                None => model,
            };
            table.row([
                level.name.clone(),
                model,
                worker.map_or("elsewhere".into(), |worker| worker.pid.to_string()),
                address,
                worker
                    .and_then(|worker| worker.metrics.clone())
                    .unwrap_or_default(),
            ]);
        }
        output::line(format_args!(
            "\n{table}\nListening at {url}, metrics at {url}/metrics. Ctrl-C stops everything. Try:\n\n  \
             csd generate --url {url} \"fn main() {{\"\n  \
             curl {url}/v1/completions -H 'content-type: application/json' \\\n    \
             -d '{{\"prompt\": \"fn main() {{\", \"max_tokens\": 64, \"temperature\": 0}}'\n"
        ))
    }
}

/// A path as a person in the current directory would write it.
fn shown(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| whole.strip_prefix(here).ok());
    short.unwrap_or(&whole).display().to_string()
}
