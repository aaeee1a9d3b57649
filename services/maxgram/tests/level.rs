//! Max-Gram through the trait that its callers know.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use csd_level::{
    BoxFuture, Call, Context, Draft, DraftRequest, Error, Kind, Lenience, Level, RememberRequest,
    Result, Rule, Sampling, Tenant, VerifyRequest,
};
use csd_maxgram::{BigramError, Bigrams, Limits, MaxGram, Remembered, Settings, Sharing, Token};

fn bigrams() -> Bigrams {
    let json = r#"{"vocab_size": 10, "next": [0,0,0,0,0,6,7,0,0,9], "probability": [0,0,0,0,0,1,0.5,0,0,1], "count": [0,0,0,0,0,9,9,0,0,9]}"#;
    Bigrams::from_json(json.as_bytes()).expect("a table")
}

fn level() -> MaxGram {
    MaxGram::new("maxgram", 10, "map", bigrams(), Settings::default()).expect("a level")
}

fn call(tokens: &[Token]) -> Call {
    let sampling = Sampling {
        end_tokens: vec![0],
        ..Sampling::default()
    };
    Call {
        context: Context::new(tokens.to_vec()),
        sampling: Arc::new(sampling),
        session: 1,
        stream: 3,
        tenant: None,
        timeout: Duration::from_secs(1),
    }
}

fn request(tokens: &[Token], wanted: usize, room: usize) -> DraftRequest {
    DraftRequest {
        call: call(tokens),
        wanted,
        room,
        assist: 0,
        lenience: Lenience::NONE,
        prospects: None,
    }
}

/// Max-Gram never waits: one poll is the whole call.
fn ready<T>(mut future: BoxFuture<'_, T>) -> T {
    match future
        .as_mut()
        .poll(&mut std::task::Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waited"),
    }
}

fn draft(level: &MaxGram, tokens: &[Token], wanted: usize, room: usize) -> Vec<Token> {
    ready(level.draft(request(tokens, wanted, room)))
        .expect("a draft")
        .ids()
        .collect()
}

#[test]
fn what_followed_the_longest_suffix_follows_again() {
    let level = level();
    assert_eq!(draft(&level, &[1, 2, 3, 4, 8, 1, 2], 4, 16), [3, 4, 8, 1]);
    assert_eq!(
        draft(&level, &[1, 2, 3, 4, 8, 1, 2], 9, 2),
        [3, 4],
        "room is the hard limit"
    );
    assert_eq!(
        draft(&level, &[7, 1, 2, 7, 1, 3, 8, 1], 1, 1),
        [3],
        "of equals the latest"
    );
    assert_eq!(
        draft(&level, &[7, 1, 2, 7, 1, 2, 4, 1, 3, 8, 1], 1, 1),
        [2],
        "the most frequent"
    );
}

#[test]
fn where_nothing_matches_the_table_answers() {
    let level = level();
    assert_eq!(draft(&level, &[5], 8, 8), [6, 7], "7 has no successor");
    assert!(draft(&level, &[8], 8, 8).is_empty());
    assert!(draft(&level, &[], 8, 8).is_empty());
    assert_eq!(
        draft(&level, &[7, 3, 2, 5], 3, 3),
        [6, 7, 3],
        "from the table back into the text"
    );
}

#[test]
fn an_end_token_closes_the_proposal() {
    assert_eq!(draft(&level(), &[1, 2, 0, 3, 1], 8, 8), [2, 0]);
}

#[test]
fn a_doubtful_token_ends_the_proposal_before_it() {
    let settings = Settings {
        min_confidence: 0.6,
        ..Settings::default()
    };
    let level = MaxGram::new("maxgram", 10, "map", bigrams(), settings).expect("a level");
    assert_eq!(draft(&level, &[5], 8, 8), [6], "7 has even odds");
    assert!(
        draft(&level, &[1, 2, 1], 8, 8).is_empty(),
        "one token seen once"
    );
    assert_eq!(draft(&level, &[1, 2, 3, 1, 2], 1, 1), [3]);
}

#[test]
fn tokens_say_what_is_known_of_them() {
    let level = level();
    let Draft {
        tokens,
        inner,
        timings,
    } = ready(level.draft(request(&[1, 2, 3, 4, 1, 2], 1, 8))).expect("a draft");
    let token = &tokens[0];
    assert_eq!(
        (token.id, token.probability, token.author, token.reviewers),
        (3, 1.0, 0, 0)
    );
    assert!(
        (token.gap - 2f32.ln()).abs() < 1e-5,
        "1 of 1 after two tokens: 2/3, odds of 2 to 1, not {}",
        token.gap
    );
    assert_eq!((inner.calls_of(0), timings.cached), (1, 0));
    let again = ready(level.draft(request(&[1, 2, 3, 4, 1, 2, 3], 1, 8))).expect("a draft");
    assert_eq!(again.timings.cached, 6);
}

/// The answer is a function of the request alone: asking in any order, through a tiny cache, changes nothing.
#[test]
fn the_cache_never_changes_an_answer() {
    let tiny = Settings {
        limits: Limits {
            texts: 2,
            bytes: 4_000,
        },
        ..Settings::default()
    };
    let cached = MaxGram::new("maxgram", 10, "map", bigrams(), tiny).expect("a level");
    let mut state = 7u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let mut texts: Vec<Vec<Token>> = (0..4).map(|first| vec![first; 3]).collect();
    for _ in 0..400 {
        let text = &mut texts[random(4) as usize];
        let kept = text.len().saturating_sub(random(12) as usize);
        text.truncate(kept.max(1));
        text.extend((0..random(12)).map(|_| random(5)));
        assert_eq!(draft(&cached, text, 12, 12), draft(&level(), text, 12, 12));
    }
    let (texts, bytes) = cached.cached();
    assert!(
        texts <= 2 && (bytes <= 4_000 || texts == 1),
        "{texts} texts, {bytes} bytes"
    );
}

const TENANT: Tenant = Tenant::new([7; 16]);

fn sharing() -> MaxGram {
    let settings = Settings {
        sharing: Some(Sharing {
            bytes: 1 << 16,
            across_tenants: false,
        }),
        ..Settings::default()
    };
    MaxGram::new("maxgram", 10, "map", bigrams(), settings).expect("a level")
}

fn remember(level: &MaxGram, tokens: &[Token], prompt: usize) -> Result<()> {
    let text = Context::from_parts(tokens.to_vec(), prompt).expect("not longer");
    ready(level.remember(RememberRequest {
        tenant: TENANT,
        text,
        timeout: Duration::from_secs(1),
    }))
}

/// What is proposed in a tenant's name.
fn shared(level: &MaxGram, tokens: &[Token], rule: Rule) -> Vec<Token> {
    let mut request = request(tokens, 8, 8);
    request.call.tenant = Some(TENANT);
    Arc::make_mut(&mut request.call.sampling).rule = rule;
    let draft = ready(level.draft(request)).expect("a draft");
    draft.ids().collect()
}

#[test]
fn texts_that_have_ended_help_later_ones_of_their_tenant() {
    let level = sharing();
    assert!(level.description().remembers);
    assert!(shared(&level, &[1, 2, 3], Rule::Coupled).is_empty());
    remember(&level, &[1, 2, 3, 4, 8, 1], 2).expect("in order");
    let drafted = shared(&level, &[1, 2, 3], Rule::Coupled);
    assert_eq!(
        drafted,
        [4, 8, 1, 2, 3],
        "its end, and on from the text at hand"
    );
    assert_eq!(
        shared(&level, &[9, 1, 2, 3, 9, 3], Rule::Coupled)[..2],
        [9, 3]
    );
    let other = ready(level.draft(request(&[1, 2, 3], 8, 8))).expect("a draft");
    assert!(other.is_empty(), "whoever names no tenant is alone");
    let remembered = level.remembered();
    assert_eq!((remembered.texts, remembered.evicted), (1, 0));
    assert!(remembered.bytes <= 1 << 16);
    assert!(remembered.asked > 5, "{remembered:?}");
    assert_eq!(
        remembered.found, 3,
        "the other text has a repetition of its own"
    );
}

/// A remembered text would tell of the noise that its repetition is drawn from.
#[test]
fn nothing_remembered_is_proposed_for_rejection_sampling() {
    let level = sharing();
    remember(&level, &[1, 2, 3, 4, 8, 1], 2).expect("in order");
    assert!(shared(&level, &[1, 2, 3], Rule::Rejection).is_empty());
}

#[test]
fn the_text_itself_is_asked_first() {
    let level = sharing();
    remember(&level, &[7, 1, 2, 3, 4], 0).expect("in order");
    // Behind four tokens here, behind three there.
    assert_eq!(
        shared(&level, &[9, 1, 2, 3, 8, 9, 1, 2, 3], Rule::Coupled)[0],
        8
    );
    // Behind one token here, behind four there.
    assert_eq!(shared(&level, &[3, 8, 7, 1, 2, 3], Rule::Coupled)[0], 4);
}

#[test]
fn of_a_prompt_no_more_is_remembered_than_a_match_needs() {
    let level = sharing();
    let prompt: Vec<Token> = (0..9).cycle().take(30).chain([1; 64]).collect();
    let text = [&prompt[..], &[9, 4]].concat();
    remember(&level, &text, prompt.len()).expect("in order");
    assert!(shared(&level, &[7, 8], Rule::Coupled).is_empty());
    assert_eq!(shared(&level, &[1, 9], Rule::Coupled), [4]);
}

#[test]
fn a_level_that_remembers_nothing_takes_note_of_nothing() {
    let level = level();
    assert!(!level.description().remembers);
    remember(&level, &[1, 2, 3, 4], 0).expect("it may be told");
    assert!(shared(&level, &[1, 2, 3], Rule::Coupled).is_empty());
    assert_eq!(level.remembered(), Remembered::default());
    let outside = remember(&sharing(), &[1, 2, 10], 0);
    assert!(matches!(outside, Err(Error::Invalid { field, .. }) if field == "context.tokens[2]"));
}

#[test]
fn what_it_cannot_do_it_refuses_by_type() {
    let level = level();
    assert_eq!(level.description().kind, Kind::Statistical);
    let review = VerifyRequest {
        call: call(&[1]),
        draft: Draft::default(),
        lenience: Lenience::NONE,
        logprobs: None,
    };
    assert!(matches!(
        ready(level.verify(review)),
        Err(Error::Unsupported(_))
    ));
    let assisted = DraftRequest {
        assist: 4,
        ..request(&[1], 1, 1)
    };
    assert!(matches!(
        ready(level.draft(assisted)),
        Err(Error::Unsupported(_))
    ));

    let outside: Result<Draft> = ready(level.draft(request(&[1, 10], 1, 1)));
    let Err(Error::Invalid { field, reason }) = outside else {
        panic!("a token outside the vocabulary")
    };
    assert_eq!(
        (field.as_str(), reason.as_str()),
        ("context.tokens[1]", "10 is outside the vocabulary of 10")
    );

    let settings = Settings {
        context: 4,
        ..Settings::default()
    };
    let short = MaxGram::new("maxgram", 10, "map", bigrams(), settings).expect("a level");
    let long = ready(short.draft(request(&[1; 5], 1, 1)));
    assert_eq!(
        long.expect_err("too long"),
        Error::ContextLength { len: 5, limit: 4 }
    );

    let other = MaxGram::new("maxgram", 7, "map", bigrams(), Settings::default());
    assert!(matches!(
        other,
        Err(BigramError::Token {
            index: 6,
            token: 7,
            vocab_size: 7
        })
    ));
}
