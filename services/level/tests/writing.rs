//! How a level writes by itself: token by token, over what its Max-Gram proposes, and no further than it pays.

use std::{sync::Arc, time::Duration};

use csd_level::{
    Assistant, Call, Context, Draft, DraftRequest, DraftToken, Error, Lenience, Prospects,
    Sampling, Verdict, Writing,
    prospects::{BANDS, PRICED, band},
};

/// Proposes the token after the last, with these gaps.
#[derive(Debug)]
struct Counting(Vec<f32>);

impl Assistant for Counting {
    fn propose(&self, call: &Call, room: usize) -> Draft {
        let last = call.context.tokens().last().copied().unwrap_or(0);
        let token = |(id, &gap): (u32, &f32)| DraftToken {
            gap,
            ..DraftToken::bare(id, 0)
        };
        Draft {
            tokens: (last + 1..).zip(&self.0).take(room).map(token).collect(),
            ..Draft::default()
        }
    }
}

fn request(
    wanted: usize,
    room: usize,
    assist: usize,
    prospects: Option<Prospects>,
) -> DraftRequest {
    DraftRequest {
        call: Call {
            context: Context::new(vec![10]),
            sampling: Arc::new(Sampling {
                end_tokens: vec![99],
                ..Sampling::default()
            }),
            session: 0,
            stream: 0,
            tenant: None,
            timeout: Duration::from_secs(1),
        },
        wanted,
        room,
        assist,
        lenience: Lenience::NONE,
        prospects,
    }
}

/// Chances by band: sure tokens pass, and are half of all, others do not.
fn prospects() -> Prospects {
    let (mut chances, mut shares) = ([0.1; BANDS], [0.0; BANDS]);
    chances[band(5.0)] = 0.9;
    (shares[band(0.1)], shares[band(5.0)]) = (0.5, 0.5);
    Prospects {
        own: chances,
        shares,
        assistant: chances,
        forward: 0.2,
        rows: [0.05; PRICED],
    }
}

fn verdict(accepted: usize, next: u32, gap: f32) -> Verdict {
    Verdict {
        accepted,
        next: Some(DraftToken {
            gap,
            ..DraftToken::bare(next, 0)
        }),
        probabilities: vec![0.9; accepted],
        runners_up: vec![Some(77); accepted],
        logprobs: Vec::new(),
        timings: Default::default(),
    }
}

#[test]
fn reviews_go_on_until_enough_is_written() {
    let mut writing = Writing::new(request(3, 9, 2, None), 16, true).expect("an assistant");
    let assistant = Counting(vec![1.0; 8]);
    let first = writing.step(Some(&assistant)).expect("a review");
    assert_eq!(first.draft.ids().collect::<Vec<_>>(), [11, 12]);
    writing.reviewed(verdict(1, 50, 1.0));
    let second = writing.step(Some(&assistant)).expect("another");
    assert_eq!(second.call.context.tokens(), [10, 11, 50]);
    assert_eq!(second.draft.ids().collect::<Vec<_>>(), [51, 52]);
    writing.reviewed(verdict(2, 53, 1.0));
    assert_eq!(writing.step(Some(&assistant)), None);
    let draft = writing.finish();
    assert_eq!(draft.ids().collect::<Vec<_>>(), [11, 50, 51, 52, 53]);
    let authors: Vec<u8> = draft.tokens.iter().map(|token| token.author).collect();
    assert_eq!(authors, [1, 0, 1, 1, 0]);
    // What the level would have written instead of its assistant's tokens.
    let runners_up: Vec<_> = draft.tokens.iter().map(|token| token.runner_up).collect();
    assert_eq!(runners_up, [Some(77), None, Some(77), Some(77), None]);
    assert_eq!(draft.inner.calls_of(0), 2);
}

#[test]
fn an_unsure_token_ends_a_draft_that_must_pay() {
    let mut writing = Writing::new(request(9, 9, 0, Some(prospects())), 16, false).expect("alone");
    assert!(writing.step(None).is_some());
    writing.reviewed(verdict(0, 20, 5.0));
    assert!(writing.step(None).is_some(), "half of 0.9 × 0.9 pays");
    writing.reviewed(verdict(0, 21, 0.1));
    assert_eq!(writing.step(None), None, "half of 0.09 × 0.9 does not");
    assert_eq!(writing.finish().len(), 2);
}

#[test]
fn a_token_that_is_not_worth_its_row_is_left_out_and_ends_the_draft() {
    let mut prospects = prospects();
    // From the second token on a row costs more than an unsure token brings.
    prospects.rows[1..].fill(0.3);
    for place in [0, 1] {
        let request = request(9, 9, 0, Some(prospects));
        let mut writing = Writing::new(request, 16, false).expect("alone");
        for index in 0..=place {
            assert!(writing.step(None).is_some());
            let gap = if index == place { 0.1 } else { 5.0 };
            writing.reviewed(verdict(0, 20 + index, gap));
        }
        assert_eq!(writing.step(None), None);
        let draft = writing.finish();
        // Written it was all the same.
        assert_eq!(
            (draft.len(), draft.inner.calls_of(0)),
            (1, u64::from(place) + 1)
        );
    }
}

#[test]
fn rows_that_no_token_would_be_worth_are_not_written_for() {
    let mut prospects = prospects();
    prospects.rows.fill(0.85);
    // Half of all bring 0.05 beyond their row.
    prospects.forward = 0.02;
    assert!(prospects.pays(0, 1.0));
    prospects.forward = 0.03;
    assert!(!prospects.pays(0, 1.0));
    (prospects.forward, prospects.rows) = (0.0, [0.95; PRICED]);
    assert!(
        !prospects.pays(0, 1.0),
        "nothing at all is not worth a forward that is free"
    );
}

#[test]
fn what_max_gram_is_sure_of_needs_no_forward_and_may_pass_what_was_wanted() {
    let ask = request(1, 9, 0, Some(prospects()));
    let mut writing = Writing::new(ask, 16, true).expect("an assistant");
    // Sure of four, not of the fifth.
    let assistant = Counting(vec![5.0, 5.0, 5.0, 5.0, 0.1, 5.0]);
    assert_eq!(writing.step(Some(&assistant)), None);
    let draft = writing.finish();
    assert!(
        draft.len() >= 4 && draft.inner.calls_of(0) == 0,
        "{draft:?}"
    );
    assert!(
        draft
            .tokens
            .iter()
            .all(|token| (token.author, token.reviewers) == (1, 0))
    );
}

#[test]
fn a_text_that_ends_ends_the_draft() {
    let mut writing = Writing::new(request(9, 9, 0, None), 16, false).expect("alone");
    assert!(writing.step(None).is_some());
    writing.reviewed(verdict(0, 99, 5.0));
    assert_eq!(writing.step(None), None);
}

#[test]
fn an_assistant_that_is_not_there_is_refused() {
    let refused = Writing::new(request(1, 1, 2, None), 16, false);
    assert!(matches!(refused, Err(Error::Unsupported(_))));
}
