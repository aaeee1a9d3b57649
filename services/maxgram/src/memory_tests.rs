use proptest::prelude::*;

use super::*;
use crate::{Bigrams, Index, Options, propose};

const ONE: Tenant = Tenant::new([1; 16]);
const TWO: Tenant = Tenant::new([2; 16]);

fn memory(bytes: usize, across_tenants: bool) -> Memory {
    Memory::new(Sharing {
        bytes,
        across_tenants,
    })
}

/// What is proposed behind `text` from memory alone.
fn recalled(memory: &Memory, tenant: Tenant, text: &[Token]) -> Vec<(Token, usize)> {
    let mut recall = memory.recall(tenant, text);
    let mut guesses = Vec::new();
    while let Some(guess) = recall.guess() {
        recall.follow(guess.token);
        guesses.push((guess.token, guess.matched));
    }
    guesses
}

/// The longest suffix of `text`, of those that are looked up, that is continued in one of `texts`.
fn longest(texts: &[&[Token]], text: &[Token]) -> Option<usize> {
    let lengths = (ORDERS[1]..=text.len()).rev();
    let continued = |length: &usize| {
        let suffix = &text[text.len() - length..];
        let occurs = |other: &&[Token]| {
            let followed = other.split_last().map_or(&[][..], |(_, rest)| rest);
            followed.windows(*length).any(|window| window == suffix)
        };
        texts.iter().any(occurs)
    };
    lengths.into_iter().find(continued)
}

#[test]
fn what_followed_in_an_earlier_text_follows_again() {
    let mut memory = memory(1 << 16, false);
    memory.remember(ONE, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(recalled(&memory, ONE, &[9, 2, 3, 4]), [(5, 3), (6, 4)]);
    assert_eq!(recalled(&memory, ONE, &[3, 4, 5]), [(6, 3)]);
    assert!(recalled(&memory, ONE, &[9, 4]).is_empty(), "too short");
    assert!(recalled(&memory, ONE, &[4, 5, 6]).is_empty(), "its end");
    assert!(recalled(&memory, ONE, &[4]).is_empty());
}

#[test]
fn the_longest_match_counts_then_the_most_frequent_token_then_the_newest() {
    let mut memory = memory(1 << 16, false);
    for text in [[7, 1, 2, 3, 4], [8, 1, 2, 3, 5], [9, 1, 2, 3, 5]] {
        memory.remember(ONE, &text);
    }
    assert_eq!(recalled(&memory, ONE, &[7, 1, 2, 3]), [(4, 4)]);
    assert_eq!(recalled(&memory, ONE, &[6, 1, 2, 3]), [(5, 3)], "twice");
    memory.remember(ONE, &[6, 6, 1, 2, 3, 4]);
    assert_eq!(
        recalled(&memory, ONE, &[0, 1, 2, 3]),
        [(4, 3)],
        "as often, but later"
    );
}

#[test]
fn a_long_repetition_is_found_however_often_its_last_tokens_stood_elsewhere() {
    let mut memory = memory(1 << 20, false);
    memory.remember(ONE, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for other in 100..300 {
        memory.remember(ONE, &[other, 8, 9, 11]);
    }
    assert_eq!(recalled(&memory, ONE, &[0, 7, 8, 9]), [(11, 2)]);
    assert_eq!(recalled(&memory, ONE, &[2, 3, 4, 5, 6, 7, 8, 9]), [(10, 8)]);
}

#[test]
fn a_tenant_is_helped_by_its_own_texts_alone_unless_all_share() {
    for across_tenants in [false, true] {
        let mut memory = memory(1 << 16, across_tenants);
        memory.remember(ONE, &[1, 2, 3, 4]);
        assert_eq!(recalled(&memory, ONE, &[1, 2, 3]), [(4, 3)]);
        let others = recalled(&memory, TWO, &[1, 2, 3]);
        assert_eq!(!others.is_empty(), across_tenants);
    }
}

#[test]
fn the_oldest_texts_go_first_and_with_them_what_followed() {
    let mut memory = memory(20_000, false);
    let text = |number: u32| -> Vec<Token> { (0..50).map(|token| number * 50 + token).collect() };
    for number in 0..100 {
        memory.remember(ONE, &text(number));
        assert_eq!(recalled(&memory, ONE, &text(number)[..3]).len(), 47);
    }
    let Remembered { texts, evicted, .. } = memory.reading();
    assert!(texts > 10 && texts as u64 + evicted == 100, "{texts}");
    for number in 0..100 {
        let found = recalled(&memory, ONE, &text(number)[..3]).len();
        assert_eq!(found, if number < evicted as u32 { 0 } else { 47 });
    }
    let long: Vec<Token> = (0..100_000).collect();
    memory.remember(ONE, &long);
    assert_eq!(memory.reading().texts, 1, "the end of it");
    let found = recalled(&memory, ONE, &long[99_400..99_500]);
    assert_eq!(found.len(), 500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The limit holds after every text, each tenant finds what itself has written and is still held, and nothing else.
    #[test]
    fn bytes_are_bounded_and_tenants_apart(
        bytes in 100usize..6_000,
        written in prop::collection::vec((0u8..3, prop::collection::vec(0u32..4, 0..60)), 1..60),
    ) {
        let mut memory = memory(bytes, false);
        let fixed = memory.reading().bytes;
        prop_assert!(fixed <= bytes);
        for (count, (tenant, text)) in written.iter().enumerate() {
            let tenant = Tenant::new([*tenant; 16]);
            memory.remember(tenant, text);
            let reading = memory.reading();
            prop_assert!(reading.bytes <= bytes);
            let sizes = memory.texts.iter().map(Text::bytes);
            prop_assert_eq!(reading.bytes, fixed + sizes.sum::<usize>());

            // Cut texts, too short ones: what is held is known to the memory alone; that it was written is not.
            let own = memory.texts.iter().filter(|text| text.tenant == tenant);
            let own: Vec<&[Token]> = own.map(|text| &*text.tokens).collect();
            for held in &own {
                let wrote = |(whose, text): &(u8, Vec<Token>)| Tenant::new([*whose; 16]) == tenant && text.ends_with(held);
                prop_assert!(written[..=count].iter().any(wrote));
            }
            let recall = memory.recall(tenant, text);
            let guess = recall.guess();
            let expected = longest(&own, text);
            // A search looks at some of the places only, so it may miss the longest match, but never finds a longer one.
            prop_assert!(guess.map(|guess| guess.matched) <= expected);
        }
    }

    /// Few enough places are all looked at.
    #[test]
    fn the_longest_match_is_the_naive_one(
        texts in prop::collection::vec(prop::collection::vec(0u32..5, 0..12), 1..4),
        text in prop::collection::vec(0u32..5, 3..12),
    ) {
        let mut memory = memory(1 << 16, false);
        for text in &texts {
            memory.remember(ONE, text);
        }
        let texts: Vec<&[Token]> = texts.iter().map(Vec::as_slice).collect();
        let guess = memory.recall(ONE, &text).guess();
        prop_assert_eq!(guess.map(|guess| guess.matched), longest(&texts, &text));
    }
}

/// Each guess from memory that was reached while recorded answers were written one after the other, each of them with those
/// before it remembered: its confidence, and whether it was right. Last, the tokens of a round without memory and with it.
fn reached() -> (Vec<(f32, bool)>, [f32; 2]) {
    const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
    let golden = std::fs::read_to_string(format!("{MODELS}/golden.jsonl")).expect("recorded");
    let tokens = |list: &serde_json::Value| -> Vec<Token> {
        serde_json::from_value(list.clone()).expect("tokens")
    };
    let options = Options {
        room: 15,
        min_confidence: 0.0,
        ends: vec![0],
    };
    let (mut guesses, mut speeds) = (Vec::new(), [0.0; 2]);
    for (remembers, speed) in [false, true].into_iter().zip(&mut speeds) {
        let (mut memory, mut written, mut rounds) = (memory(1 << 20, false), 0, 0);
        for line in golden.lines() {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record");
            if record["kind"] != "math" {
                continue;
            }
            let (mut index, text) = (Index::default(), tokens(&record["greedy"]));
            index.extend(&tokens(&record["prompt_ids"]));
            let mut rest = text.as_slice();
            while !rest.is_empty() {
                let recall = memory.recall(ONE, index.text());
                let draft = propose(&index, recall, &Bigrams::default(), &options);
                let right = draft.iter().zip(rest).take_while(|(g, t)| g.token == **t);
                let accepted = right.count();
                let looked_at = draft.iter().take(accepted + 1).enumerate();
                guesses.extend(
                    looked_at
                        .filter(|(_, guess)| guess.remembered)
                        .map(|(place, guess)| (guess.confidence, place < accepted)),
                );
                let (round, later) = rest.split_at((accepted + 1).min(rest.len()));
                index.extend(round);
                (rest, written, rounds) = (later, written + round.len(), rounds + 1);
            }
            if remembers {
                memory.remember(ONE, index.text());
            }
        }
        *speed = written as f32 / rounds as f32;
    }
    (guesses, speeds)
}

#[test]
fn other_texts_help_and_a_confidence_is_the_share_that_proves_right() {
    let (guesses, [without, with]) = reached();
    for (low, high) in [(0.3, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 1.0)] {
        let band = || {
            guesses
                .iter()
                .filter(|(sure, _)| (low..high).contains(sure))
        };
        let count = band().count();
        let right = band().filter(|(_, right)| *right).count() as f32 / count as f32;
        let expected = band().map(|(sure, _)| sure).sum::<f32>() / count as f32;
        println!("{low} to {high}: {count} guesses, {right:.2} right, {expected:.2} expected");
        assert!(count >= 50 && (right - expected).abs() <= 0.25);
    }
    println!("{without:.2} tokens a round without, {with:.2} with");
    assert!(with > 1.05 * without);
}
