//! Formula, simulation and verdict in worlds that are known through and through.

use std::sync::Arc;

use csd_forecast::{
    Check, Forecast, Lineup, Trace, Verdict, WhatIf,
    forecast::Answer,
    formula::Formula,
    setting::Setting,
    simulation::{Simulation, Way},
    trace::{Arm, Asked, Header, Kind, Level, Text, VERSION},
};
use csd_level::{
    Token,
    noise::{Noise, Purpose},
};
use csd_maxgram::Bigrams;

const VOCABULARY: u32 = 1000;

/// A target of 30 ms whose forwards of up to 65 rows cost the same, 1 ms away, that wrote tokens at random.
fn trace(texts: usize, length: usize) -> Trace {
    let text = |text: usize| {
        let token =
            |position| Noise::new(text as u64, position, Purpose::Own(0)).bits(0) % VOCABULARY;
        Text {
            prompt: vec![1, 2, 3],
            tokens: (0..length).map(token).collect::<Vec<Token>>(),
            choices: Default::default(),
        }
    };
    Trace {
        header: Header {
            version: VERSION,
            subject: "a world".into(),
            machine: "none".into(),
            workload: "noise".into(),
            temperature: 0.0,
            max_tokens: length,
            end_tokens: Vec::new(),
            vocabulary: VOCABULARY as usize,
            token_map: "noise".into(),
            text_ms: 0.0,
            round_ms: 0.0,
            levels: vec![Level {
                name: "target".into(),
                kind: Kind::Neural,
                host: "here".into(),
                rows: 65,
                assisted: false,
                bigram: None,
                dtype: "f32".into(),
                forward_ms: vec![(1, 30.0), (65, 30.0)],
                queue_ms: 0.0,
                round_trip_ms: 1.0,
            }],
        },
        texts: (0..texts).map(text).collect(),
        arms: Vec::new(),
    }
}

fn lineup(trace: &Trace, changes: &[&str]) -> Lineup {
    let recorded = Lineup::recorded(trace, Bigrams::default()).expect("an empty table fits");
    changes.iter().fold(recorded, |lineup, change| {
        let change: WhatIf = change.parse().expect(change);
        change
            .apply(&lineup, None, None)
            .expect("a change that fits")
    })
}

/// What a setting simulates to over what the formula says.
fn ratio(lineup: &Lineup, setting: Setting) -> f64 {
    let simulation = Simulation::new(lineup).expect("levels that fit");
    let plan = setting.plan(lineup).expect("a plan");
    let texts: Vec<usize> = (0..lineup.texts()).collect();
    let pace = simulation.write(&Way::Plan(Arc::new(plan)), &texts);
    pace.expect("texts").tokens_per_second / Formula::new(lineup).speed(setting)
}

/// Every token is accepted with the same chance, whatever happened before: what the formulas assume.
#[test]
fn formula_and_simulation_agree_where_the_formula_s_assumptions_hold() {
    let trace = trace(24, 1000);
    let lineup = lineup(
        &trace,
        &[
            "draft,acceptance=0.8,cost=3ms,rows=65,round_trip=1ms",
            "mini,acceptance=0.6,under=draft,cost=600us,rows=65,round_trip=1ms",
        ],
    );
    let settings = [
        Setting::Off,
        Setting::Plain {
            drafter: 1,
            length: 1,
        },
        Setting::Plain {
            drafter: 1,
            length: 6,
        },
        Setting::Plain {
            drafter: 2,
            length: 4,
        },
        Setting::Horizontal {
            first: 1,
            early: 4,
            second: 2,
            late: 3,
        },
        // One review a round, as the formula counts them.
        Setting::Vertical {
            first: 1,
            threshold: 1,
            second: 2,
            fed: 3,
            assist: 0,
        },
    ];
    for setting in settings {
        let ratio = ratio(&lineup, setting);
        // So many tokens leave a part in a hundred to chance.
        assert!((ratio - 1.0).abs() < 0.02, "{setting:?}: {ratio:.3}");
    }
    // A threshold of 6 is two to six reviews; the formula takes what they come to on average.
    let several = Setting::Vertical {
        first: 1,
        threshold: 6,
        second: 2,
        fed: 2,
        assist: 0,
    };
    let ratio = ratio(&lineup, several);
    assert!((ratio - 1.0).abs() < 0.08, "{ratio:.3}");
}

#[test]
fn a_setting_is_its_plan_and_a_plan_its_setting() {
    let lineup = lineup(
        &trace(2, 40),
        &[
            "draft,acceptance=0.8,cost=3ms",
            "mini,acceptance=0.6,cost=1ms",
        ],
    );
    let all = Setting::all(&lineup);
    for setting in &all {
        let plan = setting.plan(&lineup).expect("a plan");
        assert_eq!(Setting::of(&plan, &lineup), Some(*setting));
    }
    let chain = Setting::Vertical {
        first: 1,
        threshold: 10,
        second: 2,
        fed: 4,
        assist: 0,
    };
    assert!(all.contains(&chain));
    assert_eq!(chain.k(&lineup), [[10, 0], [0, 4]]);
}

#[test]
fn what_pays_pays_and_what_does_not_does_not() {
    let mut trace = trace(4, 300);
    let plain = lineup(&trace, &[]);
    // One forward and one round trip a token.
    let alone = 1000.0 / 31.0;
    trace.arms.push(Arm {
        name: "target alone".into(),
        plan: Asked::Named("off".into()),
        tokens_per_second: alone,
        low: alone,
        high: alone,
        tokens_per_call: 1.0,
    });
    let checks: Vec<Check> = trace
        .arms
        .iter()
        .map(|arm| Check::of(arm, &plain).expect("a plan"))
        .collect();
    assert!(checks[0].error().abs() < 1e-6, "{checks:?}");
    let without = Forecast::of(&plain).expect("a forecast");
    assert!((without.simulated() - alone).abs() < 1e-6, "{without:?}");
    let verdict = |change: &str| {
        let with = Forecast::of(&lineup(&trace, &[change])).expect("a forecast");
        Verdict::of(&without, &with, &checks)
    };
    let good = verdict("draft,acceptance=0.8,cost=3ms,round_trip=1ms");
    assert_eq!(good.answer, Answer::Pays);
    assert!(good.to_string().starts_with("pays: +1"), "{good}");
    let slow = verdict("draft,acceptance=0.8,cost=29ms,round_trip=100ms");
    assert_eq!(slow.answer, Answer::DoesNotPay);
    let wrong = verdict("draft,acceptance=0,cost=1ms");
    assert_eq!((wrong.answer, wrong.formula), (Answer::DoesNotPay, 1.0));
}

#[test]
fn a_level_on_a_host_of_its_own_drafts_beside_the_target() {
    let trace = trace(2, 400);
    let speed = |host: &str| {
        let lineup = lineup(
            &trace,
            &[&format!(
                "draft,acceptance=0.95,cost=5ms,round_trip=0ms,host={host}"
            )],
        );
        let plan = Setting::Plain {
            drafter: 1,
            length: 6,
        }
        .plan(&lineup)
        .expect("a plan");
        let simulation = Simulation::new(&lineup).expect("levels that fit");
        let speed = |pipelined| {
            let plan = Arc::new(plan.clone().with_pipelining(pipelined));
            simulation
                .write(&Way::Plan(plan), &[0, 1])
                .expect("texts")
                .tokens_per_second
        };
        speed(true) / speed(false)
    };
    let (apart, together) = (speed("there"), speed("here"));
    assert!(apart > 1.3, "{apart:.2}");
    assert!(together < 1.1, "{together:.2}");
}

#[test]
fn a_change_that_cannot_be_names_its_field() {
    let refused = |text: &str, field: &str| {
        let error = match text.parse::<WhatIf>() {
            Err(error) => error,
            Ok(change) => {
                let lineup = lineup(&trace(2, 20), &["draft,acceptance=0.8,cost=3ms"]);
                match change.apply(&lineup, None, None) {
                    Err(error) => error,
                    Ok(_) => panic!("{text:?} was taken"),
                }
            }
        };
        assert_eq!(error.field, field, "{text:?}: {error}");
    };
    refused("", "NAME");
    refused("cost=3ms", "NAME");
    refused("draft,cost=3", "cost");
    refused("draft,cost=-3ms", "cost");
    refused("draft,round_trip=soon", "round_trip");
    refused("draft,rows=0", "rows");
    refused("draft,acceptance=1.5", "acceptance");
    refused("draft,acceptance=0.5,model=here", "acceptance");
    refused("draft,speed=3", "speed");
    refused("draft,gone", "gone");
    refused("draft,out,cost=3ms", "out");
    refused("target,out", "out");
    refused("nobody,out", "out");
    refused("target,acceptance=0.5", "model");
    refused("nano,cost=3ms", "model");
    refused("nano,acceptance=0.5", "cost");
    refused("nano,acceptance=0.5,cost=1ms,under=nobody", "under");
    refused("draft,under=target", "under");
}

#[test]
fn a_recording_is_read_as_it_was_written() {
    let trace = trace(2, 5);
    let text = trace.clone().write().expect("numbers");
    assert_eq!(Trace::read(&text).expect("a recording"), trace);
    let refused = |text: &str, line: usize, part: &str| {
        let error = Trace::read(text).expect_err(part);
        assert!(error.line == line && error.reason.contains(part), "{error}");
    };
    refused("", 1, "empty");
    refused(
        &text.replace("\"version\":1", "\"version\":9"),
        1,
        "version",
    );
    refused(&text.replace("\"round_ms\":0.0,", ""), 1, "round_ms");
    refused(&text.replace("[1,30.0]", "[1,0.0]"), 1, "forward_ms");
    refused(&text.replace("\"tokens\":[", "\"words\":["), 2, "tokens");
    let lines: Vec<&str> = text.lines().collect();
    refused(&lines[..2].join("\n"), 2, "two");
    refused(lines[1], 1, "header");
    let drafter = text.replacen("]}}", "],\"x\":0}}", 1);
    refused(&drafter.replacen("\"levels\":[", "\"levels\":[{\"name\":\"t\",\"kind\":\"neural\",\"host\":\"\",\"rows\":1,\"assisted\":false,\"bigram\":null,\"dtype\":\"\",\"forward_ms\":[[1,1.0]],\"queue_ms\":0.0,\"round_trip_ms\":0.0},", 1), 2, "choices");
}
