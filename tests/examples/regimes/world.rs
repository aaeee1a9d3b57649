//! Writing texts on virtual time, and how fast that goes.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use csd_cascade::{Cascade, Drafting, Plan, Planner, Request, Session, Strategy, world::Time};
use csd_level::{Clock as _, Context, Sampling};
use csd_tests::prompts::Golden;

use crate::{
    Args, Way, Workload,
    family::Family,
    plans::{by_one, chains},
};

/// Prompts that every setting writes; the better fifth goes on.
const HEAT: usize = 3;
/// How often the planner writes what the others are chosen on.
const LESSONS: usize = 3;

/// What some texts took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pace {
    /// The logarithm of tokens a second, summed over the texts.
    logs: f64,
    texts: usize,
    pub(crate) tokens: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

impl Pace {
    /// Tokens a second, geometric mean over the texts.
    pub(crate) fn rate(&self) -> f64 {
        (self.logs / self.texts as f64).exp()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.logs += other.logs;
        self.texts += other.texts;
        self.tokens += other.tokens;
        self.rounds += other.rounds;
        self.seconds += other.seconds;
    }
}

/// What the scored texts took in one way.
pub(crate) struct Arm {
    pub(crate) way: Way,
    /// K of the fixed plan that was the fastest on the other half: the first one, where there are several.
    pub(crate) k: String,
    pub(crate) pace: Pace,
    /// Tokens a second of each half. Halves differ in their prompts; one in which the planner alone falls behind had bad luck
    /// in what it learnt.
    halves: Vec<f64>,
}

impl Arm {
    /// Tokens a second of each half, in order.
    pub(crate) fn halves(&self) -> String {
        let halves = self.halves.iter().map(|rate| format!("{rate:.0}"));
        halves.collect::<Vec<_>>().join(" ")
    }
}

/// Other texts than those that are scored.
pub(crate) struct Lessons<'a> {
    pub(crate) workload: Workload,
    pub(crate) prompts: Vec<&'a Golden>,
}

/// Levels that can write, and what.
pub(crate) struct World {
    cascade: Arc<Cascade>,
    time: Time,
    workload: Workload,
    temperature: f32,
}

impl World {
    pub(crate) fn new(
        family: &Family,
        args: &Args,
        workload: Workload,
        round_trip: f64,
    ) -> Result<Self> {
        let time = Time::default();
        Ok(Self {
            cascade: family.cascade(&time, args, round_trip)?,
            time,
            workload,
            temperature: args.temperature,
        })
    }

    /// What a way comes to, chosen or taught on some prompts and scored on others, over every way to halve them; or taught
    /// by other lessons.
    pub(crate) fn arm(
        &self,
        way: Way,
        prompts: &[&Golden],
        halves: u8,
        lessons: Option<&Lessons<'_>>,
    ) -> Result<Arm> {
        let (mut k, mut pace, mut rates) = (None, Pace::default(), Vec::new());
        for half in 0..usize::from(halves) {
            let mut prompts = prompts.to_vec();
            let first = prompts.len() * half / usize::from(halves);
            prompts.rotate_left(first);
            let (learnt, scored) = prompts.split_at(prompts.len() / 2);
            let (of_half, taken) = match way {
                Way::Target => self.fastest(vec![Plan::off(3)], learnt, scored)?,
                Way::TwoModel => self.fastest(by_one(&[0, 1])?, learnt, scored)?,
                Way::MaxGram => self.fastest(by_one(&[2])?, learnt, scored)?,
                Way::Chain => self.fastest(chains()?, learnt, scored)?,
                Way::Planner => {
                    let (workload, learnt) = match lessons {
                        Some(lessons) => (lessons.workload, lessons.prompts.as_slice()),
                        None => (self.workload, learnt),
                    };
                    let pace = self.planner(workload, learnt, scored)?;
                    (String::new(), pace)
                }
            };
            k.get_or_insert(of_half);
            pace.add(taken);
            rates.push(taken.rate());
        }
        Ok(Arm {
            way,
            k: k.unwrap_or_default(),
            pace,
            halves: rates,
        })
    }

    /// Writes a text; how many tokens in how many rounds.
    async fn text(
        &self,
        workload: Workload,
        strategy: Arc<dyn Strategy>,
        prompt: &Golden,
    ) -> Result<(usize, usize)> {
        let levels = self.cascade.levels();
        let (length, ends) = match workload {
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

    fn write(
        &self,
        workload: Workload,
        strategy: impl Fn() -> Arc<dyn Strategy>,
        prompts: &[&Golden],
    ) -> Result<Pace> {
        let mut pace = Pace::default();
        for prompt in prompts {
            let begun = self.time.now();
            let text = self.time.run(self.text(workload, strategy(), prompt));
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
        self.write(self.workload, || plan.clone(), prompts)
    }

    /// K of the plan that is the fastest on some prompts, and what others take in it.
    fn fastest(
        &self,
        mut plans: Vec<Plan>,
        learnt: &[&Golden],
        scored: &[&Golden],
    ) -> Result<(String, Pace)> {
        for heat in [&learnt[..learnt.len().min(HEAT)], learnt] {
            let mut paces = Vec::with_capacity(plans.len());
            for plan in plans {
                paces.push((self.fixed(&plan, heat)?.rate(), plan));
            }
            paces.sort_by(|a, b| b.0.total_cmp(&a.0));
            paces.truncate(paces.len().div_ceil(5));
            plans = paces.into_iter().map(|(_, plan)| plan).collect();
        }
        let plan = plans.first().context("no plan")?;
        let beside = if plan.pipelined() { " pipelined" } else { "" };
        Ok((format!("{:?}{beside}", plan.k()), self.fixed(plan, scored)?))
    }

    fn planner(&self, workload: Workload, learnt: &[&Golden], prompts: &[&Golden]) -> Result<Pace> {
        let planner = Arc::new(Planner::new(self.cascade.levels().len()));
        let text = || -> Arc<dyn Strategy> { Arc::new(planner.text(self.temperature)) };
        for _ in 0..LESSONS {
            self.write(workload, text, learnt)?;
        }
        self.write(self.workload, text, prompts)
    }
}
