//! Workers over the bundled models, as the orchestrator sees them.

mod workers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_level::{
    Call, Context, Draft, DraftRequest, Error, Kind, Lenience, Level, Sampling, VerifyRequest,
};
use workers::{Worker, args};

fn call(tokens: &[u32]) -> Call {
    Call {
        context: Context::new(tokens.to_vec()),
        sampling: Arc::new(Sampling::default()),
        session: 1,
        stream: 1,
        tenant: None,
        timeout: Duration::from_secs(20),
    }
}

fn draft(tokens: &[u32], wanted: usize, assist: usize) -> DraftRequest {
    DraftRequest {
        call: call(tokens),
        wanted,
        room: wanted + 4,
        assist,
        lenience: Lenience::NONE,
        prospects: None,
    }
}

/// A prompt that repeats itself, so that Max-Gram has something to say.
const PROMPT: [u32; 12] = [5, 60, 7, 80, 9, 100, 5, 60, 7, 80, 9, 100];

#[tokio::test]
async fn a_model_drafts_alone_and_with_its_max_gram() {
    let worker = Worker::start(&args("mini")).await;
    let level = worker.remote().await;
    let description = level.description();
    assert_eq!(description.name, "mini");
    assert_eq!(
        (description.kind, description.assisted),
        (Kind::Neural, true)
    );
    assert!(
        description.exact && description.context >= 256,
        "{description:?}"
    );

    let alone = level.draft(draft(&PROMPT, 16, 0)).await.expect("drafts");
    let assisted = level.draft(draft(&PROMPT, 16, 4)).await.expect("drafts");
    let ids = |draft: &Draft| draft.ids().take(16).collect::<Vec<_>>();
    assert_eq!(ids(&alone), ids(&assisted), "the same text, whoever drafts");
    assert!(alone.tokens.iter().all(|token| token.author == 0));
    assert_eq!(alone.inner.calls_of(0), 16);
    let (reviews, proposals) = (assisted.inner.calls_of(0), assisted.inner.calls_of(1));
    assert!(reviews <= 16 && proposals > 0, "{reviews} {proposals}");
    let pair = &assisted.inner.pairs[&(0, 1)];
    assert!(pair.drafted > 0);

    let gauges = level.gauges().await.expect("counts");
    assert_eq!((gauges.draft_calls, gauges.verify_calls), (2, 0));
    assert_eq!(
        (gauges.drafted, gauges.accepted),
        (pair.drafted, pair.accepted)
    );
    assert!(gauges.forwards >= 16 + reviews, "{gauges:?}");
    assert!(gauges.cache_bytes > 0);
    assert_eq!((gauges.in_flight, gauges.queued), (0, 0));
    worker.ends().await;
}

#[tokio::test]
async fn a_review_over_the_wire_accepts_what_the_model_writes() {
    let worker = Worker::start(&args("mini")).await;
    let level = worker.remote().await;
    let written = level.draft(draft(&PROMPT, 4, 0)).await.expect("drafts");
    let mut tokens = written.tokens.clone();
    let wrong = (tokens[3].id + 1) % level.description().vocabulary as u32;
    tokens[3].id = wrong;
    let review = VerifyRequest {
        call: call(&PROMPT),
        draft: Draft {
            tokens,
            ..Draft::default()
        },
        lenience: Lenience::NONE,
        logprobs: None,
    };
    let verdict = level.verify(review).await.expect("reviews");
    assert_eq!(verdict.accepted, 3);
    assert_eq!(verdict.next.map(|next| next.id), Some(written.tokens[3].id));

    let mut long = draft(&vec![5; level.description().context + 1], 1, 0);
    long.call.timeout = Duration::from_secs(1);
    let answer = level.draft(long).await;
    assert!(
        matches!(answer, Err(Error::ContextLength { .. })),
        "{answer:?}"
    );
    worker.ends().await;
}

#[tokio::test]
async fn max_gram_speaks_the_same_tokens_and_reviews_nothing() {
    let (statistical, neural) = (
        Worker::start(&args("maxgram")).await,
        Worker::start(&args("draft")).await,
    );
    let (maxgram, draft_level) = (statistical.remote().await, neural.remote().await);
    let description = maxgram.description();
    assert_eq!(description.kind, Kind::Statistical);
    assert_eq!(description.token_map, draft_level.description().token_map);
    assert_eq!(description.vocabulary, draft_level.description().vocabulary);

    let proposal = maxgram.draft(draft(&PROMPT, 4, 0)).await.expect("proposes");
    assert_eq!(proposal.ids().collect::<Vec<_>>(), [5, 60, 7, 80]);
    let review = VerifyRequest {
        call: call(&PROMPT),
        draft: Draft::default(),
        lenience: Lenience::NONE,
        logprobs: None,
    };
    let answer = maxgram.verify(review).await;
    assert!(matches!(answer, Err(Error::Unsupported(_))), "{answer:?}");
    statistical.ends().await;
    neural.ends().await;
}

#[tokio::test]
async fn weights_in_blocks_by_flag() {
    let mut args = args("mini");
    args.dtype = Some("q8_0".into());
    let worker = Worker::start(&args).await;
    let level = worker.remote().await;
    assert_eq!(level.description().dtype, "q8_0");
    assert_eq!(
        level
            .draft(draft(&PROMPT, 4, 0))
            .await
            .expect("drafts")
            .len(),
        4
    );
    worker.ends().await;
}

#[tokio::test]
async fn emulated_hardware_takes_its_time_and_writes_the_same() {
    let plain = Worker::start(&args("mini")).await;
    let expected = plain.remote().await.draft(draft(&PROMPT, 4, 0)).await;
    let mut args = args("mini");
    args.emulate_forward_ms = vec![(1, 20.0), (32, 30.0)];
    args.emulate_round_trip_ms = Some(10.0);
    args.allow_emulation = true;
    let emulated = Worker::start(&args).await;
    let level = emulated.remote().await;
    assert_eq!(
        level.description().emulation.as_deref(),
        Some("forward 20 ms at 1 row, 30 ms at 32 rows; round trip +10 ms")
    );

    let begun = Instant::now();
    let draft = level.draft(draft(&PROMPT, 4, 0)).await.expect("drafts");
    let took = begun.elapsed();
    let ids = |draft: &Draft| draft.ids().collect::<Vec<_>>();
    assert_eq!(ids(&draft), ids(&expected.expect("drafts")));
    // A prompt of 12 rows, three single rows, and the way.
    let prompt = 20.0 + 10.0 * 11.0 / 31.0;
    let forwards = Duration::from_secs_f64((prompt + 3.0 * 20.0) / 1e3);
    assert!(draft.timings.forward >= forwards, "{:?}", draft.timings);
    assert!(took >= forwards + Duration::from_millis(10), "{took:?}");
    plain.ends().await;
    emulated.ends().await;
}

#[tokio::test]
async fn hardware_faster_than_this_is_noticed() {
    let mut args = args("mini");
    args.emulate_forward_ms = vec![(1, 0.001)];
    args.allow_emulation = true;
    let worker = Worker::start(&args).await;
    let level = worker.remote().await;
    level.draft(draft(&PROMPT, 4, 0)).await.expect("drafts");
    let gauges = level.gauges().await.expect("counts");
    assert_eq!((gauges.forwards, gauges.overruns), (4, 4));
    worker.ends().await;
}
