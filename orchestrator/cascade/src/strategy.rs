//! Who drafts next: the question that a draft asks before every turn, and what its answer rests on.

use std::{sync::Arc, time::Duration};

use csd_level::{Description, DraftToken, Kind, Lenience, Prospects, Timings};

/// A set of levels of one cascade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels(u32);

impl Levels {
    /// Adds a level.
    pub fn insert(&mut self, level: usize) {
        self.0 |= 1 << level;
    }

    /// Whether a level is in the set.
    pub fn contains(self, level: usize) -> bool {
        self.0 >> level & 1 == 1
    }

    /// Takes out the levels that are smaller than this one.
    pub fn remove_below(&mut self, level: usize) {
        self.0 &= (2 << level) - 1;
    }
}

impl FromIterator<usize> for Levels {
    fn from_iter<I: IntoIterator<Item = usize>>(levels: I) -> Self {
        let mut set = Self::default();
        levels.into_iter().for_each(|level| set.insert(level));
        set
    }
}

/// Whether a level may use the Max-Gram in its own process: it stands for the cascade's last level.
pub(crate) fn assisted(levels: &[Arc<Description>], level: usize) -> bool {
    let last = levels.last();
    last.is_some_and(|last| last.kind == Kind::Statistical) && levels[level].assisted
}

/// What the tokens of a draft are worth to the text: the chance that the first one counts, if its reviewer lets it pass,
/// and the factor for each further one. A draft for the target has 1 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Worth {
    /// Of the first position.
    pub first: f64,
    /// From one position to the next.
    pub decay: f64,
}

impl Worth {
    /// What the target accepts is text.
    pub const TEXT: Self = Self {
        first: 1.0,
        decay: 1.0,
    };
}

/// A draft that may be extended.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The levels, target first.
    pub levels: &'a [Arc<Description>],
    /// Those that may be asked.
    pub usable: Levels,
    /// Those that had nothing to add, or failed, since the draft began.
    pub ended: Levels,
    /// The level that will review the draft.
    pub reviewer: usize,
    /// Tokens before the draft.
    pub context: usize,
    /// The draft so far.
    pub draft: &'a [DraftToken],
    /// How many tokens may be added; at least 1.
    pub room: usize,
    /// What the draft is worth once its reviewer has let it pass.
    pub worth: Worth,
    /// Whether it is drafted beside a review of the draft before it.
    pub ahead: bool,
    /// For how long drafting still hides behind a review that is under way.
    pub hidden: Duration,
    /// Whether the next token to be drafted is a guess at one that the target is about to add itself: only behind that very
    /// token does the rest count.
    pub guessing: bool,
}

/// How a level takes its turn.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one turn at a time, and as a plain value it is easily handed about"
)]
pub enum Manner {
    /// It writes by itself, in one Draft call, with so many tokens of its own Max-Gram before each of its forwards.
    Write {
        /// 0: token by token.
        assist: usize,
        /// When to stop, and which of its Max-Gram's tokens to leave unreviewed.
        prospects: Option<Prospects>,
    },
    /// It reviews a draft that the levels under it write.
    Review {
        /// What that draft is worth.
        worth: Worth,
    },
}

/// The next turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    /// Whose.
    pub level: usize,
    /// A start threshold: a level that writes goes on while it has fewer tokens than this, and they are worth it. At least 1.
    pub wanted: usize,
    /// The most tokens it may return. At least `wanted`, at most the room of the situation.
    pub room: usize,
    /// How.
    pub manner: Manner,
}

/// A level's answer to a Draft call.
#[derive(Clone, Copy, Debug)]
pub struct Drafted<'a> {
    /// Who wrote.
    pub level: usize,
    /// With how much of its Max-Gram.
    pub assist: usize,
    /// The tokens.
    pub tokens: &'a [DraftToken],
    /// Forwards it took.
    pub forwards: u64,
    /// Between question and answer, as the cascade saw it.
    pub took: Duration,
    /// As the level saw it.
    pub timings: Timings,
    /// Whether it was asked while the target reviewed: then it may have waited for that, and for whoever else drafts.
    pub beside: bool,
}

/// A level's answer to a Verify call.
#[derive(Clone, Copy, Debug)]
pub struct Reviewed<'a> {
    /// Who reviewed.
    pub level: usize,
    /// The draft, as it was before the review.
    pub draft: &'a [DraftToken],
    /// How much of it passed.
    pub accepted: usize,
    /// Between question and answer, as the cascade saw it.
    pub took: Duration,
    /// As the level saw it.
    pub timings: Timings,
    /// Whether it was asked while the target reviewed: then it may have waited for that, and for whoever else drafts.
    pub beside: bool,
}

/// A round.
#[derive(Clone, Copy, Debug)]
pub struct Wrote {
    /// Tokens that it wrote.
    pub tokens: usize,
    /// Tokens that the target reviewed.
    pub drafted: usize,
    /// How long the target waited for them.
    pub drafting: Duration,
    /// Whether some of them had been drafted before the round began.
    pub resumed: bool,
    /// Whether the target read the prompt first: such a round says nothing of the pace.
    pub read: bool,
    /// Where the levels have drafted beside its review: whether for what it came to say.
    pub foreseen: Option<bool>,
    /// Its whole time.
    pub took: Duration,
}

/// Chooses the turns of one text, and is told what came of them.
///
/// A strategy decides about speed alone: no answer of it can change the text. [`crate::Plan`] is the paper's, with fixed
/// budgets; [`crate::planner`] learns from what it is told.
pub trait Strategy: Send + Sync {
    /// The next turn of a draft; nothing when the draft should be reviewed as it is.
    fn next(&self, situation: &Situation<'_>) -> Option<Turn>;

    /// How many of the tokens that a level has just written stay in the draft.
    fn keep(&self, _situation: &Situation<'_>, _level: usize, tokens: &[DraftToken]) -> usize {
        tokens.len()
    }

    /// How loose the reviews of a drafter are. The target has no such choice.
    fn lenience(&self, _level: usize) -> Lenience {
        Lenience::NONE
    }

    /// How long a text's first draft may wait for levels that still read its prompt. The target could write a token
    /// meanwhile, and the draft would come behind that.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether the levels go on drafting while the target reviews. Asked once a review, and only where a next draft may
    /// be wanted.
    fn pipelined(&self) -> bool {
        false
    }

    /// The places of a draft whose refusal those levels prepare for, too, the likeliest first: drafts behind the runner-up.
    fn refusals(&self, _levels: &[Arc<Description>], _draft: &[DraftToken]) -> Vec<usize> {
        Vec::new()
    }

    /// How long a review of so many rows is expected to take.
    fn expected_review(&self, _level: usize, _rows: usize) -> Duration {
        Duration::ZERO
    }

    /// A text's first draft has waited so long for levels to read its prompt; `read`: they have.
    fn waited(&self, _took: Duration, _read: bool) {}

    /// A level has drafted.
    fn drafted(&self, _report: &Drafted<'_>) {}

    /// A level has reviewed.
    fn reviewed(&self, _report: &Reviewed<'_>) {}

    /// A turn to take for nobody, beside the review of an empty draft: nobody waits for it, and what it writes is held
    /// against the text as that comes.
    fn audition(&self, _situation: &Situation<'_>) -> Option<Turn> {
        None
    }

    /// So many of the tokens that such a turn wrote are what the target went on to write.
    fn auditioned(&self, _tokens: &[DraftToken], _accepted: usize) {}

    /// A guess at a token that the target was about to add itself was right or not.
    fn guessed(&self, _guess: &DraftToken, _right: bool) {}

    /// A call of a level has failed after so long.
    fn failed(&self, _level: usize, _took: Duration) {}

    /// A round has ended.
    fn wrote(&self, _report: &Wrote) {}
}
