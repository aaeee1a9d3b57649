//! A level behind a link that is not there.

use std::{
    hint,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use csd_config::Emulation;
use csd_level::{
    BoxFuture, Description, Draft, DraftRequest, Level, RememberRequest, Result, Verdict,
    VerifyRequest,
};

/// How long before its end a wait stops sleeping: the system wakes a thread some tens of microseconds late, and the task
/// that waits for the thread as much later again.
const AWAKE: Duration = Duration::from_micros(200);

/// A level whose calls take half of a given round trip before they are begun and half after, beyond what the way takes
/// anyway; and which says so.
pub struct Emulated {
    inner: Arc<dyn Level>,
    description: Arc<Description>,
    half: Duration,
}

impl Emulated {
    /// Puts `level` behind the link. That its forwards take their time is for its engine to see to.
    pub fn new(level: Arc<dyn Level>, emulation: &Emulation) -> Self {
        let mut description = (*level.description()).clone();
        description.emulation = Some(emulation.to_string());
        Self {
            inner: level,
            description: Arc::new(description),
            half: emulation.round_trip() / 2,
        }
    }

    async fn there_and_back<T>(&self, call: impl Future<Output = T>) -> T {
        pass(self.half).await;
        let answer = call.await;
        pass(self.half).await;
        answer
    }
}

impl Level for Emulated {
    fn description(&self) -> Arc<Description> {
        self.description.clone()
    }

    fn draft(&self, mut request: DraftRequest) -> BoxFuture<'_, Result<Draft>> {
        request.call.timeout = request.call.timeout.saturating_sub(self.half);
        Box::pin(self.there_and_back(self.inner.draft(request)))
    }

    fn verify(&self, mut request: VerifyRequest) -> BoxFuture<'_, Result<Verdict>> {
        request.call.timeout = request.call.timeout.saturating_sub(self.half);
        Box::pin(self.there_and_back(self.inner.verify(request)))
    }

    fn remember(&self, request: RememberRequest) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.there_and_back(self.inner.remember(request)))
    }
}

/// Waits. The runtime's timers count milliseconds, which is more than a link in a rack takes; a thread's sleep does not.
async fn pass(time: Duration) {
    let end = Instant::now() + time;
    if time > AWAKE {
        // It fails only when the runtime ends, and this with it.
        let _ = tokio::task::spawn_blocking(move || thread::sleep(time - AWAKE)).await;
    }
    while Instant::now() < end {
        hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use csd_level::{Call, Context, Lenience, Sampling, scripted::ScriptedLevel};

    use super::*;

    #[tokio::test]
    async fn a_call_takes_the_round_trip_and_the_level_says_so() {
        let emulation = Emulation::new(&[], 6.0).expect("possible");
        let level = Arc::new(ScriptedLevel::new("draft", 100, 1, 2, 0.0));
        let level = Emulated::new(level, &emulation);
        let told = level.description().emulation.clone();
        assert_eq!(told.as_deref(), Some("round trip +6 ms"));
        let request = VerifyRequest {
            call: Call {
                context: Context::new(vec![1, 2, 3]),
                sampling: Arc::new(Sampling::default()),
                session: 1,
                stream: 0,
                tenant: None,
                timeout: Duration::from_secs(1),
            },
            draft: Draft::default(),
            lenience: Lenience::NONE,
            logprobs: None,
        };
        let begun = Instant::now();
        level.verify(request).await.expect("a verdict");
        assert!(begun.elapsed() >= Duration::from_millis(6));
    }
}
