//! The scheduler with a model that only keeps a record: who is computed, when, and beside whom.

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
    BoxFuture, Call, Context, Description, Draft, DraftToken, Error, Kind, Lenience, Level, Result,
    Sampling, Token, Verdict, VerifyRequest,
};

use super::{
    Engine,
    gauges::Counters,
    queue::Queue,
    scheduler::{Model, Scheduler},
};
use crate::{
    cache::{Slots, Wanted},
    decoder::backend::{Batch, Sequence},
};

/// Tokens of the recording model's vocabulary.
const WIDTH: usize = 1000;
/// A token that the recording model fails at, and one that it panics at.
const FAILS: Token = 666;
const PANICS: Token = 667;

/// A sequence that counts the positions it has room for.
struct Counted(usize);

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
struct Held {
    engine: Engine,
    forwards: Record,
    began: Receiver<()>,
    leave: Sender<()>,
}

fn held(queue: usize, cache: usize) -> Held {
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
    fn begin(
        &self,
        session: u64,
        len: usize,
        last: Token,
        draft: &[Token],
    ) -> BoxFuture<'_, Result<Verdict>> {
        let mut tokens = vec![session as Token; len];
        tokens[len - 1] = last;
        let request = VerifyRequest {
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
        };
        let mut future = self.engine.verify(request);
        assert!(poll(&mut future).is_none());
        future
    }

    fn forward(&self) {
        self.leave.send(()).unwrap();
    }

    /// Waits until the thread is inside a forward.
    fn began(&self) {
        self.began.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    fn recorded(&self) -> Vec<Vec<(Token, usize)>> {
        self.forwards.lock().unwrap().clone()
    }
}

fn poll<T>(future: &mut BoxFuture<'_, T>) -> Option<T> {
    match Pin::new(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn wait<T>(mut future: BoxFuture<'_, T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(output) = poll(&mut future) {
            return output;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no answer");
        thread::sleep(Duration::from_micros(200));
    }
}

fn next(result: Result<Verdict>) -> Token {
    result.unwrap().next.unwrap().id
}

#[test]
fn waiting_reviews_join_one_forward() {
    let held = held(8, 10_000);
    let first = held.begin(1, 3, 10, &[]);
    held.began();
    let second = held.begin(2, 4, 20, &[21, 22]);
    let third = held.begin(3, 2, 30, &[99]);
    held.forward();
    assert_eq!(next(wait(first)), 11);
    held.began();
    held.forward();
    let second = wait(second).unwrap();
    assert_eq!((second.accepted, second.next.unwrap().id), (2, 23));
    let third = wait(third).unwrap();
    assert_eq!((third.accepted, third.next.unwrap().id), (0, 31));
    assert_eq!(held.recorded(), [vec![(10, 3)], vec![(22, 6), (99, 3)]]);
}

#[test]
fn a_long_prompt_is_read_in_chunks_beside_reviews() {
    let held = held(8, 10_000);
    let long = held.begin(1, 200, 10, &[11]);
    let longer = held.begin(2, 300, 20, &[]);
    held.began();
    let short = held.begin(3, 5, 30, &[31]);
    held.forward();
    held.began();
    held.forward();
    assert_eq!(next(wait(short)), 32);
    for _ in 0..6 {
        held.began();
        held.forward();
    }
    assert_eq!(next(wait(long)), 12);
    assert_eq!(next(wait(longer)), 21);
    let recorded = held.recorded();
    assert!(recorded.iter().all(|forward| {
        let rows: usize = forward.iter().map(|&(_, rows)| rows).sum();
        rows <= 64 + 64
    }));
    assert_eq!(recorded[1], [(1, 64), (31, 6)]);
}

#[test]
fn nothing_is_computed_for_callers_that_left() {
    let held = held(8, 10_000);
    let first = held.begin(1, 3, 10, &[]);
    held.began();
    let gone: Vec<_> = (2..6)
        .map(|session| held.begin(session, 3, 50, &[]))
        .collect();
    let stays = held.begin(9, 3, 90, &[]);
    let gauges = held.engine.gauges();
    assert_eq!((gauges.in_flight, gauges.queued), (6, 5));
    drop(gone);
    let gauges = held.engine.gauges();
    assert_eq!((gauges.in_flight, gauges.queued), (2, 1));
    held.forward();
    held.began();
    held.forward();
    assert_eq!((next(wait(first)), next(wait(stays))), (11, 91));
    assert_eq!(held.recorded(), [vec![(10, 3)], vec![(90, 3)]]);
    let gauges = held.engine.gauges();
    assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
}

#[test]
fn a_long_prompt_stops_when_its_caller_leaves() {
    let held = held(8, 10_000);
    let long = held.begin(1, 300, 10, &[]);
    held.began();
    drop(long);
    held.forward();
    let short = held.begin(2, 3, 20, &[]);
    held.began();
    held.forward();
    assert_eq!(next(wait(short)), 21);
    assert_eq!(held.recorded().len(), 2);
}

#[test]
fn a_full_queue_says_so_and_those_who_left_make_room() {
    let held = held(2, 10_000);
    let _first = held.begin(1, 3, 10, &[]);
    held.began();
    let second = held.begin(2, 3, 20, &[]);
    let _third = held.begin(3, 3, 30, &[]);
    let mut fourth = held.engine.verify(VerifyRequest {
        call: Call {
            context: Context::new(vec![1]),
            sampling: Arc::new(Sampling::default()),
            session: 4,
            stream: 0,
            tenant: None,
            timeout: Duration::from_secs(9),
        },
        draft: Draft::default(),
        lenience: Lenience::NONE,
        logprobs: None,
    });
    assert!(matches!(poll(&mut fourth), Some(Err(Error::Busy { .. }))));
    drop(second);
    let _fifth = held.begin(5, 3, 50, &[]);
    (0..3).for_each(|_| held.forward());
}

#[test]
fn sequences_wait_for_room_in_the_cache() {
    let held = held(8, 100);
    let first = held.begin(1, 60, 10, &[]);
    held.began();
    let second = held.begin(2, 60, 20, &[]);
    held.forward();
    assert_eq!(next(wait(first)), 11);
    held.began();
    held.forward();
    assert_eq!(next(wait(second)), 21);
    assert_eq!(held.recorded(), [vec![(10, 60)], vec![(20, 60)]]);
}

#[test]
fn more_texts_than_there_is_room_for_take_turns_and_read_their_prompts_once() {
    const TEXTS: u64 = 5;
    const TOKENS: usize = 8;
    let held = held(16, 250); // room for four
    let begin = |text: u64, done: usize| held.begin(text, 52 + done, 10, &[]);
    let mut calls: Vec<_> = (1..=TEXTS).map(|text| (text, 1, begin(text, 0))).collect();
    let mut ended = Vec::new();
    while !calls.is_empty() {
        held.began();
        held.forward();
        thread::sleep(Duration::from_millis(5));
        for (text, done, mut call) in std::mem::take(&mut calls) {
            match poll(&mut call) {
                None => calls.push((text, done, call)),
                Some(answer) => {
                    answer.expect("a review");
                    match done < TOKENS {
                        true => calls.push((text, done + 1, begin(text, done))),
                        false => ended.push(text),
                    }
                }
            }
        }
    }
    let read: usize = held.recorded().iter().flatten().map(|part| part.1).sum();
    // The last token of a context is another one in the next.
    let once = TEXTS as usize * (52 + 2 * (TOKENS - 1));
    assert!(
        read <= once + 2 * 52,
        "{read} rows, {once} if nothing is read twice"
    );
    assert_eq!(ended[4], 5, "the last to come waits: {ended:?}");
}

#[test]
fn nothing_is_dropped_for_a_call_that_has_no_room_even_then() {
    let mut slots = Slots::new(100);
    let mut claim = |session: u64, len: usize| {
        let context = vec![session as Token; len];
        let wanted = Wanted {
            session,
            context: &context,
            len,
            urgent: false,
        };
        let claim = slots.claim(wanted, || Counted(0));
        if let (Some(claim), true) = (claim, session > 1) {
            slots.extend(claim.slot, context[claim.reused..].iter().copied());
            slots.release(claim.slot);
        }
        claim.map(|claim| claim.reused)
    };
    assert_eq!(claim(1, 40), Some(0)); // stays at work
    assert_eq!(claim(2, 20), Some(0));
    assert_eq!(claim(3, 30), Some(0));
    assert_eq!(claim(2, 70), None);
    assert_eq!(claim(3, 30), Some(29), "the later one is still there");
    assert_eq!(claim(2, 60), Some(20), "it makes room for what fits");
    assert_eq!(claim(3, 30), None);
}

#[test]
fn a_failed_forward_fails_its_calls_alone() {
    let held = held(8, 10_000);
    let fails = held.begin(1, 3, FAILS, &[]);
    held.began();
    held.forward();
    assert_eq!(wait(fails).unwrap_err(), Error::Internal("as asked".into()));
    let works = held.begin(2, 3, 20, &[]);
    held.began();
    held.forward();
    assert_eq!(next(wait(works)), 21);
}

#[test]
fn a_thread_that_panics_leaves_nobody_waiting() {
    let held = held(8, 10_000);
    let panics = held.begin(1, 3, PANICS, &[]);
    held.began();
    let waits = held.begin(2, 3, 20, &[]);
    held.forward();
    assert!(matches!(wait(panics), Err(Error::Unavailable(_))));
    assert!(matches!(wait(waits), Err(Error::Unavailable(_))));
    let later = held.engine.verify(VerifyRequest {
        call: Call {
            context: Context::new(vec![1]),
            sampling: Arc::new(Sampling::default()),
            session: 4,
            stream: 0,
            tenant: None,
            timeout: Duration::from_secs(9),
        },
        draft: Draft::default(),
        lenience: Lenience::NONE,
        logprobs: None,
    });
    assert!(matches!(wait(later), Err(Error::Unavailable(_))));
    let gauges = held.engine.gauges();
    assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
}
