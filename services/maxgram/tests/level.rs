//! Max-Gram through the trait that its callers know.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use csd_level::{
    BoxFuture, Call, Context, Draft, DraftRequest, Error, Kind, Lenience, Level, Result, Sampling,
    VerifyRequest,
};
use csd_maxgram::{BigramError, Bigrams, Limits, MaxGram, Settings, Token};

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
