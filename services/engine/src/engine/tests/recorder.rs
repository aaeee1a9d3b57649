//! An engine with a model that keeps a record, and whose forwards wait for leave.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    task::{Context as TaskContext, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use csd_level::{
    BoxFuture, Call, Context, Description, Draft, DraftToken, Kind, Lenience, Level, Result,
    Sampling, Token, Verdict, VerifyRequest,
};

use crate::{
    decoder::backend::{Batch, Sequence},
    engine::{
        Engine,
        gauges::Counters,
        queue::Queue,
        scheduler::{Model, Scheduler},
    },
};

/// Tokens of the recording model's vocabulary.
const WIDTH: usize = 1000;
/// A token that the recording model fails at, and one that it panics at.
pub(super) const FAILS: Token = 666;
pub(super) const PANICS: Token = 667;

/// A sequence that counts the positions it has room for.
pub(super) struct Counted(pub(super) usize);

impl Sequence for Counted {
    fn fork(&self, len: usize) -> Self {
        Self(len)
    }
    fn reserve(&mut self, len: usize) {
        self.0 = self.0.max(len);
    }
    fn shrink(&mut self, len: usize) {
        self.0 = self.0.min(len);
    }
    fn bytes(&self) -> usize {
        self.0
    }
    fn bytes_for(&self, len: usize) -> usize {
        len
    }
}

/// Of each forward, of each sequence in it: its last token and how many rows it had.
type Record = Arc<Mutex<Vec<Vec<(Token, usize)>>>>;

/// Records each forward's rows by sequence, waits for leave, and says that the token after x is x + 1.
struct Recorder {
    forwards: Record,
    began: Sender<()>,
    leave: Receiver<()>,
    logits: Vec<f32>,
}

impl Model for Recorder {
    type Cache = Counted;

    fn cache(&self) -> Counted {
        Counted(0)
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn forward(
        &mut self,
        batch: &Batch,
        caches: &mut [&mut Counted],
    ) -> Result<&mut [f32], String> {
        let mut rows = vec![(0, 0); caches.len()];
        for (&token, &(sequence, _)) in batch.tokens.iter().zip(&batch.places) {
            rows[sequence] = (token, rows[sequence].1 + 1);
        }
        self.forwards.lock().unwrap().push(rows);
        let _ = self.began.send(());
        let _ = self.leave.recv();
        assert!(!batch.tokens.contains(&PANICS), "as asked");
        if batch.tokens.contains(&FAILS) {
            return Err("as asked".into());
        }
        self.logits = vec![0.0; batch.wanted.len() * WIDTH];
        for (row, &wanted) in self.logits.chunks_exact_mut(WIDTH).zip(&batch.wanted) {
            row[batch.tokens[wanted] as usize + 1] = 9.0;
        }
        Ok(&mut self.logits)
    }
}

/// An engine whose forwards wait for leave.
pub(super) struct Held {
    pub(super) engine: Engine,
    forwards: Record,
    began: Receiver<()>,
    leave: Sender<()>,
}

pub(super) fn held(queue: usize, cache: usize) -> Held {
    let (began_in, began) = mpsc::channel();
    let (leave, leave_out) = mpsc::channel();
    let forwards = Record::default();
    let model = Recorder {
        forwards: Arc::clone(&forwards),
        began: began_in,
        leave: leave_out,
        logits: Vec::new(),
    };
    let queue = Arc::new(Queue::new(queue));
    let counters = Arc::new(Counters::new(()));
    let scheduler = Scheduler::new(model, WIDTH, cache, None, queue.clone(), counters.clone());
    let description = Description {
        name: "recorder".into(),
        kind: Kind::Neural,
        model: "recorder".into(),
        vocabulary: WIDTH,
        token_map: String::new(),
        context: 1024,
        rows: 16,
        dtype: "f32".into(),
        fallbacks: Vec::new(),
        device: "cpu".into(),
        exact: true,
        numerics: String::new(),
        assisted: false,
        remembers: false,
        end_tokens: Vec::new(),
        emulation: None,
    };
    let engine = Engine {
        description: Arc::new(description),
        queue,
        counters,
        thread: Some(thread::spawn(move || scheduler.run())),
        cache_limit: cache,
        weight_bytes: 0,
    };
    Held {
        engine,
        forwards,
        began,
        leave,
    }
}

impl Held {
    /// Begins a review: the context ends with `last`.
    pub(super) fn begin(
        &self,
        session: u64,
        len: usize,
        last: Token,
        draft: &[Token],
    ) -> BoxFuture<'_, Result<Verdict>> {
        let mut tokens = vec![session as Token; len];
        tokens[len - 1] = last;
        let mut future = self.review(session, tokens, draft);
        assert!(poll(&mut future).is_none());
        future
    }

    /// A review that nobody has asked about yet.
    pub(super) fn review(
        &self,
        session: u64,
        tokens: Vec<Token>,
        draft: &[Token],
    ) -> BoxFuture<'_, Result<Verdict>> {
        self.engine.verify(VerifyRequest {
            call: Call {
                context: Context::new(tokens),
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
        })
    }

    pub(super) fn forward(&self) {
        self.leave.send(()).unwrap();
    }

    /// Waits until the thread is inside a forward.
    pub(super) fn began(&self) {
        self.began.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    pub(super) fn recorded(&self) -> Vec<Vec<(Token, usize)>> {
        self.forwards.lock().unwrap().clone()
    }
}

pub(super) fn poll<T>(future: &mut BoxFuture<'_, T>) -> Option<T> {
    match Pin::new(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

pub(super) fn wait<T>(mut future: BoxFuture<'_, T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(output) = poll(&mut future) {
            return output;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no answer");
        thread::sleep(Duration::from_micros(200));
    }
}

pub(super) fn next(result: Result<Verdict>) -> Token {
    result.unwrap().next.unwrap().id
}
