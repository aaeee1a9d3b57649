//! What a network hop costs: a scripted level asked directly and over loopback TCP, with a context of 512 tokens.
//!
//! `cargo run --release -p csd-transport --example round_trip`. Server and client have a thread each, as two processes
//! would. The added time is the difference of the medians; the goal is 0.25 ms at most, one call after another. Between
//! two reviews of a large target a call comes after a pause, and finds cores asleep and caches cold.

#![expect(clippy::print_stdout, reason = "a report")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_level::{
    Call, Context, Draft, DraftRequest, Lenience, Level, Sampling, VerifyRequest,
    scripted::ScriptedLevel,
};
use csd_transport::{LevelService, RemoteLevel, RemoteOptions, ServiceOptions, incoming, serve};
use tokio::{net::TcpListener, sync::oneshot};

const CONTEXT: u32 = 512;
const DRAFTED: usize = 8;
/// Between two calls, and how many calls there are then.
const PAUSES: [(Duration, usize); 2] = [(Duration::ZERO, 2000), (Duration::from_millis(15), 300)];
/// Calls before those that count.
const WARM: usize = 100;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let level = ScriptedLevel::new("target", 256, 1, 2, 0.0);
    let (announce, announced) = oneshot::channel();
    let served = level.clone();
    std::thread::spawn(move || serve_alone(served, announce));
    let address = announced.await?;
    let remote = RemoteLevel::connect(&address, RemoteOptions::default()).await?;

    let call = Call {
        context: Context::new((0..CONTEXT).map(|i| i % 251).collect()),
        sampling: Arc::new(Sampling::default()),
        session: 1,
        stream: 0,
        tenant: None,
        timeout: Duration::from_secs(5),
    };
    let draft = DraftRequest {
        call: call.clone(),
        wanted: DRAFTED,
        room: DRAFTED,
        assist: 0,
        lenience: Lenience::NONE,
        prospects: None,
    };
    let written = level.draft(draft.clone()).await?;
    let verify = VerifyRequest {
        call,
        draft: Draft {
            tokens: written.tokens,
            ..Draft::default()
        },
        lenience: Lenience::NONE,
        logprobs: None,
    };

    let report = |name: &str, direct: Times, remote: Times| {
        let row = format!("{name:6}  direct {direct}  remote {remote}");
        println!("{row}  added {:.3} ms", remote.median - direct.median);
    };
    println!("{CONTEXT} tokens of context, {DRAFTED} drafted, milliseconds");
    for (pause, rounds) in PAUSES {
        println!("{rounds} calls, {pause:?} between two");
        let timed = Timed { pause, rounds };
        report(
            "Draft",
            timed
                .time(async || level.draft(draft.clone()).await.map(drop))
                .await?,
            timed
                .time(async || remote.draft(draft.clone()).await.map(drop))
                .await?,
        );
        report(
            "Verify",
            timed
                .time(async || level.verify(verify.clone()).await.map(drop))
                .await?,
            timed
                .time(async || remote.verify(verify.clone()).await.map(drop))
                .await?,
        );
    }
    Ok(())
}

/// A server with a runtime of its own, as in another process.
fn serve_alone(level: ScriptedLevel, announce: oneshot::Sender<String>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        // When nobody listens, the program has ended.
        let _ = announce.send(listener.local_addr()?.to_string());
        let service = LevelService::new(Arc::new(level), ServiceOptions::default());
        serve(
            incoming(listener),
            service,
            Duration::ZERO,
            std::future::pending(),
        )
        .await?;
        Ok(())
    })
}

#[derive(Clone, Copy)]
struct Times {
    median: f64,
    p99: f64,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:.3} p99 {:.3}", self.median, self.p99)
    }
}

/// So many calls with a pause before each.
#[derive(Clone, Copy)]
struct Timed {
    pause: Duration,
    rounds: usize,
}

impl Timed {
    async fn time(
        self,
        mut call: impl AsyncFnMut() -> Result<(), csd_level::Error>,
    ) -> Result<Times, Failure> {
        let mut taken = Vec::with_capacity(self.rounds);
        for round in 0..WARM + self.rounds {
            std::thread::sleep(self.pause);
            let begun = Instant::now();
            call().await?;
            if round >= WARM {
                taken.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
        taken.sort_by(f64::total_cmp);
        Ok(Times {
            median: taken[self.rounds / 2],
            p99: taken[self.rounds * 99 / 100],
        })
    }
}
