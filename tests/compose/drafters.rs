//! Each way to lose a drafter in the middle of a stream leaves the text as it is; afterwards the drafter is used again.

use std::time::Duration;

use csd_tests::{
    Stream,
    containers::{Container, Stack},
    process,
};

use crate::equal;

const DRAFTERS: [&str; 3] = ["draft", "mini", "maxgram"];

type Fault = fn(&Container) -> anyhow::Result<()>;

/// How to lose a container, and how to mend it.
pub(crate) const FAULTS: [(&str, Fault, Fault); 3] = [
    ("killed", Container::kill, |_| Ok(())),
    ("paused", Container::pause, Container::unpause),
    ("cut off", Container::cut, Container::rejoin),
];

pub(crate) fn check(stack: &Stack) {
    let undisturbed = equal(stack, "undisturbed", |_| ());
    for level in DRAFTERS {
        let usual = calls(&undisturbed, level);
        assert!(usual > 0, "{level} is not used: {}", undisturbed.cascade);
        disturbed(stack, level, usual);
    }
}

fn calls(stream: &Stream, level: &str) -> u64 {
    stream.cascade["calls"][level].as_u64().unwrap_or(0)
}

fn disturbed(stack: &Stack, level: &str, usual: u64) {
    let container = stack.container(level).expect("it runs");
    for (fault, begin, end) in FAULTS {
        let stream = equal(stack, &format!("{level} {fault}"), |chunk| {
            if chunk == 2 {
                begin(&container).expect("it runs");
            }
        });
        end(&container).expect("it can be mended");
        let during = calls(&stream, level);
        assert!(
            during < usual,
            "{level} {fault}: {during} calls of {usual}: it came too late to disturb anything"
        );
        let back = process::wait(Duration::from_secs(60), || {
            let stream = equal(stack, &format!("after {level} {fault}"), |_| ());
            calls(&stream, level) > usual / 2
        });
        assert!(back, "{level} {fault}: mended, and not used");
    }
}
