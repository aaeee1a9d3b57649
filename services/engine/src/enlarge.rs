//! The same function at a larger cost: a checkpoint enlarged so that its logits stay what they were.
//!
//! For measurements: weights are real bytes to read and real products to form, so time and memory are those of the
//! larger shape, and the text is still that of the small model. Four times as wide (a power of four keeps the correction
//! of the norms exact in bf16): new dimensions of the residual stream stay zero for ever, because the rows of embedding,
//! attention output and down projection that would feed them are zero; columns that read them hold noise, multiplied by
//! zero; norm weights are halved, their epsilon divided by four. Four times the heads, in groups as before: the columns
//! of the attention output that read the new ones are zero. A wider feed-forward network: the new neurons' columns of
//! the down projection are zero. Deeper: further layers with zero attention output and down projection.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use half::bf16;
use serde_json::{Map, Value, json};

use crate::{
    checkpoint::{
        Checkpoint,
        config::{Architecture, Config},
        huggingface::read_json,
        part::{Naming, Part, Piece},
    },
    error::{LoadError, Result},
};

/// How many times wider the residual stream becomes, and how many times more heads there are.
const WIDER: usize = 4;
/// The spread of the noise that is multiplied by zero.
const SPREAD: f32 = 0.02;

/// What [`enlarge`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlarged {
    /// Numbers in all tensors.
    pub parameters: u64,
    /// Bytes of the file of tensors.
    pub bytes: u64,
}

/// Enlarges the bf16 Llama checkpoint in the folder `from` into the folder `to`, which is made if need be: `layers`
/// layers with a feed-forward network `ffn` wide. `progress` hears of bytes written and bytes in all.
///
/// # Errors
/// [`LoadError`] when the source is no such checkpoint, is larger than what is asked for, or a file cannot be written.
pub fn enlarge(
    from: &Path,
    to: &Path,
    layers: usize,
    ffn: usize,
    mut progress: impl FnMut(u64, u64),
) -> Result<Enlarged> {
    if let (Ok(from), Ok(to)) = (from.canonicalize(), to.canonicalize())
        && from == to
    {
        let reason = "expected another folder than the source".into();
        return Err(LoadError::Setting {
            setting: "to",
            reason,
        });
    }
    let source = Checkpoint::open(from)?;
    let small = &source.config;
    check(from, small, layers, ffn)?;
    let large = Config {
        hidden: small.hidden * WIDER,
        heads: small.heads * WIDER,
        kv_heads: small.kv_heads * WIDER,
        layers,
        ffn,
        ..small.clone()
    };
    fs::create_dir_all(to).map_err(|error| LoadError::write(to, error))?;
    copy_others(from, to)?;
    write_config(from, to, &large)?;

    let plan = plan(small, &large);
    let path = to.join("model.safetensors");
    let failed = |error| LoadError::write(&path, error);
    let unfinished = to.join("model.safetensors.part");
    let file = File::create(&unfinished).map_err(failed)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let (header, bytes) = header(&plan);
    file.write_all(&header).map_err(failed)?;
    let (mut noise, mut written) = (Noise(0), 0);
    for tensor in &plan {
        tensor.write(&source, &mut noise, |row| {
            file.write_all(row).map_err(failed)
        })?;
        written += tensor.bytes();
        progress(written, bytes);
    }
    file.flush().map_err(failed)?;
    drop(file);
    fs::rename(&unfinished, &path).map_err(failed)?;
    Ok(Enlarged {
        parameters: bytes / 2,
        bytes: bytes + header.len() as u64,
    })
}

fn check(from: &Path, small: &Config, layers: usize, ffn: usize) -> Result<()> {
    if !from.is_dir() {
        let reason = "expected a Hugging Face folder";
        return Err(LoadError::malformed(from, reason));
    }
    let plain = matches!(
        small.architecture,
        Architecture::Llama | Architecture::Mistral
    );
    if !plain || small.qkv_bias || small.output_bias || small.mlp_bias {
        let reason = "expected a Llama checkpoint without biases";
        return Err(LoadError::unsupported(from, "model_type", reason));
    }
    for (setting, least, asked) in [("layers", small.layers, layers), ("ffn", small.ffn, ffn)] {
        if asked < least {
            let reason = format!("expected at least the model's own {least}, found {asked}");
            return Err(LoadError::Setting { setting, reason });
        }
    }
    Ok(())
}

/// What a number is where the source has none.
#[derive(Clone, Copy)]
enum Fill {
    Zero,
    Noise,
    One,
}

/// A tensor to be written.
struct Planned {
    part: Part,
    layer: usize,
    /// The layer of the source whose numbers stand in its first rows and columns.
    source: usize,
    /// Rows and columns of the source; no rows where nothing is taken from it.
    from: [usize; 2],
    /// Rows and columns to write. Norms are one row.
    to: [usize; 2],
    fill: Fill,
}

/// All tensors in the order in which they are written.
fn plan(small: &Config, large: &Config) -> Vec<Planned> {
    let mut all = Vec::new();
    let mut add = |part, layer, rows: [usize; 2], columns: [usize; 2], fill| {
        let real = layer < small.layers || !matches!(part, Part::Output | Part::Down);
        all.push(Planned {
            part,
            layer,
            source: layer % small.layers,
            from: [if real { rows[0] } else { 0 }, columns[0]],
            to: [rows[1], columns[1]],
            fill,
        });
    };
    let both = |size: fn(&Config) -> usize| [size(small), size(large)];
    let hidden = both(|config| config.hidden);
    let query = both(Config::query_width);
    let kv = both(Config::kv_width);
    let ffn = both(|config| config.ffn);
    let words = both(|config| config.embeddings);
    add(Part::Embedding, 0, words, hidden, Fill::Zero);
    add(Part::FinalNorm, 0, [1, 1], hidden, Fill::One);
    if !small.tied {
        add(Part::Head, 0, words, hidden, Fill::Noise);
    }
    for layer in 0..large.layers {
        add(Part::AttentionNorm, layer, [1, 1], hidden, Fill::One);
        add(Part::Query, layer, query, hidden, Fill::Noise);
        add(Part::Key, layer, kv, hidden, Fill::Noise);
        add(Part::Value, layer, kv, hidden, Fill::Noise);
        add(Part::Output, layer, hidden, query, Fill::Zero);
        add(Part::MlpNorm, layer, [1, 1], hidden, Fill::One);
        add(Part::Gate, layer, ffn, hidden, Fill::Noise);
        add(Part::Up, layer, ffn, hidden, Fill::Noise);
        add(Part::Down, layer, hidden, ffn, Fill::Zero);
    }
    all
}

impl Planned {
    fn is_norm(&self) -> bool {
        matches!(self.fill, Fill::One)
    }

    fn name(&self, layer: usize) -> String {
        self.part.name(Naming::HuggingFace, layer, Piece::Weight)
    }

    fn bytes(&self) -> u64 {
        (self.to[0] * self.to[1] * size_of::<bf16>()) as u64
    }

    /// Hands the tensor on row by row, as little-endian bf16.
    fn write(
        &self,
        source: &Checkpoint,
        noise: &mut Noise,
        mut write: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let [rows, columns] = self.from;
        let shape = [rows, columns];
        let shape = if self.is_norm() {
            &shape[1..]
        } else {
            &shape[..]
        };
        let tensor = match rows {
            0 => None,
            _ => Some(source.tensor(self.part, self.source, Piece::Weight, shape)?),
        };
        let mut stored = tensor.as_ref().map(|tensor| source.rows(tensor));
        let mut small = vec![0.0; columns];
        let mut bytes = Vec::with_capacity(self.to[1] * size_of::<bf16>());
        for row in 0..self.to[0] {
            bytes.clear();
            let taken = match &mut stored {
                Some(stored) if row < rows => {
                    stored.read(row, &mut small)?;
                    columns
                }
                _ => 0,
            };
            let factor = if self.is_norm() { 0.5 } else { 1.0 };
            for value in &small[..taken] {
                bytes.extend(bf16::from_f32(value * factor).to_le_bytes());
            }
            for _ in taken..self.to[1] {
                let value = match self.fill {
                    Fill::Zero => bf16::ZERO,
                    Fill::One => bf16::ONE,
                    Fill::Noise => noise.next(),
                };
                bytes.extend(value.to_le_bytes());
            }
            write(&bytes)?;
        }
        Ok(())
    }
}

/// The header of a safetensors file, and the bytes of the tensors after it.
fn header(plan: &[Planned]) -> (Vec<u8>, u64) {
    let mut entries = Map::new();
    entries.insert("__metadata__".into(), json!({ "format": "pt" }));
    let mut end = 0;
    for tensor in plan {
        let start = end;
        end += tensor.bytes();
        let shape = if tensor.is_norm() {
            &tensor.to[1..]
        } else {
            &tensor.to[..]
        };
        let entry = json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] });
        entries.insert(tensor.name(tensor.layer), entry);
    }
    let mut text = Value::Object(entries).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.into_bytes());
    (bytes, end)
}

/// The source's `config.json` with the sizes of the larger shape.
fn write_config(from: &Path, to: &Path, large: &Config) -> Result<()> {
    let mut config: Map<String, Value> = read_json(&from.join("config.json"), 16 << 20)?;
    for (field, size) in [
        ("hidden_size", large.hidden),
        ("num_hidden_layers", large.layers),
        ("num_attention_heads", large.heads),
        ("num_key_value_heads", large.kv_heads),
        ("intermediate_size", large.ffn),
        ("head_dim", large.head_dim),
    ] {
        config.insert(field.into(), size.into());
    }
    let epsilon = config.get("rms_norm_eps").and_then(Value::as_f64);
    let epsilon = epsilon.unwrap_or_else(|| large.epsilon.into()) / WIDER as f64;
    config.insert("rms_norm_eps".into(), epsilon.into());
    config.remove("layer_types");
    let path = to.join("config.json");
    let text = format!("{:#}\n", Value::Object(config));
    fs::write(&path, text).map_err(|error| LoadError::write(&path, error))
}

/// Copies what is neither configuration nor tensors: tokenizer, chat template and their like.
fn copy_others(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| LoadError::read(from, error);
    for entry in fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default();
        let text = name.to_string_lossy();
        if !path.is_file() || text == "config.json" || text.contains(".safetensors") {
            continue;
        }
        let copy = to.join(name);
        fs::copy(&path, &copy).map_err(|error| LoadError::write(&copy, error))?;
    }
    Ok(())
}

/// Numbers around zero, the same in every run: a counter mixed by splitmix64, four 16-bit uniforms added up.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> bf16 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let sum: u64 = (0..4).map(|part| bits >> (16 * part) & 0xffff).sum();
        // Four uniforms on 0 .. 1 have the mean 2 and the variance 1/3.
        let value = (sum as f32 / 65_536.0 - 2.0) * 3f32.sqrt();
        bf16::from_f32(value * SPREAD)
    }
}
