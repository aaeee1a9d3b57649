//! What a network hop costs: a scripted level asked directly and over loopback TCP, with a context of 512 tokens.
//!
//! `cargo run --release -p csd-transport --example round_trip`. Server and client have a thread each, as two processes
//! would. The added time is the difference of the medians; the goal is 0.25 ms at most, one call after another. Between
//! two reviews of a large target a call comes after a pause, so that is timed as well.

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
const PAUSES: [(Duration, usize); 4] = [
    (Duration::ZERO, 2000),
    (Duration::from_millis(1), 1000),
    (Duration::from_millis(3), 400),
    (Duration::from_millis(15), 300),
];
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

    let asked = [
        ("Draft", Request::Draft(draft)),
        ("Verify", Request::Verify(verify)),
    ];
    println!("{CONTEXT} tokens of context, {DRAFTED} drafted, milliseconds");
    for (pause, rounds) in PAUSES {
        println!("{rounds} calls, {pause:?} between two");
        for (name, request) in &asked {
            let direct = time(&level, request, pause, rounds).await?;
            let remote = time(&remote, request, pause, rounds).await?;
            let added = remote.median - direct.median;
            println!("{name:6}  direct {direct}  remote {remote}  added {added:.3} ms");
        }
    }
    Ok(())
}

/// What a level is asked.
enum Request {
    Draft(DraftRequest),
    Verify(VerifyRequest),
}

impl Request {
    async fn ask(&self, level: &dyn Level) -> Result<(), csd_level::Error> {
        match self {
            Self::Draft(request) => level.draft(request.clone()).await.map(drop),
            Self::Verify(request) => level.verify(request.clone()).await.map(drop),
        }
    }
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

/// Asks so many times, with a pause before each.
async fn time(
    level: &dyn Level,
    request: &Request,
    pause: Duration,
    rounds: usize,
) -> Result<Times, Failure> {
    let mut taken = Vec::with_capacity(rounds);
    for round in 0..WARM + rounds {
        std::thread::sleep(pause);
        let begun = Instant::now();
        request.ask(level).await?;
        if round >= WARM {
            taken.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    taken.sort_by(f64::total_cmp);
    Ok(Times {
        median: taken[rounds / 2],
        p99: taken[rounds * 99 / 100],
    })
}
