//! What goes onto the wire comes back from it; what comes from elsewhere is refused, never a panic.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use csd_level::{
    Call, Context, Draft, DraftRequest, DraftToken, Error, Lenience, Logprobs, LogprobsRequest,
    Pair, Proposal, Prospects, RememberRequest, Rule, Sampling, Statistics, Tenant, Timings,
    Verdict, VerifyRequest,
};
use csd_proto::v1;
use csd_transport::convert;
use proptest::{collection::vec, option, prelude::*, sample::subsequence};
use prost::Message;

const VOCABULARY: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(3);

fn token() -> impl Strategy<Value = u32> {
    0..VOCABULARY as u32
}

/// Tokens in ascending order, none twice.
fn ascending(at_most: usize) -> impl Strategy<Value = Vec<u32>> {
    subsequence((0..VOCABULARY as u32).collect::<Vec<_>>(), 0..=at_most)
}

fn draft_token(levels: u8) -> impl Strategy<Value = DraftToken> {
    let proposal = prop_oneof![
        Just(Vec::new()),
        subsequence((0..VOCABULARY as u32).collect::<Vec<_>>(), 1..64),
    ];
    let numbers = (
        token(),
        0f32..=1.0,
        -50f32..50.0,
        0..levels,
        0..1u32 << levels,
    );
    let place = any::<prop::sample::Index>();
    (numbers, proposal, place, option::of(token())).prop_map(
        |((id, probability, gap, author, reviewers), support, place, runner_up)| {
            let (id, proposal) = match support.len() {
                0 => (id, Proposal::OneHot),
                len => {
                    let mass = 1.0 / len as f32;
                    let drawn = support[place.index(len)];
                    let pairs = support.into_iter().map(|token| (token, mass));
                    (drawn, Proposal::Pairs(pairs.collect()))
                }
            };
            DraftToken {
                id,
                probability,
                gap,
                runner_up,
                author,
                reviewers,
                proposal,
            }
        },
    )
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let numbers = (0f32..=100.0, option::of(1u32..), 0.01f32..=1.0, 0f32..=1.0);
    let penalties = (0.01f32..=100.0, -2f32..=2.0, -2f32..=2.0);
    let lists = (ascending(5), ascending(5), -100f32..=100.0);
    let counts = (any::<u64>(), any::<u32>());
    (numbers, penalties, lists, counts, any::<bool>()).prop_map(
        |(numbers, penalties, (biased, end_tokens, bias), (seed, min_tokens), rejection)| {
            Sampling {
                temperature: numbers.0,
                top_k: numbers.1,
                top_p: numbers.2,
                min_p: numbers.3,
                repetition_penalty: penalties.0,
                presence_penalty: penalties.1,
                frequency_penalty: penalties.2,
                logit_bias: biased.into_iter().map(|token| (token, bias)).collect(),
                seed,
                rule: if rejection {
                    Rule::Rejection
                } else {
                    Rule::Coupled
                },
                end_tokens,
                min_tokens,
            }
        },
    )
}

fn call() -> impl Strategy<Value = Call> {
    let context = (vec(token(), 0..600), any::<prop::sample::Index>());
    let whose = option::of(any::<[u8; 16]>());
    (context, sampling(), any::<u64>(), any::<u8>(), whose).prop_map(
        |((tokens, split), sampling, session, stream, tenant)| {
            let prompt = split.index(tokens.len() + 1);
            Call {
                context: Context::from_parts(tokens, prompt).expect("not longer"),
                sampling: Arc::new(sampling),
                session,
                stream,
                tenant: tenant.map(Tenant::new),
                timeout: TIMEOUT,
            }
        },
    )
}

fn lenience() -> impl Strategy<Value = Lenience> {
    (1f32..1e6).prop_map(|factor| Lenience::new(factor).expect("at least 1"))
}

fn prospects() -> impl Strategy<Value = Prospects> {
    let chances = || prop::array::uniform10(0f32..=1.0);
    let rows = prop::array::uniform32(0f32..100.0);
    (chances(), chances(), chances(), 0f32..100.0, rows).prop_map(
        |(own, shares, assistant, forward, rows)| Prospects {
            own,
            shares,
            assistant,
            forward,
            rows,
        },
    )
}

/// A request for log-probabilities over a context that is not empty, by the place of its first position.
fn logprobs_request() -> impl Strategy<Value = (usize, prop::sample::Index)> {
    (0..=20usize, any::<prop::sample::Index>())
}

fn placed(
    (alternatives, place): (usize, prop::sample::Index),
    context: usize,
) -> Option<LogprobsRequest> {
    (context > 0).then(|| LogprobsRequest {
        alternatives,
        from: place.index(context) + 1,
    })
}

fn timings() -> impl Strategy<Value = Timings> {
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(queue, forward, rows, cached)| Timings {
            queue: Duration::from_nanos(u64::from(queue) << 8),
            forward: Duration::from_nanos(u64::from(forward)),
            rows: rows as usize,
            batch: rows as usize ^ cached as usize,
            cached: cached as usize,
        },
    )
}

fn statistics() -> impl Strategy<Value = Statistics> {
    let pair = (vec(0..1000u64, 0..9), 0..1000u64).prop_map(|(per_position, refused)| {
        let accepted = per_position.iter().sum();
        Pair {
            drafts: refused.min(3),
            drafted: accepted + refused,
            accepted,
            per_position,
        }
    });
    let pairs = prop::collection::btree_map((0..2u8, 0..2u8), pair, 0..4);
    (vec(0..=u64::from(u32::MAX), 0..=2), pairs)
        .prop_map(|(calls, pairs): (_, BTreeMap<_, _>)| Statistics { calls, pairs })
}

/// A message as the other side reads it.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).expect("just encoded")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn draft_requests(call in call(), numbers in (1usize..1000, 1usize..1000, 0usize..1000), lenience in lenience(), prospects in option::of(prospects())) {
        let (wanted, room, assist) = numbers;
        let request = DraftRequest { call, wanted, room, assist, lenience, prospects };
        let wire = sent(&convert::draft_request_to_wire(request.clone()));
        prop_assert_eq!(convert::draft_request(wire, VOCABULARY, TIMEOUT), Ok(request));
    }

    #[test]
    fn verify_requests(call in call(), tokens in vec(draft_token(16), 0..9), lenience in lenience(), asked in option::of(logprobs_request())) {
        let draft = Draft { tokens, ..Draft::default() };
        let logprobs = asked.and_then(|asked| placed(asked, call.context.len()));
        let request = VerifyRequest { call, draft, lenience, logprobs };
        let wire = sent(&convert::verify_request_to_wire(&request));
        prop_assert_eq!(convert::verify_request(wire, VOCABULARY, TIMEOUT), Ok(request));
    }

    #[test]
    fn remember_requests(call in call(), tenant in any::<[u8; 16]>()) {
        let request = RememberRequest { tenant: Tenant::new(tenant), text: call.context, timeout: TIMEOUT };
        let wire = sent(&convert::remember_request_to_wire(&request));
        prop_assert_eq!(convert::remember_request(wire, VOCABULARY, TIMEOUT), Ok(request));
    }

    #[test]
    fn drafts(tokens in vec(draft_token(2), 0..20), inner in statistics(), timings in timings()) {
        let draft = Draft { tokens, inner, timings };
        let wire = sent(&convert::draft_to_wire(draft.clone()));
        prop_assert_eq!(convert::draft(wire, 20, VOCABULARY), Ok(draft));
    }

    #[test]
    fn verdicts(call in call(), draft in vec(token(), 0..9), accepted in any::<prop::sample::Index>(), next in draft_token(1), end in any::<bool>(), asked in option::of(logprobs_request()), timings in timings(), runner_up in option::of(token())) {
        let accepted = accepted.index(draft.len() + 1);
        let last = draft[..accepted].last().copied();
        let sampling = Sampling {
            end_tokens: last.filter(|_| end).into_iter().collect(),
            ..Sampling::default()
        };
        let ends = last.is_some_and(|last| sampling.is_end(last));
        let own = DraftToken { reviewers: 0, ..next };
        let context = call.context.len();
        let logprobs = asked.and_then(|asked| placed(asked, context));
        let count = logprobs.map_or(0, |asked| context - asked.from + accepted + usize::from(!ends));
        let alternatives = logprobs.map_or(0, |asked| asked.alternatives as u32);
        let scored = Logprobs { token: -3.5, top: (0..alternatives).map(|id| (id, -(id as f32))).collect() };
        let tokens = draft.iter().map(|&id| DraftToken::bare(id, 1)).collect();
        let asked = VerifyRequest {
            call: Call { sampling: Arc::new(sampling), ..call },
            draft: Draft { tokens, ..Draft::default() },
            lenience: Lenience::NONE,
            logprobs,
        };
        let verdict = Verdict {
            accepted,
            next: (!ends).then_some(own),
            probabilities: vec![0.25; accepted],
            runners_up: draft[..accepted].iter().map(|&token| runner_up.filter(|&other| other != token)).collect(),
            logprobs: vec![scored; count],
            timings,
        };
        let wire = sent(&convert::verdict_to_wire(verdict.clone(), &draft));
        prop_assert_eq!(convert::verdict(wire, &asked, VOCABULARY), Ok(verdict));
    }

    /// Bytes that happen to be a message are data or an error that names a field.
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        fn named<T>(result: Result<T, Error>) -> bool {
            match result {
                Ok(_) => true,
                Err(Error::Invalid { field, reason }) => !field.is_empty() && !reason.is_empty(),
                Err(_) => false,
            }
        }
        if let Ok(wire) = v1::DraftRequest::decode(bytes.as_slice()) {
            prop_assert!(named(convert::draft_request(wire, VOCABULARY, TIMEOUT)));
        }
        if let Ok(wire) = v1::VerifyRequest::decode(bytes.as_slice()) {
            prop_assert!(named(convert::verify_request(wire, VOCABULARY, TIMEOUT)));
        }
        if let Ok(wire) = v1::RememberRequest::decode(bytes.as_slice()) {
            prop_assert!(named(convert::remember_request(wire, VOCABULARY, TIMEOUT)));
        }
        if let Ok(wire) = v1::DraftResponse::decode(bytes.as_slice()) {
            prop_assert!(named(convert::draft(wire, 4, VOCABULARY)));
        }
        if let Ok(wire) = v1::VerifyResponse::decode(bytes.as_slice()) {
            prop_assert!(named(convert::verdict(wire, &asked(), VOCABULARY)));
        }
        if let Ok(wire) = v1::DescribeResponse::decode(bytes.as_slice()) {
            prop_assert!(named(convert::description(wire)));
        }
    }
}

/// A review of two tokens that also asks for log-probabilities.
fn asked() -> VerifyRequest {
    VerifyRequest {
        call: Call {
            context: Context::new(vec![7, 8, 9]),
            sampling: Arc::new(Sampling::default()),
            session: 0,
            stream: 0,
            tenant: None,
            timeout: TIMEOUT,
        },
        draft: Draft {
            tokens: [1, 2].map(|id| DraftToken::bare(id, 0)).into(),
            ..Draft::default()
        },
        lenience: Lenience::NONE,
        logprobs: Some(LogprobsRequest {
            alternatives: 2,
            from: 2,
        }),
    }
}

#[test]
fn counts_that_no_call_could_have_are_refused_by_field() {
    let pair = |drafted, per_position: Vec<u64>| v1::Pair {
        reviewer: 0,
        drafter: 1,
        drafts: 1,
        drafted,
        accepted: per_position.iter().sum(),
        per_position,
    };
    for (calls, pair, field) in [
        (1, pair(9, vec![0; 256]), "pairs.per_position"),
        (1, pair(1 << 40, vec![1]), "pairs.drafted"),
        (1 << 40, pair(1, vec![1]), "calls"),
    ] {
        let wire = v1::DraftResponse {
            calls: vec![calls],
            pairs: vec![pair],
            ..convert::draft_to_wire(Draft::default())
        };
        match convert::draft(wire, 4, VOCABULARY) {
            Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn log_probabilities_are_asked_for_within_bounds() {
    for (alternatives, from, field) in [
        (21, 1, "logprobs.alternatives"),
        (0, 0, "logprobs.from"),
        (0, 4, "logprobs.from"),
    ] {
        let mut wire = convert::verify_request_to_wire(&asked());
        wire.logprobs = Some(v1::LogprobsRequest { alternatives, from });
        match convert::verify_request(wire, VOCABULARY, TIMEOUT) {
            Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_are_refused_by_field() {
    let call = v1::Call {
        tokens: vec![1, 2, 3],
        prompt: 2,
        sampling: Some(v1::Sampling {
            top_p: 1.0,
            repetition_penalty: 1.0,
            ..v1::Sampling::default()
        }),
        ..v1::Call::default()
    };
    let fine = v1::DraftRequest {
        call: Some(call),
        wanted: 1,
        room: 1,
        assist: 0,
        lenience: 1.0,
        prospects: Some(v1::Prospects {
            own: vec![0.5; 10],
            shares: vec![0.1; 10],
            assistant: vec![0.5; 10],
            forward: 0.1,
            rows: vec![0.0; 32],
        }),
    };
    assert!(convert::draft_request(fine.clone(), VOCABULARY, TIMEOUT).is_ok());
    type Change = fn(&mut v1::DraftRequest, &mut v1::Call, &mut v1::Sampling);
    let changes: [(&str, Change); 18] = [
        ("wanted", |r, _, _| r.wanted = 0),
        ("room", |r, _, _| r.room = 0),
        ("lenience", |r, _, _| r.lenience = 0.5),
        ("lenience", |r, _, _| r.lenience = f32::NAN),
        ("prospects.own", |r, _, _| {
            r.prospects.iter_mut().for_each(|p| p.own.truncate(9));
        }),
        ("prospects.assistant", |r, _, _| {
            r.prospects.iter_mut().for_each(|p| p.assistant[3] = 1.5);
        }),
        ("prospects.shares", |r, _, _| {
            r.prospects.iter_mut().for_each(|p| p.shares.push(0.0));
        }),
        ("prospects.rows", |r, _, _| {
            r.prospects.iter_mut().for_each(|p| p.rows[31] = -1.0);
        }),
        ("prospects.forward", |r, _, _| {
            r.prospects.iter_mut().for_each(|p| p.forward = f32::NAN);
        }),
        ("call.prompt", |_, c, _| c.prompt = 4),
        ("call.tokens", |_, c, _| c.tokens[1] = VOCABULARY as u32),
        ("call.stream", |_, c, _| c.stream = 256),
        ("call.tenant", |_, c, _| c.tenant = vec![1; 15]),
        ("temperature", |_, _, s| s.temperature = -0.1),
        ("top_p", |_, _, s| s.top_p = 0.0),
        ("repetition_penalty", |_, _, s| {
            s.repetition_penalty = f32::NAN
        }),
        ("end_tokens", |_, _, s| {
            s.end_tokens = vec![VOCABULARY as u32]
        }),
        ("call.sampling.rule", |_, _, s| s.rule = 7),
    ];
    for (expected, change) in changes {
        let mut request = fine.clone();
        let mut call = request.call.take().expect("given above");
        let mut sampling = call.sampling.take().expect("given above");
        change(&mut request, &mut call, &mut sampling);
        call.sampling = Some(sampling);
        request.call = Some(call);
        match convert::draft_request(request, VOCABULARY, TIMEOUT) {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let mut request = fine.clone();
    request.call.as_mut().expect("given above").sampling = None;
    let missing = convert::draft_request(request, VOCABULARY, TIMEOUT);
    assert_eq!(missing, Err(Error::invalid("call.sampling", "is missing")));
    let missing = convert::verify_request(v1::VerifyRequest::default(), VOCABULARY, TIMEOUT);
    assert_eq!(missing, Err(Error::invalid("call", "is missing")));
}

#[test]
fn texts_to_remember_are_refused_by_field() {
    let fine = v1::RememberRequest {
        tenant: vec![1; 16],
        tokens: vec![1, 2, 3],
        prompt: 2,
    };
    assert!(convert::remember_request(fine.clone(), VOCABULARY, TIMEOUT).is_ok());
    type Change = fn(&mut v1::RememberRequest);
    let changes: [(&str, Change); 4] = [
        ("tenant", |r| r.tenant.clear()),
        ("tenant", |r| r.tenant.push(1)),
        ("tokens", |r| r.tokens[0] = VOCABULARY as u32),
        ("prompt", |r| r.prompt = 4),
    ];
    for (expected, change) in changes {
        let mut request = fine.clone();
        change(&mut request);
        match convert::remember_request(request, VOCABULARY, TIMEOUT) {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
