//! Serving a level and asking it remotely changes nothing.

mod pipe;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use csd_level::{
    BoxFuture, Context, Description, Draft, DraftRequest, Error, Lenience, Level, LogprobsRequest,
    RememberRequest, Result, Rule, Sampling, Tenant, Verdict, VerifyRequest,
};
use csd_transport::ServiceOptions;
use pipe::{Pipe, VOCABULARY, call, review, scripted};

/// Samplings of every kind: greedy, coupled, rejection, with everything switched on.
fn samplings() -> Vec<Sampling> {
    let plain = Sampling {
        temperature: 0.8,
        seed: 0xDEAD_BEEF_CAFE,
        ..Sampling::default()
    };
    let full = Sampling {
        top_k: Some(40),
        top_p: 0.95,
        min_p: 0.01,
        repetition_penalty: 1.1,
        presence_penalty: 0.5,
        frequency_penalty: -0.25,
        logit_bias: vec![(3, -2.5), (90, 4.0)],
        end_tokens: vec![7, 13, 20],
        min_tokens: 3,
        ..plain.clone()
    };
    let rejection = Sampling {
        rule: Rule::Rejection,
        ..plain.clone()
    };
    vec![Sampling::default(), plain, full, rejection]
}

fn draft_request(length: usize, sampling: &Sampling, wanted: usize) -> DraftRequest {
    let tokens = (0..length)
        .map(|i| (i * i * 31 % VOCABULARY) as u32)
        .collect();
    DraftRequest {
        call: call(tokens, sampling.clone()),
        wanted,
        room: wanted + 2,
        assist: 0,
        lenience: Lenience::NONE,
        prospects: None,
    }
}

#[tokio::test]
async fn drafts_and_verdicts_are_the_same() {
    let (drafter, target) = (scripted(1), scripted(2));
    let drafter_pipe = Pipe::new(Arc::new(drafter.clone()), ServiceOptions::default());
    let target_pipe = Pipe::new(Arc::new(target.clone()), ServiceOptions::default());
    let (far_drafter, far_target) = (drafter_pipe.remote().await, target_pipe.remote().await);
    assert_eq!(far_target.description(), target.description());
    assert_eq!(
        far_target.probe().await.as_ref(),
        Ok(&*target.description())
    );

    let (mut accepted, mut refused) = (0, 0);
    for sampling in samplings() {
        for (length, wanted) in [(2, 1), (3, 4), (40, 8), (512, 16)] {
            let request = draft_request(length, &sampling, wanted);
            let near = drafter.draft(request.clone()).await.expect("drafts");
            let far = far_drafter.draft(request.clone()).await.expect("drafts");
            assert_eq!(near, far);
            let scored = LogprobsRequest {
                alternatives: wanted + 4,
                from: length / 2,
            };
            for (lenience, logprobs) in [(1.0, Some(scored)), (3.0, None)] {
                let review = VerifyRequest {
                    call: request.call.clone(),
                    draft: near.clone(),
                    lenience: Lenience::new(lenience).expect("at least 1"),
                    logprobs,
                };
                let near = target.verify(review.clone()).await.expect("reviews");
                let far = far_target.verify(review.clone()).await.expect("reviews");
                assert_eq!(near, far);
                assert_eq!(near.logprobs.is_empty(), logprobs.is_none());
                accepted += near.accepted;
                refused += review.draft.len() - near.accepted;
            }
        }
    }
    assert!(accepted > 20 && refused > 20, "{accepted} {refused}");

    let gauges = far_target.gauges().await.expect("counts");
    assert_eq!(gauges.verify_calls, 32);
    assert_eq!(gauges.accepted, accepted as u64);
    assert_eq!(gauges.drafted, (accepted + refused) as u64);
    assert_eq!(gauges.in_flight, 0);
    assert_eq!(far_drafter.gauges().await.expect("counts").draft_calls, 16);
}

#[tokio::test]
async fn errors_are_the_same() {
    let errors = [
        Error::invalid("draft[3].id", "7 is outside the vocabulary of 5"),
        Error::ContextLength {
            len: 5000,
            limit: 4096,
        },
        Error::Busy {
            retry_after: Duration::from_millis(37),
        },
        Error::Unavailable("shutting down".into()),
        Error::DeadlineExceeded,
        Error::Cancelled,
        Error::Unsupported("no Max-Gram in this process".into()),
        Error::Internal("ein Gewicht fehlt: \u{fc}".into()),
    ];
    for error in errors {
        let fails = error.clone();
        let level = scripted(1).with_fault(Arc::new(move |_| Some(fails.clone())));
        let pipe = Pipe::new(Arc::new(level), ServiceOptions::default());
        let remote = pipe.remote().await;
        let verdict = remote.verify(review(Duration::from_secs(5))).await;
        assert_eq!(verdict, Err(error.clone()));
        let drafted = remote
            .draft(draft_request(4, &Sampling::default(), 3))
            .await;
        assert_eq!(drafted, Err(error));
        assert_eq!(pipe.service.gauges().verify_calls, 0, "not answered");
    }
}

#[tokio::test]
async fn the_levels_own_refusals_are_the_same() {
    let level = scripted(1);
    let pipe = Pipe::new(Arc::new(level.clone()), ServiceOptions::default());
    let remote = pipe.remote().await;
    let long = draft_request(5000, &Sampling::default(), 3);
    let expected = Err(Error::ContextLength {
        len: 5001,
        limit: 4096,
    });
    assert_eq!(level.draft(long.clone()).await, expected);
    assert_eq!(remote.draft(long).await, expected);
    let mut assisted = draft_request(4, &Sampling::default(), 3);
    assisted.assist = 2;
    let near = level.draft(assisted.clone()).await;
    assert!(matches!(near, Err(Error::Unsupported(_))));
    assert_eq!(remote.draft(assisted).await, near);
}

#[tokio::test]
async fn what_no_level_should_see_is_refused_by_name() {
    let pipe = Pipe::new(Arc::new(scripted(1)), ServiceOptions::default());
    let remote = pipe.remote().await;
    let refused = async |request: VerifyRequest| match remote.verify(request).await {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let sane = review(Duration::from_secs(5));

    let mut request = sane.clone();
    request.call = call(vec![1, VOCABULARY as u32], Sampling::default());
    assert_eq!(refused(request).await, "call.tokens");

    let mut request = sane.clone();
    request.draft.tokens = vec![csd_level::DraftToken::bare(VOCABULARY as u32, 0)];
    assert_eq!(refused(request).await, "draft[0].id");

    let mut request = sane.clone();
    request.call = call(
        vec![1, 2],
        Sampling {
            temperature: -1.0,
            ..Sampling::default()
        },
    );
    assert_eq!(refused(request).await, "temperature");

    let mut request = sane;
    request.draft = Draft {
        tokens: vec![csd_level::DraftToken {
            probability: f32::NAN,
            ..csd_level::DraftToken::bare(1, 0)
        }],
        ..Draft::default()
    };
    assert_eq!(refused(request).await, "draft[0].probability");
}

/// A level that keeps what it is told.
#[derive(Default)]
struct Listener(Mutex<Vec<RememberRequest>>);

impl Level for Listener {
    fn description(&self) -> Arc<Description> {
        let describe = |description: &mut Description| description.remembers = true;
        scripted(1).describe(describe).description()
    }

    fn verify(&self, request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        Box::pin(async move { scripted(1).verify(request).await })
    }

    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.0.lock().expect("no panic").push(request);
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_level_is_told_of_the_same_texts() {
    let level = Arc::new(Listener::default());
    let pipe = Pipe::new(level.clone(), ServiceOptions::default());
    let remote = pipe.remote().await;
    assert!(remote.description().remembers);
    let text = |tokens: &[u32]| RememberRequest {
        tenant: Tenant::new([3; 16]),
        text: Context::from_parts(tokens.to_vec(), 1).expect("not longer"),
        timeout: Duration::from_secs(5),
    };
    assert_eq!(remote.remember(text(&[5, 6, 7])).await, Ok(()));
    let outside = remote.remember(text(&[5, VOCABULARY as u32])).await;
    assert!(matches!(outside, Err(Error::Invalid { field, .. }) if field == "tokens"));
    let told = level.0.lock().expect("no panic").clone();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].tenant, &told[0].text),
        (Tenant::new([3; 16]), &text(&[5, 6, 7]).text)
    );

    // Whoever remembers nothing may be told as well.
    let pipe = Pipe::new(Arc::new(scripted(1)), ServiceOptions::default());
    assert_eq!(pipe.remote().await.remember(text(&[5, 6])).await, Ok(()));
}
