//! The engine as a level: answers, refusals, deadlines, cancellation, caches, many callers at once.

mod support;

use std::{sync::Arc, thread, time::Duration};

use csd_engine::{Engine, Settings, Weights};
use csd_level::{Error, Level, Sampling};

use support::{bundled, engine, request, wait, write};

fn mini() -> Engine {
    engine(bundled("tiny/mini"), Weights::F32, 1)
}

#[test]
fn it_describes_what_it_serves() {
    let description = mini().description();
    assert_eq!(description.model, "mini");
    assert_eq!(description.vocabulary, 4096);
    assert_eq!(description.context, 2048);
    assert_eq!(description.end_tokens, [0, 4]);
    assert_eq!(
        (description.exact, description.device.as_str()),
        (true, "cpu")
    );
    let target = engine(bundled("tiny/target"), Weights::F32, 1).description();
    assert_eq!(description.token_map, target.token_map);
    assert_ne!(description.numerics, target.numerics);
    assert_eq!(mini().description(), description);
}

#[test]
fn requests_that_can_never_succeed_are_refused() {
    let engine = mini();
    let refused = |context: &[u32], draft: &[u32]| {
        wait(engine.verify(request(1, context, draft))).unwrap_err()
    };
    let field = |error: &Error| match error {
        Error::Invalid { field, .. } => field.clone(),
        other => other.to_string(),
    };
    assert_eq!(field(&refused(&[], &[])), "context");
    assert_eq!(field(&refused(&[5, 4096], &[])), "tokens");
    assert_eq!(field(&refused(&[5], &[1, u32::MAX])), "draft");
    assert_eq!(field(&refused(&[5], &[1; 300])), "draft");
    let long = Error::ContextLength {
        len: 2049,
        limit: 2048,
    };
    assert_eq!(refused(&[5; 2048], &[]), long);
    assert_eq!(refused(&[5; 2040], &[1; 8]), long);
    assert!(wait(engine.verify(request(1, &[5; 100], &[1; 8]))).is_ok());
    assert_eq!(engine.gauges().verified, 1);
}

#[test]
fn a_cut_back_cache_and_a_shared_prefix_are_found_again() {
    let engine = mini();
    let prompt: Vec<u32> = (100..180).collect();
    let first = wait(engine.verify(request(1, &prompt, &[7, 8, 9]))).unwrap();
    assert_eq!((first.timings.cached, first.timings.rows), (0, 83));
    // The session's own slot, all of it but the last token.
    let again = wait(engine.verify(request(1, &prompt, &[7, 8, 9]))).unwrap();
    assert_eq!((again.timings.cached, again.timings.rows), (79, 4));
    assert_eq!(again.next, first.next);
    assert_eq!(again.probabilities, first.probabilities);
    // Another session forks what they share.
    let fork = [&prompt[..40], &[1, 2, 3]].concat();
    let other = wait(engine.verify(request(2, &fork, &[]))).unwrap();
    assert_eq!((other.timings.cached, other.timings.rows), (40, 3));
    // And the first session still has all it had.
    let third = wait(engine.verify(request(1, &prompt, &[]))).unwrap();
    assert_eq!((third.timings.cached, third.timings.rows), (79, 1));
}

#[test]
fn caches_stay_within_their_limit() {
    let limit = 3 << 20;
    let settings = Settings {
        cache_bytes: limit,
        context: Some(1024),
        ..Settings::new("mini", bundled("tiny/mini"))
    };
    let engine = Engine::load(settings).unwrap();
    let alone = mini();
    for session in 0..40u64 {
        let prompt: Vec<u32> = (0..400)
            .map(|i| (i * 7 + session as u32 * 31) % 4000)
            .collect();
        let ours = wait(engine.verify(request(session, &prompt, &[]))).unwrap();
        let fresh = wait(alone.verify(request(session, &prompt, &[]))).unwrap();
        assert_eq!(ours.next, fresh.next);
        assert!(engine.gauges().cache_bytes <= limit);
    }
}

#[test]
fn many_callers_at_once_get_what_each_gets_alone() {
    for weights in [Weights::F32, Weights::Q8_0] {
        let alone = engine(bundled("tiny/draft"), weights, 1);
        let shared = Arc::new(engine(bundled("tiny/draft"), weights, 2));
        let prompt = |caller: u32| -> Vec<u32> {
            (0..30 + 40 * caller)
                .map(|i| (i * 13 + caller) % 4000)
                .collect()
        };
        let callers: Vec<_> = (0..6)
            .map(|caller| {
                let (engine, prompt) = (shared.clone(), prompt(caller));
                thread::spawn(move || {
                    let mut text = prompt;
                    for _ in 0..12 {
                        let mut review = request(caller.into(), &text, &[caller, 5, 9]);
                        let sampling = Sampling {
                            temperature: 0.9,
                            seed: caller.into(),
                            ..Sampling::default()
                        };
                        review.call.sampling = Arc::new(sampling);
                        let verdict = wait(engine.verify(review)).unwrap();
                        text.extend(&[caller, 5, 9][..verdict.accepted]);
                        text.extend(verdict.next.map(|next| next.id));
                    }
                    text
                })
            })
            .collect();
        for (caller, thread) in (0..).zip(callers) {
            let together = thread.join().unwrap();
            let mut text = prompt(caller);
            while text.len() < together.len() {
                let mut review = request(99, &text, &[]);
                let sampling = Sampling {
                    temperature: 0.9,
                    seed: caller.into(),
                    ..Sampling::default()
                };
                review.call.sampling = Arc::new(sampling);
                text.extend(wait(alone.verify(review)).unwrap().next.map(|next| next.id));
            }
            assert_eq!(text, together);
        }
        let gauges = shared.gauges();
        assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
        assert!(gauges.forwards <= gauges.verified + 20);
    }
}

#[test]
fn an_expired_call_is_told_so_and_not_computed() {
    let engine = mini();
    let mut late = request(1, &[5, 6, 7], &[]);
    late.call.timeout = Duration::ZERO;
    assert_eq!(
        wait(engine.verify(late)).unwrap_err(),
        Error::DeadlineExceeded
    );
    assert_eq!(engine.gauges().rows, 0);
    let mut patient = request(1, &[5, 6, 7], &[]);
    patient.call.timeout = Duration::MAX;
    assert!(wait(engine.verify(patient)).is_ok());
}

#[test]
fn a_level_may_write_alone() {
    let engine = mini();
    let prompt = [1, 203, 455, 644];
    let alone = write(&engine, &prompt, 8, |_| Vec::new());
    let draft = csd_level::DraftRequest {
        call: request(1, &prompt, &[]).call,
        wanted: 8,
        room: 8,
        assist: 0,
        lenience: csd_level::Lenience::NONE,
        prospects: None,
    };
    let drafted = wait(engine.draft(draft)).unwrap();
    assert_eq!(drafted.ids().collect::<Vec<_>>(), alone);
}
