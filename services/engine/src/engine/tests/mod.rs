//! The scheduler with a model that only keeps a record: who is computed, when, and beside whom.

mod recorder;

use std::{thread, time::Duration};

use csd_level::{Error, Token};

use self::recorder::{Counted, FAILS, PANICS, held, next, poll, wait};
use crate::cache::{Slots, Wanted};

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
    let mut fourth = held.review(4, vec![1], &[]);
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
    let later = held.review(4, vec![1], &[]);
    assert!(matches!(wait(later), Err(Error::Unavailable(_))));
    assert!(held.engine.has_stopped());
    let gauges = held.engine.gauges();
    assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
}
