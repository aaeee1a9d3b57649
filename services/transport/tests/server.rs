//! Health, reflection, drain, and a worker that comes back at its address.

mod pipe;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use csd_level::{Error, Level};
use csd_transport::{
    LevelService, RemoteLevel, RemoteOptions, ServiceOptions, incoming, serve, server::SERVICE,
};
use pipe::{Pipe, Slow, Stuck, review, scripted};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

const SOON: Duration = Duration::from_secs(5);

fn health_of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

#[tokio::test]
async fn health_and_both_reflections_answer() {
    let pipe = Pipe::new(Arc::new(scripted(1)), ServiceOptions::default());
    let mut health = HealthClient::new(pipe.channel.clone());
    for service in ["", SERVICE] {
        let status = health.check(health_of(service)).await.expect("known");
        assert_eq!(status.into_inner().status(), ServingStatus::Serving);
    }

    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(pipe.channel.clone());
    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let answers = client.server_reflection_info(tokio_stream::once(ask)).await;
    let mut answers = answers.expect("answers").into_inner();
    let answer = answers.next().await.expect("one").expect("no error");
    assert!(format!("{answer:?}").contains(SERVICE), "{answer:?}");

    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(pipe.channel.clone());
    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                SERVICE.into(),
            ),
        ),
    };
    let answers = client.server_reflection_info(tokio_stream::once(ask)).await;
    let mut answers = answers.expect("answers").into_inner();
    let answer = answers.next().await.expect("one").expect("no error");
    assert!(
        format!("{answer:?}").contains("FileDescriptorResponse"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_drain_lets_calls_finish_and_tells_who_watches() {
    let level = Slow(scripted(1), Duration::from_millis(200));
    let pipe = Pipe::new(Arc::new(level), ServiceOptions::default());
    let remote = pipe.remote().await;
    let mut health = HealthClient::new(pipe.channel.clone());
    let watch = health.watch(health_of(SERVICE)).await.expect("known");
    let mut watch = watch.into_inner();
    let mut next = async || watch.next().await.map(|s| s.expect("no error").status());
    assert_eq!(next().await, Some(ServingStatus::Serving));

    let caller = remote.clone();
    let running = tokio::spawn(async move { caller.verify(review(SOON)).await });
    while pipe.service.gauges().in_flight == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    pipe.stop.cancel();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None, "an open watch would hold the drain up");
    running
        .await
        .expect("no panic")
        .expect("answered in the drain");
    let ended = tokio::time::timeout(Duration::from_secs(2), pipe.server).await;
    ended
        .expect("well before the drain is over")
        .expect("no panic")
        .expect("served");
    let late = remote.verify(review(SOON)).await;
    assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
}

#[tokio::test]
async fn a_drain_ends_even_when_a_call_does_not() {
    let stuck = Arc::new(Stuck::new());
    let drain = Duration::from_millis(200);
    let pipe = Pipe::draining(stuck.clone(), ServiceOptions::default(), drain);
    let remote = pipe.remote().await;
    let running = tokio::spawn(async move { remote.verify(review(SOON)).await });
    assert!(stuck.has(1).await);
    let begun = Instant::now();
    pipe.stop.cancel();
    let answer = running.await.expect("no panic");
    assert_eq!(answer, Err(Error::Unavailable("shutting down".into())));
    pipe.server.await.expect("no panic").expect("served");
    assert!(begun.elapsed() >= drain && begun.elapsed() < Duration::from_secs(2));
    assert!(stuck.has(0).await);
}

/// Serves on TCP in a runtime of its own, so that ending it is as sudden as a process that is killed.
fn killable(level: Arc<dyn Level>, listener: std::net::TcpListener) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.spawn(async move {
        listener.set_nonblocking(true).expect("non-blocking");
        let listener = TcpListener::from_std(listener).expect("a listener");
        let service = LevelService::new(level, ServiceOptions::default());
        serve(
            incoming(listener),
            service,
            SOON,
            CancellationToken::new().cancelled_owned(),
        )
        .await
    });
    runtime
}

#[tokio::test]
async fn a_killed_worker_is_unavailable_at_once_and_back_when_it_is() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let stuck = Arc::new(Stuck::new());
    let worker = killable(stuck.clone(), listener);
    let remote = RemoteLevel::connect(&address.to_string(), RemoteOptions::default()).await;
    let remote = remote.expect("served");

    let caller = remote.clone();
    let running = tokio::spawn(async move { caller.verify(review(SOON)).await });
    assert!(stuck.has(1).await);
    let begun = Instant::now();
    worker.shutdown_background();
    match running.await.expect("no panic") {
        Err(Error::Unavailable(reason)) => assert!(reason.contains("127.0.0.1"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    let gone = remote.verify(review(SOON)).await;
    assert!(matches!(gone, Err(Error::Unavailable(_))), "{gone:?}");

    let listener = std::net::TcpListener::bind(address).expect("the same port");
    let worker = killable(Arc::new(scripted(1)), listener);
    let mut attempts = 0;
    while let Err(error) = remote.verify(review(SOON)).await {
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        attempts += 1;
        assert!(attempts < 50, "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.shutdown_background();
}
