//! `csd bench`: how fast which plan writes, beside the target alone and beside other servers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use csd_config::Cascade;
use csd_engine::Checkpoint;
use csd_orchestrator::levels::client_tls;
use csd_telemetry::Options;
use serde_json::Value;

use super::generate::plan;
use crate::{
    benchmark::{
        arm::Kind,
        cells::{Comparison, Subject},
        results,
        sample::Task,
        score::Run,
        server::Server,
        summary, table,
        workload::{Workload, clone_around},
    },
    interrupt::{Interrupt, Interrupted},
    local::{self, Local, Overrides},
    output,
    screen::Progress,
};

/// Measure plans against the target alone, and this cascade against other servers.
///
/// Arms take turns prompt by prompt. Settings (the K of each plan) are tuned on one half of the prompts and scored on the
/// other. Every text is compared with the target's own; one that differs makes the run fail. Without --url the cascade is
/// started for the run, as `csd up` starts it. The tables go to stdout; JSON, Markdown and SVG to --out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  csd bench                                        the bundled cascade, arithmetic and code, a few minutes
  csd bench config/tiny-q8.toml --target target/enlarged/target --prompts 60
  csd bench config/emulated-paper.toml --allow-emulation --workload arithmetic-long
  csd bench config/tiny-q8.toml --url other=http://127.0.0.1:9000
  csd bench --url http://127.0.0.1:9000            a peer alone
  csd bench config/tiny-q8.toml --arm target,file,planner --workload code --record trace.jsonl   then: csd help plan
  CSD_MEMORY_MIB=64 csd bench --memory             what remembered texts are worth, too
  csd bench --full                                 all workloads, temperatures and concurrencies: hours")]
pub(crate) struct Args {
    /// The cascade file [default: the bundled config/tiny.toml, unless there is --url].
    cascade: Option<PathBuf>,
    /// Another server with an OpenAI-compatible API; may be given several times. One of csd's shows all its plans.
    #[arg(long = "url", value_name = "[NAME=]URL")]
    urls: Vec<String>,
    /// Compare these arms alone.
    #[arg(long = "arm", value_name = "ARM", value_delimiter = ',')]
    arms: Vec<Kind>,
    /// A further plan: a preset's name, a matrix K, or an object as in a request.
    #[arg(long = "plan", value_name = "PLAN", value_parser = plan)]
    plans: Vec<Value>,
    /// What is written [default: arithmetic,code].
    #[arg(long = "workload", value_name = "WORKLOAD", value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// 0 always takes the likeliest token [default: 0].
    #[arg(long = "temperature", value_name = "T", value_delimiter = ',')]
    temperatures: Vec<f64>,
    /// Texts at once [default: 1].
    #[arg(long = "concurrency", value_name = "N", value_delimiter = ',')]
    concurrencies: Vec<usize>,
    /// Prompts of each workload; every other one is for tuning [default: 24].
    #[arg(long, value_name = "N")]
    prompts: Option<usize>,
    /// Tokens of a text at most [default: the workload's own].
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Measure, in tables of their own, what remembered texts are worth to each arm; all else is measured without them.
    #[arg(long)]
    memory: bool,
    /// What is not said otherwise is: all workloads, temperatures 0, 0.7 and 1, concurrencies 1, 2, 4 and 8, 120 prompts.
    #[arg(long)]
    full: bool,
    /// Measure although traces are exported, which costs time itself.
    #[arg(long)]
    traced: bool,
    /// Where bench.json, bench.md, speeds.svg and times.svg are written [default: target/bench in the clone].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Also record what was measured, for `csd plan`: of one workload, temperature and concurrency, which must be 1.
    #[arg(long, value_name = "FILE", conflicts_with = "full")]
    record: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Measures.
pub(crate) async fn run(mut args: Args) -> Result<()> {
    let mut interrupt = Interrupt::catch()?;
    let _seen = local::see(true)?;
    if Options::from_env().otlp_endpoint.is_some() && !args.traced {
        bail!(
            "traces are exported (OTEL_EXPORTER_OTLP_ENDPOINT is set), which costs time; unset it, or say --traced to measure that too"
        );
    }
    args.complete();
    let root = clone_around(&std::env::current_dir()?)?;
    args.recordable()?;
    if args.cascade.is_none() && !args.urls.is_empty() {
        let nobody = Subject::default();
        let measured = args.measure(&root, Vec::new(), &nobody);
        return tokio::select! {
            measured = measured => measured,
            () = interrupt.next() => Err(Interrupted.into()),
        };
    }
    args.alone(&root, &mut interrupt).await
}

impl Args {
    /// The conditions that were not given: everything, or a few minutes' worth.
    fn complete(&mut self) {
        let (workloads, temperatures, concurrencies): (&[_], &[_], &[_]) = match self.full {
            true => (Workload::value_variants(), &[0.0, 0.7, 1.0], &[1, 2, 4, 8]),
            false => (&[Workload::Arithmetic, Workload::Code], &[0.0], &[1]),
        };
        if self.workloads.is_empty() {
            self.workloads = workloads.to_vec();
        }
        if self.temperatures.is_empty() {
            self.temperatures = temperatures.to_vec();
        }
        if self.concurrencies.is_empty() {
            self.concurrencies = concurrencies.to_vec();
        }
    }

    /// Prompts of each workload.
    fn prompts(&self) -> usize {
        self.prompts.unwrap_or(if self.full { 120 } else { 24 })
    }

    /// Whether a recording could be made, if one is wanted.
    fn recordable(&self) -> Result<()> {
        if self.record.is_none() {
            return Ok(());
        }
        ensure!(
            self.cascade.is_some() || self.urls.is_empty(),
            "--record: a peer cannot be recorded; name a cascade file"
        );
        let one = self.workloads.len() == 1 && self.temperatures.len() == 1;
        ensure!(
            one && self.concurrencies == [1],
            "--record: give one --workload, one --temperature and a --concurrency of 1"
        );
        Ok(())
    }

    /// Starts the cascade for the run, and ends it afterwards, however it goes.
    async fn alone(&self, root: &Path, interrupt: &mut Interrupt) -> Result<()> {
        let cascade = self
            .overrides
            .apply(local::cascade(self.cascade.as_deref())?);
        let subject = Subject {
            parameters: parameters(&cascade)?,
            cascade: Some(cascade.clone()),
        };
        let tls = client_tls(&cascade.tls)?;
        let progress = Progress::levels(cascade.levels.len());
        let listener = local::bind("127.0.0.1:0").await?;
        let mut local = Local::start(cascade, self.cascade.as_deref(), &self.overrides, listener)?;
        let work = async {
            let mut workers = BTreeMap::new();
            if self.record.is_some() {
                // Levels that are somewhere else are asked, too.
                let elsewhere = subject.cascade.iter().flat_map(|cascade| &cascade.levels);
                workers.extend(elsewhere.filter_map(|level| {
                    Some((level.name.clone(), level.addresses.first()?.clone()))
                }));
            }
            local
                .ready(|worker| {
                    progress.ready(worker);
                    workers.insert(worker.level.clone(), worker.address.clone());
                    Ok(())
                })
                .await?;
            progress.done();
            let own = Server::meet("", &local.url, &workers, tls.as_ref()).await?;
            self.measure(root, vec![own], &subject).await
        };
        let measured = tokio::select! {
            measured = work => measured,
            () = interrupt.next() => Err(Interrupted.into()),
        };
        progress.done();
        // Who asks twice does not want to wait; what is left is killed then.
        tokio::select! {
            () = local.stop() => {}
            () = interrupt.next() => {}
        }
        measured
    }

    /// All cells over `servers` and the peers.
    async fn measure(
        &self,
        root: &Path,
        mut servers: Vec<Server>,
        subject: &Subject,
    ) -> Result<()> {
        for url in &self.urls {
            let (name, url) = url.split_once('=').unwrap_or((url, url));
            servers.push(Server::meet(name, url, &BTreeMap::new(), None).await?);
        }
        ensure!(
            !self.memory || servers.iter().any(Server::remembers),
            "--memory: no level remembers texts; set CSD_MEMORY_MIB=64, or write memory = {{ mib = 64 }} at a level in the cascade file"
        );
        let mut run = Run {
            version: env!("CARGO_PKG_VERSION"),
            subject: self.title(&servers),
            machine: machine(),
            emulation: servers
                .iter()
                .flat_map(|server| server.emulation.clone())
                .collect(),
            cells: Vec::new(),
            summaries: Vec::new(),
        };
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| root.join("target/bench"));
        output::write(table::heading(&run).as_bytes())?;
        let comparison = Comparison {
            servers: &servers,
            subject,
            title: &run.subject,
            machine: &run.machine,
            arms: &self.arms,
            plans: &self.plans,
            memory: self.memory,
            record: self.record.as_deref(),
        };
        for &workload in &self.workloads {
            let prompts = workload.prompts(root, self.prompts())?;
            for &temperature in &self.temperatures {
                for &concurrency in &self.concurrencies {
                    ensure!(concurrency > 0, "--concurrency: must be at least 1");
                    let task = Task {
                        workload,
                        temperature,
                        max_tokens: self.max_tokens,
                    };
                    let cell = comparison.cell(task, concurrency, &prompts).await?;
                    output::write(table::cell(&cell).as_bytes())?;
                    run.cells.push(cell);
                    run.summaries = summary::summaries(&run.cells);
                    // At once: a run may be interrupted before its end.
                    results::write(&out, &run)?;
                }
            }
        }
        output::write(summary::shown(&run.summaries).as_bytes())?;
        output::line(format_args!("\nwritten to {}", out.display()))?;
        let differences: usize = run.cells.iter().map(|cell| cell.differences.len()).sum();
        ensure!(
            differences == 0,
            "{differences} texts are not the target's own"
        );
        let mut arms = run.cells.iter().flat_map(|cell| &cell.arms);
        ensure!(
            !arms.any(|arm| arm.forwards.are_void()),
            "an arm is void: this machine is slower than the hardware that it emulates"
        );
        Ok(())
    }

    /// What the run is about, in words.
    fn title(&self, servers: &[Server]) -> String {
        let server = |server: &Server| match server.name.as_str() {
            "" => server.model.clone(),
            name => name.to_owned(),
        };
        let target = self.overrides.target.as_ref();
        let target = target.map(|target| format!(" (target {})", target.display()));
        servers.iter().map(server).collect::<Vec<_>>().join(", ") + &target.unwrap_or_default()
    }
}

/// Parameters of each neural level, as its checkpoint's shapes tell.
fn parameters(cascade: &Cascade) -> Result<BTreeMap<String, f64>> {
    let mut parameters = BTreeMap::new();
    for level in &cascade.levels {
        if let csd_config::Source::Neural { model, .. } = &level.source {
            let checkpoint = Checkpoint::open(model)?;
            parameters.insert(
                level.name.clone(),
                super::models::weights(&checkpoint) as f64,
            );
        }
    }
    Ok(parameters)
}

/// The processor by its name, and how many threads it runs.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name);
    format!("{name}, {cores} threads")
}
