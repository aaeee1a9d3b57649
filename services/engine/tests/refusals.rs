//! Files that are damaged, hostile, or of a sort that is not served: a clear error, never a panic.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use csd_engine::{Checkpoint, Engine, LoadError, Settings, Weights};
use serde_json::{Value, json};

use support::fixture;

/// A copy of a fixture that a test may damage; gone when the test is over.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str, test: &str) -> Self {
        let to = std::env::temp_dir().join(format!("csd-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to).expect("a temporary folder");
        let from = fixture(name);
        if from.is_file() {
            fs::copy(&from, to.join(name)).expect("a copy");
        } else {
            for entry in fs::read_dir(from).expect("a fixture") {
                let path = entry.expect("a file").path();
                let name = path.file_name().expect("a name");
                fs::copy(&path, to.join(name)).expect("a copy");
            }
        }
        Self(to)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Changes fields of `config.json`.
    fn configure(&self, fields: Value) {
        let path = self.path("config.json");
        let text = fs::read(&path).expect("a configuration");
        let mut config: Value = serde_json::from_slice(&text).expect("a configuration");
        let fields = fields.as_object().expect("fields").clone();
        config.as_object_mut().expect("fields").extend(fields);
        fs::write(path, config.to_string()).expect("a written file");
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(path: &Path) -> Result<Engine, LoadError> {
    Engine::load(Settings::new("target", path))
}

fn refused(path: &Path) -> String {
    load(path).expect_err("a refusal").to_string()
}

/// Numbers that look random and are the same in every run.
fn scramble(seed: u64) -> u64 {
    let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits ^ (bits >> 27)
}

#[test]
fn configurations_that_do_not_fit_are_refused_by_name() {
    let cases = [
        (json!({ "model_type": "gpt2" }), "model_type"),
        (json!({ "hidden_act": "gelu" }), "hidden_act"),
        (json!({ "hidden_size": 0 }), "hidden_size"),
        (json!({ "hidden_size": 65 }), "embed_tokens"),
        (json!({ "hidden_size": -3 }), "invalid value"),
        (json!({ "intermediate_size": 128 }), "gate_proj"),
        (json!({ "num_attention_heads": 0 }), "num_attention_heads"),
        (json!({ "num_key_value_heads": 3 }), "num_key_value_heads"),
        (json!({ "num_hidden_layers": 3 }), "model.layers.2"),
        (
            json!({ "num_hidden_layers": 200_000_000 }),
            "num_hidden_layers",
        ),
        (json!({ "vocab_size": 90 }), "vocab_size"),
        (json!({ "head_dim": 15 }), "head_dim"),
        (json!({ "head_dim": 268_435_456 }), "head_dim"),
        (
            json!({ "max_position_embeddings": 0 }),
            "max_position_embeddings",
        ),
        (json!({ "rms_norm_eps": -1.0 }), "rms_norm_eps"),
        (json!({ "rope_theta": 0.0 }), "rope_theta"),
        (
            json!({ "rope_scaling": { "rope_type": "yarn", "factor": 4.0 } }),
            "yarn",
        ),
        (
            json!({ "rope_scaling": { "type": "linear", "factor": 0.0 } }),
            "factor",
        ),
        (json!({ "sliding_window": 32 }), "sliding_window"),
        (
            json!({ "quantization_config": { "bits": 4 } }),
            "quantization_config",
        ),
        (json!({ "attention_bias": true }), "q_proj.bias is missing"),
    ];
    let copy = Copy::of("llama", "configurations");
    let original = fs::read(copy.path("config.json")).unwrap();
    for (fields, named) in cases {
        fs::write(copy.path("config.json"), &original).unwrap();
        copy.configure(fields.clone());
        let error = refused(&copy.0);
        assert!(error.contains(named), "{fields}: {error}");
    }
    fs::write(copy.path("config.json"), &original).unwrap();
    copy.configure(json!({ "max_position_embeddings": 200_000_000 }));
    let engine = load(&copy.0).unwrap();
    let limit = csd_level::Level::description(&engine).context;
    assert!(
        limit < 2_000_000,
        "no more positions than the cache has room for: {limit}"
    );
}

#[test]
fn missing_files_and_tensors_are_named() {
    for (file, named) in [
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("model-00002-of-00002.safetensors", "model-00002"),
    ] {
        let copy = Copy::of("mistral", "missing");
        fs::remove_file(copy.path(file)).unwrap();
        assert!(refused(&copy.0).contains(named));
    }
    let copy = Copy::of("mistral", "index");
    let index = copy.path("model.safetensors.index.json");
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("lm_head.weight", "lm_foot.weight")).unwrap();
    assert!(refused(&copy.0).contains("lm_foot.weight"));
    fs::write(&index, text.replace("model-00001", "../model-00001")).unwrap();
    assert!(refused(&copy.0).contains("weight_map"));
    assert!(refused(Path::new("nowhere/at/all")).contains("nowhere"));
}

#[test]
fn truncated_files_are_refused() {
    for (name, file) in [
        ("llama", "model.safetensors"),
        ("llama", "tokenizer.json"),
        ("llama-f16.gguf", "llama-f16.gguf"),
        ("qwen3-q4_k.gguf", "qwen3-q4_k.gguf"),
    ] {
        let copy = Copy::of(name, "truncated");
        let path = copy.path(file);
        let whole = fs::read(&path).unwrap();
        let model = if name == file { &path } else { &copy.0 };
        let early = (0..64).chain([100, 1000, 2000, 3000, 4000, 5000]);
        // A file may end in padding, so the last cut takes more than that.
        for len in early.chain([whole.len() / 2, whole.len() - 64]) {
            if len < whole.len() {
                fs::write(&path, &whole[..len]).unwrap();
                let error = refused(model);
                assert!(error.contains(file), "cut to {len}: {error}");
            }
        }
    }
}

#[test]
fn damaged_headers_never_panic() {
    let mut refusals = 0;
    for (name, file, header) in [
        ("llama", "model.safetensors", 2600),
        ("llama", "config.json", 480),
        ("llama", "tokenizer.json", 1200),
        ("llama-q8_0.gguf", "llama-q8_0.gguf", 4000),
    ] {
        let copy = Copy::of(name, "damaged");
        let path = copy.path(file);
        let whole = fs::read(&path).unwrap();
        let model = if name == file { &path } else { &copy.0 };
        for seed in 0..250 {
            let mut damaged = whole.clone();
            for change in 0..=seed % 3 {
                let bits = scramble(seed * 10 + change);
                damaged[bits as usize % header.min(whole.len())] = (bits >> 40) as u8;
            }
            fs::write(&path, damaged).unwrap();
            refusals += usize::from(load(model).is_err());
        }
    }
    assert!(refusals > 300, "only {refusals} were refused");
}

/// Puts a number into a GGUF header, a number of bytes after the first place where `key` stands.
fn lie(whole: &[u8], key: &str, after: usize, lie: &[u8]) -> Vec<u8> {
    let at = whole
        .windows(key.len())
        .position(|window| window == key.as_bytes())
        .expect("the key stands in the header");
    let mut lying = whole.to_vec();
    lying[at + key.len() + after..][..lie.len()].copy_from_slice(lie);
    lying
}

#[test]
fn a_gguf_file_with_a_lying_header_is_refused() {
    let copy = Copy::of("llama-q8_0.gguf", "lying");
    let path = copy.path("llama-q8_0.gguf");
    let whole = fs::read(&path).unwrap();
    let most = u64::MAX.to_le_bytes();
    let huge = (1u64 << 62).to_le_bytes();
    let with = |at: usize, lie: &[u8]| {
        let mut lying = whole.clone();
        lying[at..][..lie.len()].copy_from_slice(lie);
        lying
    };
    let cases = [
        ("magic", with(0, b"GGML")),
        ("version", with(4, &9u32.to_le_bytes())),
        ("tensors announced", with(8, &most)),
        ("metadata values announced", with(16, &most)),
        ("bytes of text announced", with(24, &huge)),
        (
            "tokens announced",
            lie(&whole, "tokenizer.ggml.tokens", 8, &huge),
        ),
        (
            "layers",
            lie(&whole, "llama.block_count", 4, &77u32.to_le_bytes()),
        ),
        (
            "embedding_length",
            lie(&whole, "llama.embedding_length", 0, &8u32.to_le_bytes()),
        ),
        (
            "token_embd.weight",
            lie(&whole, "token_embd.weight", 4, &most),
        ),
        (
            "token_embd.weight",
            lie(&whole, "token_embd.weight", 4, &huge),
        ),
        (
            "dimensions",
            lie(&whole, "token_embd.weight", 0, &99u32.to_le_bytes()),
        ),
        (
            "type 77",
            lie(&whole, "token_embd.weight", 20, &77u32.to_le_bytes()),
        ),
        (
            "token_embd.weight",
            lie(&whole, "token_embd.weight", 24, &most),
        ),
        (
            "head_count",
            lie(&whole, "llama.attention.head_count", 4, &0u32.to_le_bytes()),
        ),
    ];
    for (named, lying) in cases {
        fs::write(&path, lying).unwrap();
        let error = refused(&path);
        let named = match named {
            "layers" => ["block_count", "num_hidden_layers", "blk.2"]
                .iter()
                .any(|n| error.contains(n)),
            "head_count" => error.contains("head"),
            named => error.contains(named),
        };
        assert!(named, "{error}");
    }
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let settings = || Settings::new("target", fixture("llama"));
    let refused = |settings: Settings| Engine::load(settings).expect_err("a refusal").to_string();
    assert!(
        refused(Settings {
            context: Some(1000),
            ..settings()
        })
        .contains("256")
    );
    assert!(
        refused(Settings {
            context: Some(1),
            ..settings()
        })
        .contains("context")
    );
    assert!(
        refused(Settings {
            cache_bytes: 1000,
            ..settings()
        })
        .contains("cache_bytes")
    );
    if cfg!(not(feature = "cuda")) {
        let device = csd_engine::Device::Cuda(0);
        assert!(
            refused(Settings {
                device,
                ..settings()
            })
            .contains("cuda:0")
        );
    }
    let sliding = Copy::of("mistral", "sliding");
    sliding.configure(json!({ "sliding_window": 32 }));
    let within = Settings {
        context: Some(32),
        ..Settings::new("target", &sliding.0)
    };
    assert!(Engine::load(within.clone()).is_ok());
    assert!(
        refused(Settings {
            context: Some(33),
            ..within
        })
        .contains("sliding_window")
    );
}

#[test]
fn weights_that_do_not_fit_their_blocks_fall_back() {
    let load = |weights| {
        let settings = Settings {
            weights,
            ..Settings::new("target", fixture("llama"))
        };
        csd_level::Level::description(&Engine::load(settings).expect("a model"))
    };
    let described = load(Weights::Q4K);
    assert_eq!(described.dtype, "q4_k");
    assert!(!described.fallbacks.is_empty());
    assert!(
        described.fallbacks.iter().all(|line| line.contains("q8_0")),
        "{:?}",
        described.fallbacks
    );
    assert!(load(Weights::Q8_0).fallbacks.is_empty());
    let open = Checkpoint::open(&fixture("llama")).unwrap();
    assert_ne!(load(Weights::F32).numerics, load(Weights::Q8_0).numerics);
    assert_eq!(load(Weights::F32).token_map, open.tokens.fingerprint);
}
