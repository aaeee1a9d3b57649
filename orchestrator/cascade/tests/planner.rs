//! The planner against the best fixed plan, found by search afterwards, in worlds whose costs and agreements are drawn at
//! random: on virtual time, so the comparison is exact and always the same.

use std::{sync::Arc, thread, time::Duration};

use csd_cascade::{
    Cascade, Drafting, Limits, Plan, Planner, Request, Session, Strategy,
    world::{Price, Time, Timed},
};
use csd_level::{
    Clock as _, Context, Error, Level, Sampling, Token,
    noise::{Noise, Purpose},
    scripted::ScriptedLevel,
};

const VOCABULARY: usize = 40;
const TEXT: usize = 96;
const LIMITS: Limits = Limits {
    draft_timeout: Duration::from_secs(1),
    verify_timeout: Duration::from_secs(1),
};

/// Two neural drafters under a target: how often they agree with it, and what they cost.
#[derive(Clone, Debug)]
struct World {
    /// How far the target and its drafters are from what they have in common.
    disagreements: [f32; 3],
    temperature: f32,
    prices: [(f64, usize, f64); 3],
}

impl World {
    fn random(seed: u64) -> Self {
        let noise = Noise::new(seed, 0, Purpose::Own(0));
        let uniform = |x: u32| f64::from(noise.bits(x)) / f64::from(u32::MAX);
        let between = |x: u32, low: f64, high: f64| low * (high / low).powf(uniform(x));
        let link = between(0, 0.05, 10.0);
        Self {
            disagreements: [
                1.0,
                between(1, 0.2, 4.0) as f32,
                between(2, 0.2, 6.0) as f32,
            ],
            temperature: (seed % 2) as f32,
            prices: [
                (30.0, [4, 8, 16][(uniform(3) * 2.99) as usize], link),
                (between(4, 0.5, 12.0), 16, link),
                (between(5, 0.1, 3.0), 16, link),
            ],
        }
    }

    fn cascade(&self, time: &Time) -> Arc<Cascade> {
        let scripts = [
            ("target", 1, self.disagreements[0]),
            ("draft", 2, self.disagreements[1]),
            ("mini", 3, self.disagreements[2]),
        ];
        let level = |((name, own, disagreement), price): ((&str, u64, f32), &(f64, usize, f64))| {
            let script = ScriptedLevel::new(name, VOCABULARY, 7, own, disagreement)
                .describe(|description| description.rows = 33);
            let price = Price::ms(price.0, price.1, price.2);
            Arc::new(Timed::new(Arc::new(script), price, time)) as Arc<dyn Level>
        };
        let levels = scripts.into_iter().zip(&self.prices).map(level).collect();
        let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone()));
        Arc::new(cascade.expect("one token map"))
    }
}

async fn write(
    cascade: &Arc<Cascade>,
    strategy: Arc<dyn Strategy>,
    temperature: f32,
    prompt: Token,
) -> Vec<Token> {
    let session = Arc::new(Session::ready(prompt.into(), cascade.levels().len()));
    let mut request = Request {
        context: Context::new(vec![prompt % VOCABULARY as u32, prompt / 7 % 40, 3]),
        sampling: Arc::new(Sampling {
            temperature,
            seed: prompt.into(),
            ..Sampling::default()
        }),
        session,
        logprobs: None,
        tenant: None,
    };
    let mut drafting = Drafting::new(strategy);
    while request.context.generated().len() < TEXT {
        let left = TEXT - request.context.generated().len();
        let round = cascade.round(&request, &mut drafting, left).await;
        let round = round.expect("the target lives");
        request
            .context
            .extend(round.tokens.iter().map(|token| token.id));
    }
    request.context.generated().to_vec()
}

/// Seconds that each of some texts takes, one after the other.
fn seconds(
    world: &World,
    prompts: std::ops::Range<Token>,
    strategy: impl Fn() -> Arc<dyn Strategy>,
) -> Vec<f64> {
    let time = Time::default();
    let cascade = world.cascade(&time);
    let text = |prompt| {
        let before = time.now();
        let tokens = time.run(write(&cascade, strategy(), world.temperature, prompt));
        assert_eq!(tokens.map(|tokens| tokens.len()), Some(TEXT));
        (time.now() - before).as_secs_f64()
    };
    prompts.map(text).collect()
}

fn plans() -> Vec<Plan> {
    let mut plans = vec![Plan::off(2)];
    let mut add = |k: [[u32; 2]; 2]| {
        let k = k.map(Vec::from);
        plans.push(Plan::matrix(&k, 1.0, 2).expect("a good matrix"));
    };
    for n in [1, 2, 3, 4, 6, 8, 12, 16] {
        add([[n, 0], [0, 0]]);
        add([[0, n], [0, 0]]);
        for m in [1, 2, 4, 8] {
            add([[n, 0], [0, m]]);
            add([[n, m], [0, 0]]);
        }
    }
    plans
}

/// What the planner takes in a world, of what the best fixed plan does; and in words.
fn beside_the_best(seed: u64) -> (f64, String) {
    let world = World::random(seed);
    let fixed = plans().into_iter().map(|plan| {
        let plan = Arc::new(plan);
        let total: f64 = seconds(&world, 30..42, || plan.clone()).iter().sum();
        (total, plan)
    });
    let (best, plan) = fixed.min_by(|a, b| a.0.total_cmp(&b.0)).expect("plans");
    let alone: f64 = seconds(&world, 30..42, || Arc::new(Plan::off(2)))
        .iter()
        .sum();
    let planner = Arc::new(Planner::new(3));
    let planned = seconds(&world, 0..42, || Arc::new(planner.text(world.temperature)));
    let planned: f64 = planned[30..].iter().sum();
    let told = format!(
        "{seed:2}: {:.3} of the best {:?}, which is {:.2} of the target alone; {world:?}",
        planned / best,
        plan.k(),
        best / alone,
    );
    (planned / best, told)
}

#[test]
fn the_planner_is_close_to_the_best_fixed_plan_wherever_it_is_put() {
    let worlds = (0..16).map(|seed| thread::spawn(move || beside_the_best(seed)));
    // All are at work before the first is waited for.
    let worlds: Vec<_> = worlds.collect();
    let worlds: Vec<f64> = worlds
        .into_iter()
        .map(|world| {
            let (figure, told) = world.join().expect("a world's figure");
            println!("{told}");
            figure
        })
        .collect();
    let logs: f64 = worlds.iter().map(|world| world.ln()).sum();
    let mean = (logs / worlds.len() as f64).exp();
    let worst = worlds.iter().copied().fold(0.0, f64::max);
    println!("mean {mean:.3}, worst {worst:.3}");
    assert!(
        mean < 1.05 && worst < 1.15,
        "mean {mean:.3}, worst {worst:.3}"
    );
}

#[test]
fn where_drafters_mostly_agree_drafting_ahead_beats_plain_speculation_by_a_fifth() {
    // The paper's regime: a target of 30 ms, drafters of 3 and 1 ms, forwards whose rows are free.
    let world = World {
        disagreements: [0.02, 0.1, 0.25],
        temperature: 1.0,
        prices: [(30.0, 33, 0.3), (3.0, 33, 0.3), (1.0, 33, 0.3)],
    };
    let two_model = [4, 8, 12, 16, 20, 24, 28, 32].into_iter().flat_map(|k| {
        let plan = |k: [[u32; 2]; 2]| Plan::matrix(&k.map(Vec::from), 1.0, 2).expect("a plan");
        [plan([[k, 0], [0, 0]]), plan([[0, k], [0, 0]])]
    });
    let plain = two_model.map(|plan| {
        let plan = Arc::new(plan);
        seconds(&world, 30..50, || plan.clone()).iter().sum::<f64>()
    });
    let plain = plain.fold(f64::INFINITY, f64::min);
    let planner = Arc::new(Planner::new(3));
    let planned = seconds(&world, 0..50, || Arc::new(planner.text(world.temperature)));
    let planned: f64 = planned[30..].iter().sum();
    println!("{:.2} times the best plain speculation", plain / planned);
    assert!(plain / planned > 1.2, "{:.2}", plain / planned);
}

#[test]
fn far_drafters_are_left_when_the_work_becomes_hard_and_taken_again_when_it_becomes_easy() {
    let world = |disagreement| World {
        disagreements: [0.02, disagreement, disagreement],
        temperature: 1.0,
        prices: [(13.0, 8, 0.05), (0.3, 8, 30.0), (0.1, 8, 30.0)],
    };
    let (easy, hard) = (world(0.1), world(6.0));
    let alone: f64 = seconds(&easy, 0..10, || Arc::new(Plan::off(2)))
        .iter()
        .sum();
    let planner = Arc::new(Planner::new(3));
    let shares = |world: &World, texts: std::ops::Range<Token>| {
        let took = seconds(world, texts, || Arc::new(planner.text(world.temperature)));
        let ten = |ten: &[f64]| ten.iter().sum::<f64>() / alone;
        took.chunks_exact(10).map(ten).collect::<Vec<_>>()
    };
    let learnt = shares(&easy, 0..20);
    let hardened = shares(&hard, 20..40);
    let eased = shares(&easy, 40..80);
    println!(
        "times the target alone: easy {learnt:.2?}, hard {hardened:.2?}, easy again {eased:.2?}"
    );
    assert!(learnt[1] < 0.6 && hardened[0] < 1.15 && hardened[1] < 1.03 && eased[3] < 0.7);
}

#[test]
fn a_drafter_that_never_has_time_is_hardly_asked() {
    let time = Time::default();
    let busy = |_| {
        Some(Error::Busy {
            retry_after: Duration::ZERO,
        })
    };
    let drafter = ScriptedLevel::new("draft", VOCABULARY, 7, 2, 0.1).with_fault(Arc::new(busy));
    let target = ScriptedLevel::new("target", VOCABULARY, 7, 1, 0.1);
    let levels: Vec<Arc<dyn Level>> = vec![
        Arc::new(Timed::new(Arc::new(target), Price::ms(13.0, 8, 0.0), &time)),
        Arc::new(Timed::new(Arc::new(drafter), Price::ms(0.3, 8, 5.0), &time)),
    ];
    let cascade = Cascade::new(levels, LIMITS, Arc::new(time.clone()));
    let cascade = Arc::new(cascade.expect("one token map"));
    let planner = Arc::new(Planner::new(2));
    for prompt in 0..20 {
        let text = time.run(write(&cascade, Arc::new(planner.text(0.0)), 0.0, prompt));
        assert_eq!(text.map(|tokens| tokens.len()), Some(TEXT));
    }
    let alone = 20.0 * TEXT as f64 * 0.013;
    let times = time.now().as_secs_f64() / alone;
    println!("{times:.4} times the target alone");
    assert!(times < 1.01, "{times}");
}
