//! Is the planner ever slower than the target alone? Runs `csd bench` on an enlarged target over every workload,
//! temperature and number of texts at once, with good drafters, useless ones, far ones and an overloaded one.
//!
//! Prints each run's tables and a line a scenario at the end; fails where a scenario's mean is below 0.98, or a cell's
//! interval lies wholly below 1.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use csd_level::noise::{Noise, Purpose};
use csd_tests::{binary, enlarged::enlarged, root};
use safetensors::SafeTensors;
use serde_json::Value;
use toml::Table;

/// What the drafters are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// As bundled.
    Good,
    /// Draft's and mini's weights in a random order.
    Useless,
    /// 30 ms away.
    Far,
    /// A forward of draft takes 20 ms.
    Overloaded,
}

/// Holds the planner against the target alone.
#[derive(Parser)]
#[command(
    after_help = "What follows -- is given to csd bench as well, and narrows what it runs: -- --workload code --temperature 0.7"
)]
struct Args {
    /// What the drafters are like [default: each in turn].
    #[arg(long, value_enum, value_delimiter = ',')]
    scenario: Vec<Scenario>,
    /// Prompts of a cell; the planner meets half of them first and is scored on the others.
    #[arg(long, default_value_t = 32)]
    prompts: usize,
    /// Tokens of a text at most.
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// Further arguments of csd bench.
    #[arg(last = true, value_name = "ARGUMENT")]
    bench: Vec<String>,
}

/// The least mean of a scenario.
const LEAST: f64 = 0.98;

fn main() -> Result<()> {
    let args = Args::parse();
    let scenarios = match args.scenario.as_slice() {
        [] => Scenario::value_variants(),
        some => some,
    };
    let folder = root().join("target/never-slower");
    let base = fs::read_to_string(enlarged("config/tiny-q8.toml")?)?;
    let mut lines = Vec::new();
    for scenario in scenarios {
        let name = format!("{scenario:?}").to_lowercase();
        let folder = folder.join(&name);
        fs::create_dir_all(&folder)?;
        let cascade = folder.join("cascade.toml");
        fs::write(&cascade, scenario.cascade(base.parse()?, &folder)?)?;
        let summary = args.bench(&cascade, &folder)?;
        lines.push((name, summary));
    }
    let mut fell_short = false;
    println!("\nplanner / target alone, geometric means over all cells");
    for (name, summary) in lines {
        let number = |key: &str| summary[key].as_f64().context("a summary's figures");
        let (mean, least) = (number("to_target")?, number("least")?);
        let slower = summary["slower_in"]
            .as_array()
            .context("a summary's cells")?;
        println!(
            "{name:10} {mean:6.2} over {} cells, least {least:.2} ({}), wholly below: {}",
            summary["cells"],
            summary["least_in"].as_str().unwrap_or_default(),
            slower.len()
        );
        fell_short |= mean < LEAST || !slower.is_empty();
    }
    ensure!(!fell_short, "the planner was slower than the target alone");
    Ok(())
}

impl Scenario {
    /// The cascade file for these drafters, made of the one for good ones.
    fn cascade(self, mut file: Table, folder: &Path) -> Result<String> {
        let levels = file.get_mut("level").and_then(toml::Value::as_array_mut);
        for level in levels.context("no levels")?.iter_mut().skip(1) {
            let level = level.as_table_mut().context("a level")?;
            let name = level["name"].as_str().context("its name")?.to_owned();
            let emulate = match (self, name.as_str()) {
                (Self::Useless, "draft" | "mini") => {
                    let model = level["model"].as_str().context("its model")?;
                    let model = shuffled(Path::new(model), &folder.join(&name))?;
                    level.insert("model".into(), model.display().to_string().into());
                    continue;
                }
                (Self::Far, _) => "round_trip_ms = 30.0",
                (Self::Overloaded, "draft") => "forward_ms = [[1, 20.0]]",
                _ => continue,
            };
            level.insert("emulate".into(), emulate.parse::<Table>()?.into());
        }
        Ok(toml::to_string(&file)?)
    }
}

impl Args {
    /// Runs `csd bench`; returns what it says of the planner over all cells.
    fn bench(&self, cascade: &Path, out: &Path) -> Result<Value> {
        let mut command = Command::new(binary()?);
        command.current_dir(root()).arg("bench").arg(cascade);
        command.args(["--full", "--allow-emulation", "--arm", "target,planner"]);
        command.args(["--prompts", &self.prompts.to_string()]);
        command.args(["--max-tokens", &self.max_tokens.to_string()]);
        let status = command.arg("--out").arg(out).args(&self.bench).status()?;
        ensure!(status.success(), "csd bench: {status}");
        let run: Value = serde_json::from_str(&fs::read_to_string(out.join("bench.json"))?)?;
        let summaries = run["summaries"].as_array().context("no summaries")?;
        let planner = summaries.iter().find(|summary| summary["arm"] == "planner");
        planner.cloned().context("no planner among the arms")
    }
}

/// A copy of a checkpoint that computes as much and knows nothing: each tensor's weights are in a random order.
fn shuffled(source: &Path, copy: &Path) -> Result<PathBuf> {
    fs::create_dir_all(copy)?;
    for file in fs::read_dir(source)? {
        let file = file?;
        fs::copy(file.path(), copy.join(file.file_name()))?;
    }
    let path = copy.join("model.safetensors");
    let mut bytes = fs::read(&path)?;
    let (header, tensors) = SafeTensors::read_metadata(&bytes)?;
    let weights = size_of::<u64>() + header;
    for tensor in tensors.tensors().values() {
        let (start, end) = tensor.data_offsets;
        if tensor.dtype != safetensors::Dtype::BF16 {
            bail!(
                "{}: weights are {:?}, not bf16",
                path.display(),
                tensor.dtype
            );
        }
        let weights = &mut bytes[weights + start..weights + end];
        let weights = weights.as_chunks_mut::<2>().0;
        for index in (1..weights.len()).rev() {
            // By its place: tensors come in another order at every run.
            let noise = Noise::new(start as u64, index, Purpose::Coupling);
            weights.swap(index, noise.bits(0) as usize % (index + 1));
        }
    }
    fs::write(&path, bytes)?;
    Ok(copy.to_owned())
}
