//! Plans on other hardware: what the bundled models write, on virtual time, where forwards and links take what is said.
//!
//! Every token is a model's own; only times are said. Nothing sleeps, and nobody's load disturbs it: every figure is the
//! same at every run. Fixed plans are chosen on one half of the prompts, the planner learns on it, and all are scored on
//! the other half.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod remembered;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use csd_cascade::{
    Cascade, Drafting, Limits, Plan, Planner, Request, Session, Strategy,
    world::{Host, Price, Time, Timed},
};
use csd_engine::{Engine, Settings, Weights};
use csd_level::{Clock as _, Context, Level, Sampling};
use csd_maxgram::{Bigrams, MaxGram};
use csd_tests::{
    prompts::{self, Golden},
    root,
};

use self::remembered::Remembered;

/// Lengths of a draft that are searched.
const LENGTHS: [u32; 16] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32];
/// Entries of K in a chain.
const ENTRIES: [u32; 8] = [0, 1, 2, 4, 6, 8, 12, 16];
/// Prompts that every setting writes; the better fifth goes on.
const HEAT: usize = 3;
/// How often the planner writes what the others are chosen on.
const LESSONS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    Arithmetic,
    ArithmeticLong,
    Code,
}

/// A way to draft.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Nobody drafts.
    Target,
    /// One neural drafter that writes token by token.
    TwoModel,
    /// Max-Gram directly under the target.
    MaxGram,
    /// Any of them, and levels that review what the next smaller one writes; waiting for the target or drafting beside it.
    Chain,
    /// Plans chosen while the text is written.
    Planner,
}

/// Compares plans on hardware that is not here, on virtual time.
#[derive(Parser)]
struct Args {
    /// What is written.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "arithmetic,arithmetic-long,code"
    )]
    workload: Vec<Workload>,
    /// Prompts of each, at most 40.
    #[arg(long, default_value_t = 40)]
    prompts: usize,
    /// Ways to halve them: each is searched and scored anew, and what is printed is the mean of all.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    halves: u8,
    /// 0, 0.7, 1, …
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Milliseconds of a forward of target, draft and mini; the default is the regime of the paper.
    #[arg(long, value_delimiter = ',', num_args = 3, default_value = "30,3,1")]
    forward: Vec<f64>,
    /// Rows of a forward that cost what one does, and as many more as much again; the default is a GPU's.
    #[arg(long, default_value_t = 33)]
    rows: usize,
    /// Levels compute one at a time, as on one box.
    #[arg(long)]
    one_host: bool,
    /// Milliseconds to each level and back.
    #[arg(long, value_delimiter = ',', default_value = "0.2")]
    round_trip: Vec<f64>,
    /// Who writes.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "target,two-model,max-gram,planner"
    )]
    arm: Vec<Way>,
}

/// The bundled family.
struct Family {
    models: Vec<Arc<Remembered>>,
    max_gram: Arc<MaxGram>,
}

impl Family {
    fn load(rows: usize) -> Result<Self> {
        let folder = root().join("models/tiny");
        let load = |name: &str| {
            let settings = Settings {
                weights: Weights::Q8_0,
                rows: Some(rows),
                ..Settings::new(name, folder.join(name))
            };
            let engine = Engine::load(settings)?;
            let mut description = (*engine.description()).clone();
            description.assisted = name != "target";
            anyhow::Ok(Arc::new(Remembered::new(engine, description)))
        };
        let models: Vec<_> = ["target", "draft", "mini"]
            .into_iter()
            .map(load)
            .collect::<Result<_>>()?;
        let bigrams = Bigrams::from_json(&std::fs::read(folder.join("bigram.json"))?)?;
        let target = models[0].description();
        let settings = csd_maxgram::Settings::default();
        let max_gram = MaxGram::new(
            "maxgram",
            target.vocabulary,
            &target.token_map,
            bigrams,
            settings,
        )?;
        Ok(Self {
            models,
            max_gram: Arc::new(max_gram),
        })
    }

    fn cascade(&self, time: &Time, args: &Args, round_trip: f64) -> Result<Arc<Cascade>> {
        let price = |ms| Price::ms(ms, args.rows, round_trip);
        let host = Host::default();
        let models = self.models.iter().zip(&args.forward);
        let mut levels: Vec<Arc<dyn Level>> = Vec::new();
        for (model, &ms) in models {
            let level = Timed::new(model.clone(), price(ms), time);
            let level = match args.one_host {
                true => level.on(&host),
                false => level,
            };
            levels.push(match model.description().assisted {
                true => Arc::new(level.assisted(self.max_gram.clone())),
                false => Arc::new(level),
            });
        }
        levels.push(Arc::new(Timed::new(
            self.max_gram.clone(),
            price(0.0),
            time,
        )));
        let limits = Limits {
            draft_timeout: Duration::MAX,
            verify_timeout: Duration::MAX,
        };
        let cascade = Cascade::new(levels, limits, Arc::new(time.clone()))?;
        Ok(Arc::new(cascade))
    }
}

/// What some texts took.
#[derive(Clone, Copy, Default)]
struct Pace {
    /// The logarithm of tokens a second, summed over the texts.
    logs: f64,
    texts: usize,
    tokens: usize,
    rounds: usize,
    seconds: f64,
}

impl Pace {
    /// Tokens a second, geometric mean over the texts.
    fn rate(&self) -> f64 {
        (self.logs / self.texts as f64).exp()
    }

    fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.texts += other.texts;
        self.tokens += other.tokens;
        self.rounds += other.rounds;
        self.seconds += other.seconds;
    }
}

/// What the scored texts took in one way.
struct Arm {
    way: Way,
    /// K of the fixed plan that was the fastest on the other half.
    k: String,
    pace: Pace,
}

/// Levels that can write, and what.
struct World {
    cascade: Arc<Cascade>,
    time: Time,
    workload: Workload,
    temperature: f32,
}

impl World {
    fn new(family: &Family, args: &Args, workload: Workload, round_trip: f64) -> Result<Self> {
        let time = Time::default();
        Ok(Self {
            cascade: family.cascade(&time, args, round_trip)?,
            time,
            workload,
            temperature: args.temperature,
        })
    }

    /// What every way comes to, chosen or taught on some prompts and scored on others.
    fn arms(&self, learnt: &[&Golden], scored: &[&Golden], ways: &[Way]) -> Result<Vec<Arm>> {
        let mut arms = Vec::new();
        for &way in ways {
            let plans = match way {
                Way::Target => vec![Plan::off(3)],
                Way::TwoModel => by_one(&[0, 1])?,
                Way::MaxGram => by_one(&[2])?,
                Way::Chain => chains()?,
                Way::Planner => Vec::new(),
            };
            arms.push(match way {
                Way::Planner => Arm {
                    way,
                    k: String::new(),
                    pace: self.planner(learnt, scored)?,
                },
                _ => {
                    let plan = self.best(plans, learnt)?;
                    let beside = if plan.pipelined() { " pipelined" } else { "" };
                    Arm {
                        way,
                        k: format!("{:?}{beside}", plan.k()),
                        pace: self.fixed(&plan, scored)?,
                    }
                }
            });
        }
        Ok(arms)
    }

    /// Writes a text; how many tokens in how many rounds.
    async fn text(&self, strategy: Arc<dyn Strategy>, prompt: &Golden) -> Result<(usize, usize)> {
        let levels = self.cascade.levels();
        let (length, ends) = match self.workload {
            Workload::ArithmeticLong => (160, Vec::new()),
            _ => (96, levels[0].description().end_tokens.clone()),
        };
        let mut request = Request {
            context: Context::new(prompt.prompt_ids.clone()),
            sampling: Arc::new(Sampling {
                temperature: self.temperature,
                end_tokens: ends,
                ..Sampling::default()
            }),
            session: Arc::new(Session::ready(0, levels.len())),
            logprobs: None,
            tenant: None,
        };
        let mut drafting = Drafting::new(strategy);
        for rounds in 0.. {
            let written = request.context.generated();
            let ended = written
                .last()
                .is_some_and(|&last| request.sampling.is_end(last));
            if ended || written.len() == length {
                return Ok((written.len(), rounds));
            }
            let left = length - written.len();
            let round = self.cascade.round(&request, &mut drafting, left).await?;
            let tokens = round.tokens.iter().map(|token| token.id);
            request.context.extend(tokens);
        }
        unreachable!("a round writes a token")
    }

    fn write(&self, strategy: impl Fn() -> Arc<dyn Strategy>, prompts: &[&Golden]) -> Result<Pace> {
        let mut pace = Pace::default();
        for prompt in prompts {
            let begun = self.time.now();
            let text = self.time.run(self.text(strategy(), prompt));
            let (tokens, rounds) = text.context("a text never ends")??;
            let seconds = (self.time.now() - begun).as_secs_f64();
            pace.add(Pace {
                logs: (tokens as f64 / seconds).ln(),
                texts: 1,
                tokens,
                rounds,
                seconds,
            });
        }
        Ok(pace)
    }

    fn fixed(&self, plan: &Plan, prompts: &[&Golden]) -> Result<Pace> {
        let plan: Arc<dyn Strategy> = Arc::new(plan.clone());
        self.write(|| plan.clone(), prompts)
    }

    /// The fastest of some plans on some prompts.
    fn best(&self, mut plans: Vec<Plan>, prompts: &[&Golden]) -> Result<Plan> {
        for heat in [&prompts[..prompts.len().min(HEAT)], prompts] {
            let mut paces = Vec::with_capacity(plans.len());
            for plan in plans {
                paces.push((self.fixed(&plan, heat)?.rate(), plan));
            }
            paces.sort_by(|a, b| b.0.total_cmp(&a.0));
            paces.truncate(paces.len().div_ceil(5));
            plans = paces.into_iter().map(|(_, plan)| plan).collect();
        }
        plans.into_iter().next().context("no plan")
    }

    fn planner(&self, learnt: &[&Golden], prompts: &[&Golden]) -> Result<Pace> {
        let planner = Arc::new(Planner::new(self.cascade.levels().len()));
        let text = || -> Arc<dyn Strategy> { Arc::new(planner.text(self.temperature)) };
        for _ in 0..LESSONS {
            self.write(text, learnt)?;
        }
        self.write(text, prompts)
    }
}

fn plan(k: [[u32; 3]; 3]) -> Result<Plan> {
    Ok(Plan::matrix(&k.map(Vec::from), 1.0, 3)?)
}

/// Drafts by one level alone.
fn by_one(columns: &[usize]) -> Result<Vec<Plan>> {
    let lengths = LENGTHS.iter().flat_map(|&length| {
        columns.iter().map(move |&column| {
            let mut k = [[0; 3]; 3];
            k[0][column] = length;
            plan(k)
        })
    });
    lengths.collect()
}

fn chains() -> Result<Vec<Plan>> {
    let mut chains = by_one(&[0, 1, 2])?;
    for a in ENTRIES {
        for b in ENTRIES {
            chains.push(plan([[a, 0, 0], [0, 0, b], [0, 0, 0]])?);
            chains.push(plan([[0, a, 0], [0, 0, 0], [0, 0, b]])?);
            for c in ENTRIES {
                chains.push(plan([[a, 0, 0], [0, b, 0], [0, 0, c]])?);
            }
        }
    }
    let beside = chains.iter().map(|plan| plan.clone().with_pipelining(true));
    Ok(beside.chain(chains.iter().cloned()).collect())
}

/// As the command line writes it.
fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or(String::new(), |value| value.get_name().to_owned())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let family = Family::load(args.rows)?;
    let golden = prompts::golden()?;
    println!(
        "virtual time: forwards of {:?} ms, {} rows for the price of one; temperature {}",
        args.forward, args.rows, args.temperature
    );
    println!(
        "{:16} {:>8}  {:12} {:42} {:>8} {:>7} {:>7} {:>8}",
        "workload", "link ms", "arm", "K", "tokens/s", "target", "a round", "takes ms"
    );
    for &workload in &args.workload {
        let kind = if workload == Workload::Code {
            "code"
        } else {
            "math"
        };
        let prompts = golden.iter().filter(|line| line.kind == kind);
        let prompts: Vec<&Golden> = prompts.take(args.prompts).collect();
        ensure!(prompts.len() > 1, "one prompt cannot be halved");
        for &round_trip in &args.round_trip {
            let mut arms: Vec<Arm> = Vec::new();
            for half in 0..args.halves.into() {
                let mut prompts = prompts.clone();
                let first = prompts.len() * half / usize::from(args.halves);
                prompts.rotate_left(first);
                let (learnt, scored) = prompts.split_at(prompts.len() / 2);
                let world = World::new(&family, &args, workload, round_trip)?;
                let of_half = world.arms(learnt, scored, &args.arm)?;
                match arms.is_empty() {
                    true => arms = of_half,
                    false => arms
                        .iter_mut()
                        .zip(of_half)
                        .for_each(|(arm, other)| arm.pace.add(other.pace)),
                }
            }
            let workload = name(workload);
            let alone = arms.iter().find(|arm| arm.way == Way::Target);
            let alone = alone.map_or(f64::NAN, |arm| arm.pace.rate());
            for arm in arms {
                println!(
                    "{workload:16} {round_trip:8} {:13} {:42} {:8.1} {:6.2}x {:7.2} {:8.1}",
                    name(arm.way),
                    arm.k,
                    arm.pace.rate(),
                    arm.pace.rate() / alone,
                    arm.pace.tokens as f64 / arm.pace.rounds as f64,
                    arm.pace.seconds * 1e3 / arm.pace.rounds as f64,
                );
            }
        }
    }
    Ok(())
}
