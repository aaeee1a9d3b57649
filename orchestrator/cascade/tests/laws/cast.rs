//! The levels and strategies that the laws are held against.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use csd_cascade::{
    Plan, Strategy,
    strategy::{Drafted, Manner, Situation, Turn},
};
use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, DraftToken, Error, Kind, Lenience, Level, Result,
    Token, Verdict, VerifyRequest, scripted::ScriptedLevel,
};

pub(crate) const VOCABULARY: usize = 40;

/// A statistical level that proposes a fixed walk through the vocabulary, right now and then.
pub(crate) struct Walk(pub(crate) u32);

impl Level for Walk {
    fn description(&self) -> Arc<Description> {
        let mut description = (*target().description()).clone();
        description.kind = Kind::Statistical;
        description.name = "walk".into();
        Arc::new(description)
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        let script = ScriptedLevel::new("walk", VOCABULARY, 1, 99, 2.0);
        let mut draft = Draft::default();
        draft.inner.record_calls(0, 1);
        let mut tokens = request.call.context.tokens().to_vec();
        for i in 0..request.wanted.min(request.room) {
            let logits = script.logits(&tokens);
            let best = (0..VOCABULARY)
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                .unwrap_or(0) as u32;
            let id = if (tokens.len() + i).is_multiple_of(self.0 as usize) {
                (best + 1) % VOCABULARY as u32
            } else {
                best
            };
            tokens.push(id);
            draft.tokens.push(DraftToken::bare(id, 0));
            if request.call.sampling.is_end(id) {
                break;
            }
        }
        Box::pin(async { Ok(draft) })
    }

    fn verify(&self, _: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async { Err(Error::Unsupported("drafts only".into())) })
    }
}

/// A drafter that always ends the text at once, and knows what should be there instead.
pub(crate) struct Hasty(pub(crate) Token);

impl Level for Hasty {
    fn description(&self) -> Arc<Description> {
        target().description()
    }

    fn draft(&self, request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        let logits = target().logits(request.call.context.tokens());
        let best = (0..VOCABULARY).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        let mut draft = Draft::default();
        draft.inner.record_calls(0, 1);
        draft.tokens.push(DraftToken {
            runner_up: best.map(|best| best as Token),
            ..DraftToken::bare(self.0, 0)
        });
        Box::pin(async { Ok(draft) })
    }

    fn verify(&self, _: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async { Err(Error::Unsupported("drafts only".into())) })
    }
}

/// A plan that prepares for the refusal of every token.
pub(crate) struct Wary(pub(crate) Plan);

impl Strategy for Wary {
    fn next(&self, situation: &Situation<'_>) -> Option<Turn> {
        Strategy::next(&self.0, situation)
    }

    fn lenience(&self, level: usize) -> Lenience {
        Strategy::lenience(&self.0, level)
    }

    fn pipelined(&self) -> bool {
        true
    }

    fn refusals(&self, _: &[Arc<Description>], draft: &[DraftToken]) -> Vec<usize> {
        (0..draft.len()).collect()
    }
}

/// A plan that drafts beside reviews, and hears who was asked beside one.
pub(crate) struct Hearing {
    pub(crate) plan: Plan,
    pub(crate) beside: Mutex<Vec<bool>>,
}

impl Strategy for Hearing {
    fn next(&self, situation: &Situation<'_>) -> Option<Turn> {
        Strategy::next(&self.plan, situation)
    }

    fn pipelined(&self) -> bool {
        true
    }

    fn drafted(&self, report: &Drafted<'_>) {
        self.beside.lock().expect("no panic").push(report.beside);
    }
}

/// Lets every level draft for nobody, and counts what it hears of that.
#[derive(Default)]
pub(crate) struct Curious {
    asked: AtomicUsize,
    pub(crate) heard: Mutex<Vec<(usize, usize)>>,
}

impl Strategy for Curious {
    fn next(&self, _: &Situation<'_>) -> Option<Turn> {
        None
    }

    fn audition(&self, situation: &Situation<'_>) -> Option<Turn> {
        let drafters = situation.levels.len() - 1;
        let wanted = situation.room.min(5);
        Some(Turn {
            level: 1 + self.asked.fetch_add(1, Ordering::Relaxed) % drafters,
            wanted,
            room: wanted,
            manner: Manner::Write {
                assist: 0,
                prospects: None,
            },
        })
    }

    fn auditioned(&self, tokens: &[DraftToken], accepted: usize) {
        let heard = (accepted, tokens.len());
        self.heard.lock().expect("no panic").push(heard);
    }
}

pub(crate) fn target() -> ScriptedLevel {
    ScriptedLevel::new("target", VOCABULARY, 1, 1, 1.0)
}

pub(crate) fn drafter(name: &str, disagreement: f32, faults: Vec<u8>) -> Arc<dyn Level> {
    let level = ScriptedLevel::new(
        name,
        VOCABULARY,
        1,
        1000 + disagreement.to_bits() as u64,
        disagreement,
    );
    Arc::new(level.with_fault(Arc::new(move |call| {
        if faults.is_empty() {
            return None;
        }
        match faults[call as usize % faults.len()] {
            0 => Some(Error::Unavailable("gone".into())),
            1 => Some(Error::DeadlineExceeded),
            2 => Some(Error::Busy {
                retry_after: Duration::from_millis(1),
            }),
            3 => Some(Error::Internal("broken".into())),
            _ => None,
        }
    })))
}
