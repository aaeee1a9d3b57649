//! `csd plan`: whether another level would pay, from a recording.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use csd_engine::{Engine, Settings, UnknownWeights};
use csd_forecast::{
    Check, Forecast, Lineup, Trace, Verdict, WhatIf,
    lineup::{Choice, choices},
    trace::{Header, Kind},
};
use csd_level::{Level as _, Sampling};
use csd_maxgram::Bigrams;

use crate::{
    benchmark::{
        probe::{Text, median},
        sample::SEED,
    },
    forecast::{Changed, Shown},
    output,
};

/// Ask whether a level would pay: one more, one less, or one on another host.
///
/// A recording (`csd bench --record`) has the target's texts, what every drafter would have written along them, and what
/// calls cost. From it the speed of every plan is computed twice: by the paper's formulas, which believe that each token is
/// accepted with the same chance, and by simulation, in which the real cascade and its planner write the same texts over
/// levels that repeat what was recorded, on virtual time. First both are held against what was measured.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A what-if is NAME,key=value,…
  NAME              a recorded level, which is changed, or a new one, which is added
  out               leave the level out
  model=PATH        serve this model: it is run over the recorded texts, and agrees as often as it does
  acceptance=SHARE  without a model: it writes this share of the tokens of the level above it, too (0 to 1)
  under=LEVEL       the level above it [default: the target; it stands over the first cheaper drafter]
  cost=TIME         a forward of one row [default: as recorded, or as measured here while the model is run]
  rows=N            rows of a forward that cost no more than one [default: as recorded, or 16]
  round_trip=TIME   to the level and back [default: as recorded, or as for the last drafter]
  host=NAME         levels on one host compute in turn, others side by side; a recorded level says where it is
                    [default: a host of its own where there is a round_trip, else the target's]

Examples:
  csd bench config/tiny-q8.toml --arm target,file,planner --workload code --record trace.jsonl
  csd plan --trace trace.jsonl --what-if mini,out
  csd plan --trace trace.jsonl --what-if 'draft,cost=0.5ms,round_trip=1ms' --what-if 'draft,round_trip=3ms'
  csd plan --trace trace.jsonl --what-if 'nano,model=models/nano,cost=200us'
  csd plan --trace trace.jsonl --what-if 'large,acceptance=0.9,cost=5ms,round_trip=500us' --json")]
pub(crate) struct Args {
    /// The recording.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// A change to what was recorded; may be given several times, each by itself.
    #[arg(long = "what-if", value_name = "NAME,…")]
    what_ifs: Vec<WhatIf>,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Reads, computes, shows.
pub(crate) async fn run(args: Args) -> Result<()> {
    let file = args.trace.display();
    let text = fs::read_to_string(&args.trace).with_context(|| format!("--trace: {file}"))?;
    let trace = Trace::read(&text).with_context(|| format!("--trace: {file}"))?;
    let lineup = Lineup::recorded(&trace, bigrams(&trace.header)?)?;
    // Before anything is computed: a change that cannot be is told at once.
    let mut lineups = Vec::with_capacity(args.what_ifs.len());
    for asked in &args.what_ifs {
        let changed = changed(asked, &trace, &lineup).await;
        lineups.push(changed.with_context(|| format!("--what-if {}", asked.text))?);
    }
    let checks = trace.arms.iter().map(|arm| Check::of(arm, &lineup));
    let checks: Vec<Check> = checks.collect::<Result<_, _>>()?;
    let recorded = Forecast::of(&lineup)?;
    let mut changes = Vec::with_capacity(lineups.len());
    for (asked, lineup) in args.what_ifs.iter().zip(&lineups) {
        let forecast = Forecast::of(lineup)?;
        changes.push(Changed {
            text: asked.text.clone(),
            verdict: Verdict::of(&recorded, &forecast, &checks),
            forecast,
        });
    }
    let shown = Shown {
        trace: &trace,
        lineup: &lineup,
        checks: &checks,
        recorded: &recorded,
        changes: &changes,
    };
    match args.json {
        true => output::line(shown.json()),
        false => output::write(shown.tables().as_bytes()),
    }
}

/// The cascade with a change; a model that it names is run over the recorded texts.
async fn changed(asked: &WhatIf, trace: &Trace, lineup: &Lineup) -> Result<Lineup> {
    let Some(model) = &asked.model else {
        return Ok(asked.apply(lineup, None, None)?);
    };
    let header = &trace.header;
    let mut levels = header.levels.iter().rev();
    let like = levels.find(|level| level.kind == Kind::Neural);
    let dtype = like.map_or("", |level| &level.dtype);
    let settings = Settings {
        weights: dtype
            .parse()
            .map_err(|error: UnknownWeights| anyhow!("the recording's dtype {error}"))?,
        ..Settings::new(&asked.name, model)
    };
    let level = Engine::load(settings)?;
    ensure!(
        level.description().token_map == header.token_map,
        "model: {} has another tokenizer than the recorded levels",
        model.display()
    );
    let sampling = Arc::new(Sampling {
        temperature: header.temperature,
        seed: SEED,
        end_tokens: header.end_tokens.clone(),
        ..Sampling::default()
    });
    let (mut all, mut times): (Vec<Vec<Choice>>, _) = (Vec::new(), Vec::new());
    for (session, text) in (0..).zip(&trace.texts) {
        let text = Text {
            prompt: &text.prompt,
            tokens: &text.tokens,
            sampling: &sampling,
        };
        let (own, took) = text.choices(&level, session).await?;
        all.push(choices(&own));
        times.extend(took);
    }
    let measured = median(times).and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
    Ok(asked.apply(lineup, Some(all), measured)?)
}

/// The table of the recorded Max-Gram.
fn bigrams(header: &Header) -> Result<Bigrams> {
    let mut tables = header
        .levels
        .iter()
        .rev()
        .filter_map(|level| level.bigram.as_ref());
    let Some(path) = tables.next() else {
        return Ok(Bigrams::default());
    };
    let told = || format!("the recording's bigram {}", path.display());
    Ok(Bigrams::from_json(&fs::read(path).with_context(told)?)?)
}
