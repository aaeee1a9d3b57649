//! What calls, rounds and texts usually take, from texts whose calls were timed.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{account::Call, probe::median, sample::Sample};

/// As many calls of so many rows count as much as all others do.
const FEW: usize = 6;

/// The calls of a level that were answered while no other call was under way, which might have slowed them down; all that
/// were answered, where there always was one.
pub(crate) fn calls_of<'a>(
    level: &str,
    explained: impl Iterator<Item = &'a Sample>,
) -> Result<Vec<Call>> {
    let (mut lone, mut all) = (Vec::new(), Vec::new());
    for sample in explained {
        let calls: Vec<Call> = sample.calls.iter().map(Call::read).collect::<Result<_>>()?;
        let spans: Vec<(f64, f64)> = calls
            .iter()
            .map(|call| (call.start_ms, call.end_ms))
            .collect();
        let own = calls.into_iter().filter(|call| call.level == level);
        for call in own.filter(|call| call.error.is_none()) {
            let beside = |(start, end): &&(f64, f64)| *start < call.end_ms && *end > call.start_ms;
            // It is beside itself.
            let to = match spans.iter().filter(beside).count() {
                0 | 1 => &mut lone,
                _ => &mut all,
            };
            to.push(call);
        }
    }
    Ok(if lone.is_empty() { all } else { lone })
}

/// Forwards by rows as they usually took in the cascade: what they take undisturbed, times what those of so many rows took
/// longer there, or all of them where there were few. More rows never cost less, only the noise says so.
pub(crate) fn usual_forwards<'a>(
    undisturbed: &[(usize, f64)],
    calls: impl Iterator<Item = &'a Call>,
) -> Vec<(usize, f64)> {
    let mut times: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for call in calls.filter(|call| call.forwards > 0) {
        let forwards = call.forwards as f64;
        let rows = (call.rows as f64 / forwards).round() as usize;
        if let Some((_, ms)) = undisturbed.iter().find(|point| point.0 == rows) {
            let times = times.entry(rows).or_default();
            times.push(call.forward_ms / forwards / ms);
        }
    }
    let all = usual(times.values().flatten().copied()).unwrap_or(1.0);
    let in_cascade = |&(rows, ms): &(usize, f64)| {
        let own = times.get(&rows).map_or(&[][..], Vec::as_slice);
        let with_others = own.iter().copied().chain([all; FEW]);
        let time = ms * usual(with_others).unwrap_or(all);
        (rows, time, (own.len() + 1) as f64)
    };
    rising(undisturbed.iter().map(in_cascade))
}

/// Pools neighbours that would fall (pool adjacent violators): values with weights, each at its place.
fn rising(points: impl Iterator<Item = (usize, f64, f64)>) -> Vec<(usize, f64)> {
    let mut pools: Vec<(Vec<usize>, f64, f64)> = Vec::new();
    for (at, value, weight) in points {
        let mut pool = (vec![at], value, weight);
        while let Some(last) = pools.pop_if(|last| last.1 > pool.1) {
            let weight = last.2 + pool.2;
            let value = (last.1 * last.2 + pool.1 * pool.2) / weight;
            pool = ([last.0, pool.0].concat(), value, weight);
        }
        pools.push(pool);
    }
    let points = pools.into_iter();
    points
        .flat_map(|(places, value, _)| places.into_iter().map(move |at| (at, value)))
        .collect()
}

/// The geometric mean of times: what is compared with them are geometric means of speeds.
pub(crate) fn usual(times: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = times.filter(|time| *time > 0.0).map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// What texts and rounds took besides the calls that they waited for: a line through the texts, whose slope is the one in
/// the middle of all between two of them (Theil and Sen's): it does not mind a few texts that were disturbed.
pub(crate) fn around<'a>(
    explained: impl Iterator<Item = &'a Sample>,
    target: &str,
) -> Result<(f64, f64)> {
    let mut points = Vec::new();
    for sample in explained {
        let calls: Vec<Call> = sample.calls.iter().map(Call::read).collect::<Result<_>>()?;
        let rounds = calls.iter().filter(|call| call.level == target).count();
        points.push((rounds as f64, sample.seconds * 1e3 - covered(calls)));
    }
    let pairs = points.iter().enumerate().flat_map(|(index, one)| {
        let others = points[..index].iter().filter(|other| other.0 != one.0);
        others.map(move |other| (one.1 - other.1) / (one.0 - other.0))
    });
    let a_round = median(pairs.collect()).unwrap_or(0.0).max(0.0);
    let rests = points.iter().map(|(rounds, rest)| rest - a_round * rounds);
    Ok((median(rests.collect()).unwrap_or(0.0).max(0.0), a_round))
}

/// Milliseconds in which at least one call was under way.
fn covered(mut calls: Vec<Call>) -> f64 {
    calls.sort_by(|a, b| a.start_ms.total_cmp(&b.start_ms));
    let (mut until, mut sum) = (0.0, 0.0);
    for call in calls {
        sum += (call.end_ms - call.start_ms.max(until)).max(0.0);
        until = call.end_ms.max(until);
    }
    sum
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(level: &str, start: f64, end: f64, forwards: u64, rows: usize) -> Call {
        let call = json!({"level": level, "start_ms": start, "end_ms": end, "forward_ms": end - start, "forwards": forwards, "rows": rows});
        Call::read(&call).expect("a call")
    }

    #[test]
    fn forwards_cost_what_they_did_in_the_cascade() {
        let undisturbed = [(1, 10.0), (2, 10.0), (3, 20.0)];
        // Of one row, 12 ms each; three of three rows each, as undisturbed; 50 rows were a prompt.
        let mut calls: Vec<Call> = (0..30).map(|_| call("target", 0.0, 12.0, 1, 1)).collect();
        calls.extend((0..3).map(|_| call("target", 0.0, 60.0, 3, 9)));
        calls.push(call("target", 0.0, 900.0, 1, 50));
        let usual = usual_forwards(&undisturbed, calls.iter());
        let all = 1.2f64.powf(30.0 / 33.0);
        let one = 12.0f64.powf(30.0 / 36.0) * (10.0 * all).powf(6.0 / 36.0);
        // Two rows were never seen, and would cost less than one: they are pooled.
        let pooled = (one * 31.0 + 10.0 * all) / 32.0;
        let three = 20.0 * all.powf(6.0 / 9.0);
        for ((rows, ms), (expected, time)) in
            usual.iter().zip([(1, pooled), (2, pooled), (3, three)])
        {
            assert!(*rows == expected && (ms - time).abs() < 1e-9, "{usual:?}");
        }
        assert_eq!(usual_forwards(&undisturbed, [].iter()), undisturbed);
    }

    #[test]
    fn calls_beside_others_say_nothing_while_there_are_others() {
        let call = |level: &str, start: f64, end: f64| json!({"level": level, "start_ms": start, "end_ms": end});
        let sample = |calls: Vec<serde_json::Value>| Sample {
            tokens: 1,
            seconds: 1.0,
            ids: Vec::new(),
            text: String::new(),
            cascade: None,
            calls,
        };
        let beside = || vec![call("target", 0.0, 9.0), call("draft", 1.0, 4.0)];
        let count =
            |samples: &[Sample], level| calls_of(level, samples.iter()).expect("calls").len();
        let samples = [sample(beside())];
        assert_eq!(
            (count(&samples, "target"), count(&samples, "draft")),
            (1, 1)
        );
        let mut calls = beside();
        calls.extend([call("draft", 9.0, 11.0), call("draft", 11.0, 12.0)]);
        calls.push(json!({"level": "draft", "start_ms": 12.0, "end_ms": 13.0, "error": "gone"}));
        let samples = [sample(calls)];
        assert_eq!(
            (count(&samples, "target"), count(&samples, "draft")),
            (1, 2)
        );
    }

    #[test]
    fn what_is_not_covered_by_calls_belongs_to_texts_and_rounds() {
        // 3 ms a text and half a millisecond a round, around reviews of 2 ms.
        let sample = |rounds: usize| {
            let review = |round| json!({"level": "target", "start_ms": 2.5 * round as f64, "end_ms": 2.5 * round as f64 + 2.0});
            Sample {
                tokens: 1,
                seconds: (3.0 + 2.5 * rounds as f64) / 1e3,
                ids: Vec::new(),
                text: String::new(),
                cascade: None,
                calls: (0..rounds).map(review).collect(),
            }
        };
        let samples = [sample(4), sample(10), sample(40)];
        let (text, round) = around(samples.iter(), "target").expect("calls");
        assert!(
            (text - 3.0).abs() < 1e-6 && (round - 0.5).abs() < 1e-6,
            "{text} {round}"
        );
        let side_by_side = vec![
            call("draft", 1.0, 4.0, 1, 1),
            call("target", 0.0, 2.0, 1, 1),
            call("mini", 5.0, 6.0, 1, 1),
        ];
        assert_eq!(covered(side_by_side), 5.0);
    }
}
