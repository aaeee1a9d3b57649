//! `--scale target=2`: the target that writes a text may be lost in the middle of it, and the other one goes on.

use std::time::Duration;

use csd_tests::{
    containers::{Container, Stack},
    process,
};
use serde_json::Value;

use crate::{drafters::FAULTS, equal, observed};

/// Names are looked up every three seconds, and whoever is back waits until it is asked again.
const SOON: Duration = Duration::from_secs(40);

pub(crate) fn check(stack: &mut Stack) {
    stack.scale("target", 2);
    stack.up().expect("both targets are healthy");
    in_use(stack, 2);
    let targets = stack.containers("target").expect("they run");
    for (fault, begin, end) in FAULTS {
        let (mut before, mut victim) = (Vec::new(), None);
        equal(
            stack,
            &format!("a target of two {fault}"),
            |chunk| match chunk {
                0 => before = computed(&targets),
                5 => {
                    let worked = computed(&targets).into_iter().zip(&before);
                    let worked = worked.map(|(now, before)| now - *before);
                    let busiest = targets.iter().zip(worked).max_by_key(|(_, worked)| *worked);
                    let (busiest, _) = busiest.expect("there are two");
                    begin(busiest).expect("it runs");
                    victim = Some(busiest);
                }
                _ => {}
            },
        );
        end(victim.expect("the text is long enough")).expect("it can be mended");
        in_use(stack, 2);
    }
    stack.up().expect("all are healthy again");
    observed::scraped(stack, 2);
    stack.scale("target", 1);
    stack.up().expect("one target is healthy");
    in_use(stack, 1);
    equal(stack, "one target again", |_| ());
}

fn computed(targets: &[Container]) -> Vec<Duration> {
    let computed = targets.iter().map(Container::computed);
    computed.map(|time| time.unwrap_or_default()).collect()
}

/// The orchestrator has found so many targets, and uses them all.
fn in_use(stack: &Stack, targets: usize) {
    let mut target = Value::Null;
    let used = process::wait(SOON, || {
        let Ok((200, health)) = stack.get("/health") else {
            return false;
        };
        let health: Value = serde_json::from_str(&health).unwrap_or_default();
        target = health["levels"][0].clone();
        // One alone is the level itself.
        let alone = std::slice::from_ref(&target);
        let replicas = target["replicas"].as_array().map_or(alone, Vec::as_slice);
        replicas.len() == targets && replicas.iter().all(|replica| replica["status"] == "up")
    });
    assert!(used, "not {targets} in use: {target}");
}
