//! From settings to a running engine.

use std::{path::Path, sync::Arc, thread};

use csd_level::{Description, Kind};

use super::{
    Engine,
    gauges::{Counters, Observer},
    queue::Queue,
    scheduler::Scheduler,
    settings::{Device, Settings},
};
use crate::{
    checkpoint::Checkpoint,
    decoder::{
        backend::{Backend, Sequence},
        candle::Candle,
        cpu::Cpu,
        forward::Decoder,
    },
    error::{LoadError, Result},
};

/// Positions of a sequence that the cache must have room for at least.
const SHORTEST_CONTEXT: usize = 64;

impl Engine {
    /// Loads a model and starts its thread.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and what in it is missing, wrong or not served here, or the setting.
    pub fn load(settings: Settings) -> Result<Self> {
        Self::load_observed(settings, ())
    }

    /// The same; `observer` is told of every forward.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn load_observed(settings: Settings, observer: impl Observer + 'static) -> Result<Self> {
        let counters = Counters::new(observer);
        let checkpoint = Checkpoint::open(&settings.model)?;
        match settings.device {
            Device::Cpu => {
                let mut backend = Cpu::new(&checkpoint.config, settings.threads);
                let numerics = backend.numerics();
                start(settings, &checkpoint, backend, Some(numerics), counters)
            }
            Device::Cuda(index) => {
                let device = candle_core::Device::new_cuda(index).map_err(|error| {
                    let hint = match cfg!(feature = "cuda") {
                        true => "",
                        false => "; this build lacks the feature `cuda`",
                    };
                    let reason = format!("{}: {error}{hint}", settings.device);
                    setting("device", reason)
                })?;
                let backend = Candle::new(&checkpoint.config, device);
                start(settings, &checkpoint, backend, None, counters)
            }
        }
    }
}

fn start<B: Backend>(
    settings: Settings,
    checkpoint: &Checkpoint,
    backend: B,
    exact: Option<String>,
    counters: Counters,
) -> Result<Engine> {
    let context = context(&settings, checkpoint, &backend)?;
    let (decoder, fallbacks) = Decoder::load(checkpoint, settings.weights, backend)?;
    for fallback in &fallbacks {
        tracing::warn!(model = %settings.model.display(), "{fallback}");
    }
    let dtype = settings.weights.to_string();
    let model = checkpoint.fingerprint()?;
    let description = Description {
        name: settings.name.clone(),
        kind: Kind::Neural,
        model: model_name(&settings.model),
        vocabulary: checkpoint.tokens.vocabulary,
        token_map: checkpoint.tokens.fingerprint.clone(),
        context,
        rows: settings.cheap_rows(),
        numerics: match &exact {
            Some(numerics) => format!("{numerics}-{dtype}-{model}"),
            None => format!("inexact-{dtype}-{model}"),
        },
        dtype,
        fallbacks,
        device: settings.device.to_string(),
        exact: exact.is_some(),
        assisted: false,
        remembers: false,
        end_tokens: checkpoint.config.end_tokens.clone(),
        emulation: None,
    };
    let queue = Arc::new(Queue::new(settings.queue));
    let counters = Arc::new(counters);
    let weight_bytes = decoder.weight_bytes();
    let scheduler = Scheduler::new(
        decoder,
        description.vocabulary,
        settings.cache_bytes,
        settings.forward_times,
        queue.clone(),
        counters.clone(),
    );
    let thread = thread::Builder::new()
        .name(format!("csd-engine-{}", settings.name))
        .spawn(move || scheduler.run())
        .map_err(|error| setting("threads", format!("the system refuses a thread: {error}")))?;
    Ok(Engine {
        description: Arc::new(description),
        queue,
        counters,
        thread: Some(thread),
        cache_limit: settings.cache_bytes,
        weight_bytes,
    })
}

/// The positions of a sequence: what is asked for, or as many as the model and the cache have room for.
fn context<B: Backend>(settings: &Settings, checkpoint: &Checkpoint, backend: &B) -> Result<usize> {
    let config = &checkpoint.config;
    let sequence = backend.cache();
    let fits = |positions: usize| sequence.bytes_for(positions) <= settings.cache_bytes;
    let context = match settings.context {
        Some(context) if context < 2 => {
            let reason = format!("expected at least 2 positions, found {context}");
            return Err(setting("context", reason));
        }
        Some(context) if context > config.context => {
            let reason = format!(
                "expected at most the model's {} positions, found {context}",
                config.context
            );
            return Err(setting("context", reason));
        }
        Some(context) => context,
        None => {
            let mut context = config.context;
            while !fits(context) && context > SHORTEST_CONTEXT {
                context = (context / 2).max(SHORTEST_CONTEXT);
            }
            context
        }
    };
    if !fits(context) {
        let reason = format!(
            "expected at least the {} bytes of one sequence of {context} positions, found {}",
            sequence.bytes_for(context),
            settings.cache_bytes
        );
        return Err(setting("cache_bytes", reason));
    }
    match config.window {
        Some(window) if window < context => Err(LoadError::unsupported(
            &checkpoint.path,
            "sliding_window",
            format!(
                "attention over the last {window} positions alone would need a cache that cannot be cut back; set the \
                 context to at most {window} to serve the model without"
            ),
        )),
        _ => Ok(context),
    }
}

fn model_name(path: &Path) -> String {
    let name = match path.is_dir() {
        true => path.file_name(),
        false => path.file_stem(),
    };
    name.unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn setting(setting: &'static str, reason: String) -> LoadError {
    LoadError::Setting { setting, reason }
}
