//! The real cascade over levels that repeat what was recorded, on virtual time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use csd_cascade::{
    Cascade, Drafting, Limits, Mismatch, Plan, Planner, Request, Session, Strategy,
    world::{Host, Time, Timed},
};
use csd_level::{Clock as _, Context, Error, Level, Sampling};

use crate::{
    lineup::{Lineup, Member, milliseconds},
    replay::Replay,
    setting::Setting,
    trace::Kind,
};

/// Texts that all settings write; the better quarter goes on to all.
const HEAT: usize = 2;

/// Texts after which a planner knows its levels.
const LEARNT: usize = 48;

/// Why a simulation stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The levels do not fit each other.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// A plan does not fit them.
    #[error(transparent)]
    Level(#[from] Error),
    /// A round waited for something other than time. Report it.
    #[error("a simulated text never ends")]
    Stuck,
}

/// How texts are written.
#[derive(Clone)]
pub enum Way {
    /// By a fixed plan.
    Plan(Arc<Plan>),
    /// By a planner, which learns from them.
    Planner(Arc<Planner>),
}

/// What some texts took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Geometric mean over the texts.
    pub tokens_per_second: f64,
    /// Of all texts.
    pub tokens_per_call: f64,
}

/// A lineup that can write.
pub struct Simulation<'a> {
    lineup: &'a Lineup,
    cascade: Arc<Cascade>,
    time: Time,
}

impl<'a> Simulation<'a> {
    /// Puts the levels together.
    ///
    /// # Errors
    /// [`SimulationError::Mismatch`].
    pub fn new(lineup: &'a Lineup) -> Result<Self, SimulationError> {
        let time = Time::default();
        let mut hosts: BTreeMap<&str, Host> = BTreeMap::new();
        let level = |member: &'a Member| -> Arc<dyn Level> {
            let host = hosts.entry(&member.host).or_default();
            let inner: Arc<dyn Level> = match member.kind {
                Kind::Neural => Arc::new(Replay::new(member, lineup)),
                Kind::Statistical => lineup.max_gram.clone(),
            };
            let mut timed = Timed::new(inner, member.price.clone(), &time).on(host);
            if member.assisted {
                timed = timed.assisted(lineup.max_gram.clone());
            }
            Arc::new(timed)
        };
        let levels = lineup.members.iter().map(level).collect();
        // Nobody looks at deadlines here.
        let limits = Limits {
            draft_timeout: Duration::MAX,
            verify_timeout: Duration::MAX,
        };
        let cascade = Arc::new(Cascade::new(levels, limits, Arc::new(time.clone()))?);
        Ok(Self {
            lineup,
            cascade,
            time,
        })
    }

    /// Writes some texts, one after the other.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn write(&self, way: &Way, texts: &[usize]) -> Result<Pace, SimulationError> {
        let (mut logs, mut tokens, mut rounds) = (0.0, 0, 0);
        for &text in texts {
            let begun = self.time.now();
            let written = self
                .time
                .run(self.text(way, text))
                .ok_or(SimulationError::Stuck)??;
            let seconds = (self.time.now() - begun).as_secs_f64();
            logs += (written.0 as f64 / seconds.max(1e-9)).ln();
            tokens += written.0;
            rounds += written.1;
        }
        Ok(Pace {
            tokens_per_second: (logs / texts.len().max(1) as f64).exp(),
            tokens_per_call: tokens as f64 / f64::max(rounds as f64, 1.0),
        })
    }

    /// The planner's pace on some texts, after it has learnt from others.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn planner(&self, learnt: &[usize], texts: &[usize]) -> Result<Pace, SimulationError> {
        let way = Way::Planner(Arc::new(Planner::new(self.lineup.members.len())));
        let again: Vec<usize> = learnt.iter().copied().cycle().take(LEARNT).collect();
        self.write(&way, &again)?;
        self.write(&way, texts)
    }

    /// The fastest of some settings on some texts.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn best(&self, settings: &[Setting], texts: &[usize]) -> Result<Setting, SimulationError> {
        let mut left = settings.to_vec();
        for heat in [&texts[..texts.len().min(HEAT)], texts] {
            let mut paces = Vec::with_capacity(left.len());
            for setting in left {
                let pace = self.write(&self.way(setting)?, heat)?;
                paces.push((pace.tokens_per_second, setting));
            }
            paces.sort_by(|a, b| b.0.total_cmp(&a.0));
            paces.truncate(paces.len().div_ceil(4));
            left = paces.into_iter().map(|(_, setting)| setting).collect();
        }
        Ok(left.first().copied().unwrap_or(Setting::Off))
    }

    /// A setting's plan.
    ///
    /// # Errors
    /// None that a setting of the same lineup could have.
    pub fn way(&self, setting: Setting) -> Result<Way, SimulationError> {
        Ok(Way::Plan(Arc::new(setting.plan(self.lineup)?)))
    }

    /// Tokens and rounds of a text.
    async fn text(&self, way: &Way, number: usize) -> Result<(usize, usize), SimulationError> {
        let header = &self.lineup.header;
        let text = &self.lineup.texts[number];
        let strategy: Arc<dyn Strategy> = match way {
            Way::Plan(plan) => plan.clone(),
            Way::Planner(planner) => Arc::new(planner.text(header.temperature)),
        };
        let mut request = Request {
            context: Context::new(text.prompt.clone()),
            sampling: Arc::new(Sampling {
                temperature: header.temperature,
                end_tokens: header.end_tokens.clone(),
                ..Sampling::default()
            }),
            logprobs: None,
            tenant: None,
            session: Arc::new(Session::ready(number as u64, self.lineup.members.len())),
        };
        let mut drafting = Drafting::new(strategy);
        let mut rounds = 0;
        self.time.sleep(milliseconds(header.text_ms)).await;
        while request.context.generated().len() < text.tokens.len() {
            let left = header.max_tokens.max(text.tokens.len()) - request.context.generated().len();
            let round = self.cascade.round(&request, &mut drafting, left).await?;
            request
                .context
                .extend(round.tokens.iter().map(|token| token.id));
            self.time.sleep(milliseconds(header.round_ms)).await;
            rounds += 1;
        }
        Ok((request.context.generated().len(), rounds))
    }
}
