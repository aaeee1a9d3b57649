//! The same logits as candle's own models, on checkpoints that others' code wrote, and as the recorded ones.

use std::fs::{self, File};

use candle_core::{DType, Device, Tensor, quantized::gguf_file::Content};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    llama, mistral, quantized_llama, quantized_qwen2, quantized_qwen3, qwen2, qwen3,
};
use csd_level::Token;
use serde_json::{Value, json};

use super::{Lab, path};
use crate::checkpoint::{Checkpoint, weights::Weights};

const TOKENS: [Token; 12] = [5, 17, 3, 88, 41, 41, 9, 60, 2, 93, 17, 3];

fn variables(name: &str) -> VarBuilder<'static> {
    let mut files: Vec<_> = fs::read_dir(path(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "safetensors"))
        .collect();
    files.sort();
    let mut tensors = std::collections::HashMap::new();
    for file in files {
        tensors.extend(candle_core::safetensors::load(file, &Device::Cpu).unwrap());
    }
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

fn config<T: serde::de::DeserializeOwned>(name: &str, more: &Value) -> T {
    let text = fs::read(path(name).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    serde_json::from_value(config).unwrap()
}

fn input() -> Tensor {
    Tensor::new(&TOKENS[..], &Device::Cpu)
        .unwrap()
        .unsqueeze(0)
        .unwrap()
}

/// The last row, for models that give a batch, or a batch of sequences.
fn last(logits: Tensor) -> Vec<f32> {
    let logits = logits.flatten_all().unwrap().to_vec1().unwrap();
    logits[logits.len() - 100..].to_vec()
}

/// The largest difference, as a share of the spread of the expected logits.
fn distance(ours: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(ours.len(), expected.len());
    let mean = expected.iter().sum::<f32>() / expected.len() as f32;
    let variance = expected.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / expected.len() as f32;
    let pairs = ours.iter().zip(expected);
    let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    most / variance.sqrt()
}

fn assert_close(name: &str, weights: Weights, expected: &[f32], tolerance: f32) {
    let ours = Lab::new(name, weights, 1).logits(&TOKENS);
    let distance = distance(&ours[TOKENS.len() - 1], expected);
    assert!(distance < tolerance, "{name} {weights}: {distance} apart");
}

#[test]
fn llama_with_stretched_rope_grouped_heads_and_a_head_of_its_own() {
    let config: llama::LlamaConfig = config("llama", &json!({}));
    let config = config.into_config(false);
    let model = llama::Llama::load(variables("llama"), &config).unwrap();
    let mut cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
    let expected = last(model.forward(&input(), 0, &mut cache).unwrap());
    assert_close("llama", Weights::F32, &expected, 1e-4);
    assert_close("llama", Weights::Q8_0, &expected, 0.1);
}

#[test]
fn mistral_in_two_files_with_heads_of_their_own_size() {
    let config: mistral::Config = config("mistral", &json!({ "use_flash_attn": false }));
    let mut model = mistral::Model::new(&config, variables("mistral")).unwrap();
    let expected = last(model.forward(&input(), 0).unwrap());
    assert_close("mistral", Weights::F32, &expected, 1e-4);
}

#[test]
fn qwen2_with_biases() {
    let config: qwen2::Config = config("qwen2", &json!({}));
    let mut model = qwen2::ModelForCausalLM::new(&config, variables("qwen2")).unwrap();
    let expected = last(model.forward(&input(), 0).unwrap());
    assert_close("qwen2", Weights::F32, &expected, 1e-4);
}

#[test]
fn qwen3_with_normed_heads() {
    let more =
        json!({ "attention_bias": false, "max_window_layers": 2, "use_sliding_window": false });
    let config: qwen3::Config = config("qwen3", &more);
    let mut model = qwen3::ModelForCausalLM::new(&config, variables("qwen3")).unwrap();
    let expected = last(model.forward(&input(), 0).unwrap());
    assert_close("qwen3", Weights::F32, &expected, 1e-4);
}

/// candle's quantised models quantise activations, too, in blocks and steps of their own. The sharp check of what was
/// read is ours in 32-bit floats against theirs; random 4-bit weights then magnify the coarser steps of our products.
fn assert_gguf(name: &str, weights: Weights, expected: &[f32], kept: bool) {
    assert_close(name, Weights::F32, expected, 0.1);
    assert_close(name, weights, expected, 0.5);
    let lab = Lab::new(name, weights, 1);
    assert_eq!(lab.fallbacks.is_empty(), kept, "{:?}", lab.fallbacks);
}

#[test]
fn llama_q8_0_from_gguf() {
    let mut file = File::open(path("llama-q8_0.gguf")).unwrap();
    let content = Content::read(&mut file).unwrap();
    let mut model =
        quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let expected = last(model.forward(&input(), 0).unwrap());
    assert_gguf("llama-q8_0.gguf", Weights::Q8_0, &expected, true);
}

#[test]
fn qwen2_q4_0_from_gguf() {
    let mut file = File::open(path("qwen2-q4_0.gguf")).unwrap();
    let content = Content::read(&mut file).unwrap();
    let mut model =
        quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let expected = last(model.forward(&input(), 0).unwrap());
    assert_gguf("qwen2-q4_0.gguf", Weights::Q8_0, &expected, false);
}

#[test]
fn qwen3_q4_k_and_q6_k_from_gguf() {
    let mut file = File::open(path("qwen3-q4_k.gguf")).unwrap();
    let content = Content::read(&mut file).unwrap();
    let mut model =
        quantized_qwen3::ModelWeights::from_gguf(content, &mut file, &Device::Cpu).unwrap();
    let expected = last(model.forward(&input(), 0).unwrap());
    assert_gguf("qwen3-q4_k.gguf", Weights::Q4K, &expected, false);
}

#[test]
fn a_gguf_file_and_a_folder_of_one_model_agree() {
    let folder = Checkpoint::open(&path("llama")).unwrap();
    let file = Checkpoint::open(&path("llama-f16.gguf")).unwrap();
    assert_eq!(folder.tokens, file.tokens);
    assert_eq!(folder.tokens.vocabulary, 96);
    assert_eq!(folder.config.end_tokens, [94, 95]);
    assert_eq!(folder.config.end_tokens, file.config.end_tokens);
    let expected = Lab::new("llama", Weights::F32, 1).logits(&TOKENS);
    let ours = Lab::new("llama-f16.gguf", Weights::F32, 1).logits(&TOKENS);
    for (ours, expected) in ours.iter().zip(&expected) {
        assert!(distance(ours, expected) < 1e-4);
    }
}

#[test]
fn the_bundled_models_have_the_recorded_logits() {
    let text = fs::read_to_string(path("golden.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let recorded: Vec<Value> = lines
        .filter(|line| line["last_logits_first8"].is_object())
        .take(2)
        .collect();
    assert!(!recorded.is_empty());
    for line in recorded {
        let ids = |field: &str| serde_json::from_value::<Vec<Token>>(line[field].clone()).unwrap();
        let tokens = [ids("prompt_ids"), ids("greedy")].concat();
        for (model, expected) in line["last_logits_first8"].as_object().unwrap() {
            let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
            let mut lab = Lab::new(&format!("tiny/{model}"), Weights::F32, 1);
            let ours = &lab.logits(&tokens)[tokens.len() - 1][..8];
            for (ours, expected) in ours.iter().zip(&expected) {
                assert!(
                    (ours - expected).abs() < 2e-3,
                    "{model}: {ours}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn the_back_end_on_candle_computes_the_same() {
    use crate::decoder::{
        backend::{Backend, Batch, Sequence},
        candle::Candle,
        forward::Decoder,
    };
    let device = match cfg!(feature = "cuda") {
        true => Device::new_cuda(0).expect("tests with the feature `cuda` want a device"),
        false => Device::Cpu,
    };
    for (name, weights, tolerance) in [
        ("llama", Weights::F32, 1e-4),
        ("mistral", Weights::F32, 1e-4),
        ("qwen2", Weights::Q8_0, 0.1),
        ("qwen3", Weights::F32, 1e-4),
        ("qwen3-q4_k.gguf", Weights::Q4K, 0.5),
    ] {
        let checkpoint = Checkpoint::open(&path(name)).unwrap();
        let backend = Candle::new(&checkpoint.config, device.clone());
        let (mut decoder, _) = Decoder::load(&checkpoint, weights, backend).unwrap();
        let mut cache = decoder.backend.cache();
        let mut forward =
            |cache: &mut <Candle as Backend>::Cache, from: usize, tokens: &[Token]| {
                let batch = Batch {
                    tokens: tokens.to_vec(),
                    places: (from..from + tokens.len())
                        .map(|position| (0, position))
                        .collect(),
                    wanted: vec![tokens.len() - 1],
                };
                decoder.forward(&batch, &mut [cache]).unwrap().to_vec()
            };
        // A prompt, a wrong draft cut back, a fork that goes its own way, and the rest.
        forward(&mut cache, 0, &TOKENS[..5]);
        forward(&mut cache, 5, &[1, 2, 3]);
        forward(&mut cache.fork(5), 5, &[7, 7]);
        let ours = forward(&mut cache, 5, &TOKENS[5..]);
        let expected = Lab::new(name, weights, 1).logits(&TOKENS);
        let distance = distance(&ours, &expected[TOKENS.len() - 1]);
        assert!(distance < tolerance, "{name} {weights}: {distance} apart");
    }
}
