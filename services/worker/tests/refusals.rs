//! What a worker does not start with: each refusal names the thing at fault.

mod workers;

use std::{fs, path::PathBuf, time::Duration};

use csd_worker::{Args, Settings, serve, settings::LevelSource};
use workers::{Worker, args, root};

/// Why a worker with these arguments does not start.
async fn refusal(args: Args) -> String {
    let settings = match Settings::resolve(&args) {
        Ok(settings) => settings,
        Err(error) => return error.to_string(),
    };
    let announce = |announcement: &_| panic!("it started: {announcement:?}");
    let served = serve(settings, announce, std::future::pending());
    let refused = tokio::time::timeout(Duration::from_secs(30), served).await;
    refused.expect("in time").expect_err("refused").to_string()
}

fn names(refusal: &str, parts: &[&str]) {
    for part in parts {
        assert!(
            refusal.contains(part),
            "{part:?} is not named in: {refusal}"
        );
    }
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[tokio::test]
async fn arguments() {
    names(
        &refusal(args("judge")).await,
        &["\"judge\"", "target, draft, mini, maxgram"],
    );

    let bad = |change: fn(&mut Args)| {
        let mut args = args("mini");
        change(&mut args);
        refusal(args)
    };
    names(
        &bad(|a| a.dtype = Some("f13".into())).await,
        &["dtype", "\"f13\"", "q8_0"],
    );
    names(
        &bad(|a| a.device = Some("tpu".into())).await,
        &["device", "\"tpu\"", "cpu"],
    );
    names(
        &bad(|a| a.device = Some("cuda:x".into())).await,
        &["device", "\"cuda:x\""],
    );
    names(
        &bad(|a| a.threads = Some(0)).await,
        &["threads", "at least 1"],
    );
    names(&bad(|a| a.queue = Some(0)).await, &["queue", "at least 1"]);
    names(
        &bad(|a| a.context = Some(1 << 30)).await,
        &["context", "at most"],
    );
    names(
        &bad(|a| a.listen = Some("nowhere".into())).await,
        &["listen", "\"nowhere\""],
    );
    names(
        &bad(|a| a.listen = Some("127.0.0.1:70000".into())).await,
        &["listen", "70000"],
    );
    names(
        &bad(|a| a.metrics = Some("nowhere".into())).await,
        &["metrics", "\"nowhere\""],
    );
    if !cfg!(feature = "cuda") {
        names(
            &bad(|a| a.device = Some("cuda:0".into())).await,
            &["device", "cuda"],
        );
    }
}

#[tokio::test]
async fn files() {
    let mut args = args("mini");
    args.cascade = Some("no/such/cascade.toml".into());
    names(&refusal(args.clone()).await, &["no/such/cascade.toml"]);

    let file = folder("refusals").join("cascade.toml");
    args.cascade = Some(file.clone());
    let level = |rest: &str| {
        let text = format!("name = \"x\"\n[[level]]\nname = \"mini\"\n{rest}\n");
        fs::write(&file, text).expect("written");
        refusal(args.clone())
    };
    names(
        &level("model = \"m\"\ncolour = \"red\"").await,
        &["cascade.toml", "colour"],
    );
    names(
        &level("model = \"m\"\ndtype = \"f13\"").await,
        &["cascade.toml", "f13"],
    );
    names(&level("model = \"nothing-here\"").await, &["nothing-here"]);
    names(&level("model = \".\"").await, &["config.json"]);

    let model = root().join("models/tiny/mini");
    let model = format!("model = {:?}", model.display().to_string());
    names(
        &level(&format!("{model}\nbigram = \"none.json\"")).await,
        &["none.json"],
    );
    fs::write(file.with_file_name("bad.json"), "{}").expect("written");
    names(
        &level(&format!("{model}\nbigram = \"bad.json\"")).await,
        &["bad.json", "bigram"],
    );
}

#[tokio::test]
async fn hardware_that_is_not_there() {
    let mut given = args("mini");
    given.emulate_forward_ms = vec![(1, 1.0)];
    names(
        &refusal(given.clone()).await,
        &["\"mini\"", "forward 1 ms", "--allow-emulation"],
    );
    given.emulate_round_trip_ms = Some(-1.0);
    given.allow_emulation = true;
    names(&refusal(given).await, &["round_trip_ms", "-1"]);

    // A file alone is not enough, and leave alone emulates nothing.
    let mut given = args("target");
    given.cascade = Some(root().join("config/emulated-paper.toml"));
    names(
        &refusal(given.clone()).await,
        &["\"target\"", "30 ms at 1 row", "CSD_ALLOW_EMULATION"],
    );
    given.allow_emulation = true;
    let settings = Settings::resolve(&given).expect("allowed");
    assert!(settings.emulation.is_some());
    given.cascade = None;
    let settings = Settings::resolve(&given).expect("settings");
    assert_eq!(settings.emulation, None);
}

#[tokio::test]
async fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut args = args("mini");
    args.listen = Some(address.clone());
    names(
        &refusal(args.clone()).await,
        &["listen", &address, "in use"],
    );

    drop(taken);
    let worker = Worker::start(&args).await;
    assert_eq!(worker.announced.address, format!("http://{address}"));
    names(&refusal(args).await, &["listen", &address, "in use"]);
    worker.ends().await;
}

#[tokio::test]
async fn an_end_before_the_model_is_loaded() {
    let settings = Settings::resolve(&args("target")).expect("settings");
    let announce = |announcement: &_| panic!("it started: {announcement:?}");
    let ended = tokio::time::timeout(
        Duration::from_secs(2),
        serve(settings, announce, std::future::ready(())),
    );
    ended.await.expect("at once").expect("in order");
}

#[test]
fn arguments_beat_the_file() {
    let given = Args {
        listen: Some("127.0.0.1:4".into()),
        metrics: Some("127.0.0.1:5".into()),
        model: Some("another".into()),
        dtype: Some("q8_0".into()),
        device: Some("cuda:1".into()),
        threads: Some(3),
        context: Some(99),
        cache_mib: Some(2),
        memory_mib: Some(3),
        queue: Some(7),
        ..args("target")
    };
    let settings = Settings::resolve(&given).expect("settings");
    assert_eq!((settings.name.as_str(), settings.queue), ("target", 7));
    assert_eq!(settings.listen, "127.0.0.1:4");
    let memory = settings
        .memory
        .map(|memory| (memory.bytes, memory.across_tenants));
    assert_eq!(memory, Some((3 << 20, false)));
    assert_eq!(settings.metrics, "127.0.0.1:5");
    let LevelSource::Neural {
        engine,
        assisted,
        bigram,
    } = settings.source
    else {
        panic!("a model")
    };
    assert_eq!(engine.model, PathBuf::from("another"));
    assert_eq!(engine.weights, csd_engine::Weights::Q8_0);
    assert_eq!(engine.device, csd_engine::Device::Cuda(1));
    assert_eq!((engine.threads, engine.context), (3, Some(99)));
    assert_eq!((engine.cache_bytes, engine.queue), (2 << 20, 7));
    assert!(assisted && bigram.is_some_and(|path| path.ends_with("models/tiny/bigram.json")));

    let plain = Settings::resolve(&args("target")).expect("settings");
    assert_eq!(plain.memory, None);
    let LevelSource::Neural { engine, .. } = plain.source else {
        panic!("a model")
    };
    assert!(engine.model.ends_with("models/tiny/target"));
    assert_eq!(
        (engine.weights, engine.threads),
        (csd_engine::Weights::F32, 2)
    );
}
