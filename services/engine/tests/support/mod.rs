//! What the engine's tests share: paths, a thread that waits for a future, and a text written greedily.

#![allow(dead_code, reason = "every test file takes what it needs of these")]

use std::{
    future::Future,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use csd_engine::{Engine, Settings, Weights};
use csd_level::{
    Call, Context, Draft, DraftToken, Lenience, Level, Sampling, Token, VerifyRequest,
};

pub(crate) mod recorded;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park_timeout(Duration::from_secs(30)),
        }
    }
}

/// A model of the bundled family, or the file with its outputs.
pub(crate) fn bundled(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../models")
        .join(name)
}

/// A checkpoint that was written by somebody else's code.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// An engine with a modest cache.
pub(crate) fn engine(model: PathBuf, weights: Weights, threads: usize) -> Engine {
    let settings = Settings {
        weights,
        threads,
        cache_bytes: 64 << 20,
        ..Settings::new("target", model)
    };
    Engine::load(settings).expect("the model loads")
}

/// A greedy review of `draft`.
pub(crate) fn request(session: u64, context: &[Token], draft: &[Token]) -> VerifyRequest {
    VerifyRequest {
        call: Call {
            context: Context::new(context.to_vec()),
            sampling: Arc::new(Sampling::default()),
            session,
            stream: 0,
            tenant: None,
            timeout: Duration::from_secs(60),
        },
        draft: Draft {
            tokens: draft.iter().map(|&id| DraftToken::bare(id, 1)).collect(),
            ..Draft::default()
        },
        lenience: Lenience::NONE,
        logprobs: None,
    }
}

/// Writes `count` tokens greedily, `rows` at a time: drafts come from `guess`, which may be wrong.
pub(crate) fn write(
    engine: &Engine,
    prompt: &[Token],
    count: usize,
    mut guess: impl FnMut(usize) -> Vec<Token>,
) -> Vec<Token> {
    let mut text = prompt.to_vec();
    while text.len() < prompt.len() + count {
        let draft = guess(text.len() - prompt.len());
        let verdict = wait(engine.verify(request(1, &text, &draft))).expect("an answer");
        text.extend(&draft[..verdict.accepted]);
        text.extend(verdict.next.map(|token| token.id));
    }
    text[prompt.len()..][..count].to_vec()
}
