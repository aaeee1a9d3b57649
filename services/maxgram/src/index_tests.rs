use proptest::prelude::*;

use super::*;

/// What the automaton must answer, found by looking at every position.
fn occurrences(text: &[Token], suffix: &[Token]) -> Vec<usize> {
    (0..text.len())
        .filter(|&start| text[start..].starts_with(suffix))
        .map(|start| start + suffix.len())
        .collect()
}

/// The longest suffix of `walked` that occurs in `text` and is continued there, with its continuation: most occurrences up
/// to the limit, then the latest counted occurrence.
fn naive(text: &[Token], walked: &[Token]) -> Option<(usize, Continuation)> {
    (0..walked.len()).find_map(|start| {
        let suffix = &walked[start..];
        let followers: Vec<(usize, Token)> = occurrences(text, suffix)
            .into_iter()
            .filter_map(|end| Some((end, *text.get(end)?)))
            .collect();
        let counted = |token: Token| {
            let ends = followers
                .iter()
                .filter(|(_, follower)| *follower == token)
                .map(|(end, _)| *end);
            let ends: Vec<usize> = ends.take(COUNT_LIMIT as usize).collect();
            (ends.len() as u32, ends.last().copied(), token)
        };
        let mut tokens: Vec<Token> = followers.iter().map(|(_, token)| *token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let total = tokens.iter().map(|&token| counted(token).0).sum();
        let (count, _, token) = tokens.into_iter().map(counted).max()?;
        Some((
            suffix.len(),
            Continuation {
                token,
                count,
                total,
            },
        ))
    })
}

fn answer(index: &Index, matched: Match) -> Option<(usize, Continuation)> {
    index
        .continuation(matched)
        .map(|(suffix, next)| (suffix.length, next))
}

fn index(text: &[Token]) -> Index {
    let mut index = Index::default();
    index.extend(text);
    index
}

/// Everything but the count of visits and what capacity remains.
fn same(one: &Index, other: &Index) -> bool {
    one.text == other.text
        && one.states == other.states
        && one.edges == other.edges
        && one.lookup == other.lookup
        && one.last == other.last
        && one.journal == other.journal
}

/// Texts with many repetitions: few different tokens, or copies of what came before.
fn texts() -> impl Strategy<Value = Vec<Token>> {
    let plain = (1u32..5).prop_flat_map(|tokens| prop::collection::vec(0..tokens, 0..120));
    let copied = prop::collection::vec((0u32..6, any::<prop::sample::Index>(), 0usize..20), 1..12)
        .prop_map(|parts| {
            let mut text = Vec::new();
            for (token, start, length) in parts {
                text.push(token);
                let start = start.index(text.len());
                let end = (start + length).min(text.len());
                text.extend_from_within(start..end);
            }
            text
        });
    prop_oneof![plain, copied]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_longest_suffix_and_its_best_continuation_are_the_naive_ones(text in texts()) {
        let mut index = Index::default();
        for end in 0..text.len() {
            index.extend(&text[end..=end]);
            let text = &text[..=end];
            let longest = (1..text.len()).rev().find(|&length| occurrences(text, &text[text.len() - length..]).len() > 1);
            prop_assert_eq!(index.suffix().length, longest.unwrap_or(0));
            prop_assert_eq!(answer(&index, index.suffix()), naive(text, text));
        }
    }

    #[test]
    fn following_any_tokens_finds_the_naive_match(text in texts(), tail in prop::collection::vec(0u32..6, 0..12)) {
        let index = index(&text);
        let mut walked = text.clone();
        let mut matched = index.suffix();
        for token in tail {
            matched = index.follow(matched, token);
            walked.push(token);
            let longest = (1..=walked.len()).rev().find(|&length| !occurrences(&text, &walked[walked.len() - length..]).is_empty());
            prop_assert_eq!(matched.length, longest.unwrap_or(0));
            prop_assert_eq!(answer(&index, matched), naive(&text, &walked));
        }
    }

    #[test]
    fn an_index_cut_back_is_the_index_never_extended(
        text in texts(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(0u32..5, 0..20)), 1..8),
    ) {
        let mut text = text;
        let mut cut = index(&text);
        for (place, tail) in cuts {
            let len = place.index(text.len() + 1);
            text.truncate(len);
            text.extend_from_slice(&tail);
            cut.cut(len);
            cut.extend(&tail);
            prop_assert!(same(&cut, &index(&text)));
        }
    }
}

#[test]
fn counts_stop_at_their_limit() {
    let text: Vec<Token> = [1, 2].into_iter().cycle().take(1000).collect();
    let index = index(&text);
    assert_eq!(answer(&index, index.suffix()), naive(&text, &text));
    let one = index.follow(
        Match {
            state: ROOT,
            length: 0,
        },
        1,
    );
    assert_eq!(
        index.continuation(one).map(|(_, next)| next.count),
        Some(COUNT_LIMIT)
    );
}

/// The texts on which suffix structures go quadratic when they are wrong.
fn hard_texts(len: usize) -> Vec<(&'static str, Vec<Token>)> {
    let mut fibonacci = (vec![1], vec![1, 2]);
    while fibonacci.1.len() < len {
        let next = [fibonacci.1.clone(), fibonacci.0].concat();
        fibonacci = (fibonacci.1, next);
    }
    fibonacci.1.truncate(len);
    let half = len / 2;
    let runs = (0..len).map(|place| u32::from(place.is_multiple_of((len as f64).sqrt() as usize)));
    let mut state = 1u32;
    let random = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 22
    };
    vec![
        ("one token", vec![7; len]),
        (
            "a long run, then another",
            [vec![1; half], vec![2; half]].concat(),
        ),
        (
            "a random text twice",
            (0..half).map(random).collect::<Vec<_>>().repeat(2),
        ),
        ("all different", (0..len as u32).collect()),
        ("runs", runs.collect()),
        ("fibonacci", fibonacci.1),
    ]
}

/// A quadratic construction visits thousands of edges a token here, one without limited counters half the text.
#[test]
fn the_work_per_token_does_not_grow_with_the_text() {
    for len in [2_000, 32_000] {
        for (name, text) in hard_texts(len) {
            let visits = index(&text).visits as f64 / len as f64;
            assert!(
                visits <= f64::from(COUNT_LIMIT) + 8.0,
                "{name}, {len} tokens: {visits} visits a token"
            );
        }
    }
}

/// A draft of 16 tokens rejected after each confirmed one.
#[test]
fn rejected_drafts_keep_the_work_per_token() {
    for (name, text) in hard_texts(4_000)
        .into_iter()
        .filter(|(name, _)| !["one token", "a long run, then another"].contains(name))
    {
        let mut index = Index::default();
        for end in 0..text.len() - 16 {
            index.cut(end);
            index.extend(&text[end..=end]);
            index.extend(&text[end % 100..end % 100 + 16]);
        }
        let visits = index.visits as f64 / (text.len() * 17) as f64;
        assert!(
            visits <= f64::from(COUNT_LIMIT) + 8.0,
            "{name}: {visits} visits a token"
        );
    }
}

#[test]
fn states_edges_and_bytes_are_linear() {
    for (name, text) in hard_texts(20_000) {
        let index = index(&text);
        assert!(index.states.len() <= 2 * text.len(), "{name}");
        assert!(index.edges.len() <= 3 * text.len(), "{name}");
        let bytes = index.bytes() / text.len();
        assert!(bytes <= 3_000, "{name}: {bytes} bytes a token");
    }
}
