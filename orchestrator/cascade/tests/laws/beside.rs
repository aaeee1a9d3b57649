//! What levels do while the target reviews: it holds nobody up and changes nothing.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use csd_cascade::{
    Cascade, Plan, Strategy,
    world::{Price, Time, Timed},
};
use csd_level::{Clock as _, Level, Sampling, Token, scripted::ScriptedLevel};

use crate::{
    LIMITS, alone,
    cast::{Curious, Hasty, Hearing, VOCABULARY, Wary, drafter, target},
    write,
};

/// The level on virtual time, 0.2 ms away, its forwards of so many ms.
fn timed(level: Arc<dyn Level>, forward: f64, time: &Time) -> Arc<dyn Level> {
    Arc::new(Timed::new(level, Price::ms(forward, 64, 0.2), time))
}

#[test]
fn who_drafts_for_nobody_is_held_against_the_text_and_holds_nobody_up() {
    let time = Time::default();
    let timed = |level: ScriptedLevel, link| -> Arc<dyn Level> {
        Arc::new(Timed::new(Arc::new(level), Price::ms(10.0, 8, link), &time))
    };
    let stranger = ScriptedLevel::new("stranger", VOCABULARY, 1, 5, 9.0);
    let levels = vec![
        timed(target(), 0.0),
        timed(target(), 45.0),
        timed(stranger, 5.0),
    ];
    let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone())).expect("one token map");
    let curious = Arc::new(Curious::default());
    let text = time.run(write(
        &Arc::new(cascade),
        curious.clone(),
        &Sampling::default(),
        60,
        0,
    ));
    let (tokens, statistics, _) = text.expect("everyone waits for time");
    assert_eq!(tokens, alone(&Sampling::default(), 60));
    assert_eq!(time.now(), Duration::from_millis(600));
    assert!(statistics.calls_of(1) > 0 && statistics.calls_of(2) > 0);
    let heard = curious.heard.lock().expect("no panic");
    assert!(heard.contains(&(5, 5)), "the target's own: {heard:?}");
    assert!(heard.contains(&(0, 5)), "a stranger's: {heard:?}");
}

#[test]
fn drafting_ahead_hides_behind_the_review() {
    let took = |pipelined: bool| {
        let time = Time::default();
        let level = |forward| timed(Arc::new(target()), forward, &time);
        let cascade = Cascade::new(
            vec![level(30.0), level(3.0)],
            LIMITS,
            Arc::new(time.clone()),
        );
        let plan = Plan::matrix(&[vec![9]], 1.0, 1).expect("a good matrix");
        let cascade = Arc::new(cascade.expect("one token map"));
        let plan = plan.with_pipelining(pipelined);
        let text = time.run(write(
            &cascade,
            Arc::new(plan),
            &Sampling::default(),
            200,
            0,
        ));
        let text = text.expect("everyone waits for time");
        assert_eq!(text.0, alone(&Sampling::default(), 200));
        (time.now(), text.1.calls_of(0))
    };
    // Nine tokens at 3 ms and a review at 30 ms, one after the other or side by side (ten then: one is a guess).
    assert_eq!(took(false), (Duration::from_micros(20 * 57_400), 20));
    let (beside, reviews) = took(true);
    assert_eq!(reviews, 20);
    assert!(
        beside < Duration::from_micros(20 * 31_000 + 27_200),
        "{beside:?}"
    );
}

#[test]
fn who_is_asked_beside_a_review_is_known_to_be_however_late_the_answer() {
    let time = Time::default();
    let level = |forward| timed(Arc::new(target()), forward, &time);
    // A draft of 40 ms is not there when a review of 30 ms ends.
    let levels = vec![level(30.0), level(10.0)];
    let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone()));
    let hearing = Arc::new(Hearing {
        plan: Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix"),
        beside: Mutex::default(),
    });
    let cascade = Arc::new(cascade.expect("one token map"));
    let text = time.run(write(
        &cascade,
        hearing.clone(),
        &Sampling::default(),
        20,
        0,
    ));
    let text = text.expect("everyone waits for time");
    assert_eq!(text.0, alone(&Sampling::default(), 20));
    let beside = hearing.beside.lock().expect("no panic");
    let (first, others) = beside.split_first().expect("drafts");
    assert!(!first && !others.is_empty(), "{beside:?}");
    assert!(others.iter().all(|beside| *beside), "{beside:?}");
}

#[test]
fn a_refusal_that_was_prepared_for_is_no_reason_to_wait() {
    let took = |wary: bool| {
        let time = Time::default();
        let level = |level, forward| timed(level, forward, &time);
        let levels = vec![
            level(Arc::new(target()), 30.0),
            level(drafter("draft", 1.0, Vec::new()), 3.0),
        ];
        let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone()));
        let cascade = Arc::new(cascade.expect("one token map"));
        let plan = Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix");
        let plan = plan.with_pipelining(true);
        let strategy: Arc<dyn Strategy> = match wary {
            true => Arc::new(Wary(plan)),
            false => Arc::new(plan),
        };
        let text = time.run(write(&cascade, strategy, &Sampling::default(), 200, 0));
        let text = text.expect("everyone waits for time");
        assert_eq!(text.0, alone(&Sampling::default(), 200));
        (time.now().as_secs_f64(), text.1.calls_of(0))
    };
    let (waiting, reviews) = took(false);
    let (prepared, same) = took(true);
    assert_eq!(same, reviews);
    // A draft takes 12.2 ms, which a round waits for whose draft was not foreseen.
    let each = |seconds: f64| seconds * 1e3 / reviews as f64;
    assert!(each(waiting) > 38.0, "{}", each(waiting));
    assert!(
        each(prepared) < each(waiting) - 2.0,
        "{} {}",
        each(prepared),
        each(waiting)
    );
}

#[test]
fn the_refusal_of_an_end_is_prepared_for_as_any_other() {
    let text = alone(&Sampling::default(), 20);
    let end = (0..VOCABULARY as Token).find(|token| !text.contains(token));
    let end = end.expect("a token that the target does not say");
    let sampling = Sampling {
        end_tokens: vec![end],
        ..Sampling::default()
    };
    let time = Time::default();
    let level = |level, forward| timed(level, forward, &time);
    let levels = vec![
        level(Arc::new(target()), 30.0),
        level(Arc::new(Hasty(end)), 3.0),
    ];
    let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone()));
    let cascade = Arc::new(cascade.expect("one token map"));
    let plan = Plan::matrix(&[vec![4]], 1.0, 1).expect("a good matrix");
    let strategy = Arc::new(Wary(plan.with_pipelining(true)));
    let written = time.run(write(&cascade, strategy, &sampling, 20, 0));
    assert_eq!(written.expect("everyone waits for time").0, text);
    // A review a token, of 30.2 ms; one draft, of 3.2 ms, is waited for: the last token has none.
    assert_eq!(time.now(), Duration::from_micros(20 * 30_200 + 3_200));
}
