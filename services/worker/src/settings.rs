//! What a worker is to do: the file's level, with what the command line and the environment change about it.

use std::path::{Path, PathBuf};

use csd_config::{Cascade, Emulation, Source, Tls};
use csd_engine::{ForwardTimes, UnknownDevice, UnknownWeights, Weights};
use csd_maxgram::Sharing;

use crate::{Args, Error};

/// Where a worker listens when nobody says where: at a free port, for this machine alone.
const ANY_PORT: &str = "127.0.0.1:0";

/// A checked worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its level's name.
    pub name: String,
    /// What it serves.
    pub source: LevelSource,
    /// What its Max-Gram remembers of texts that have ended, if it has one and it is to.
    pub memory: Option<Sharing>,
    /// `HOST:PORT`; port 0 picks a free one.
    pub listen: String,
    /// The same for `GET /metrics`.
    pub metrics: String,
    /// Calls at once, running or waiting; more are refused.
    pub queue: usize,
    /// Its certificates; without them it speaks plainly.
    pub tls: Tls,
    /// The hardware that it pretends to run on.
    pub emulation: Option<Emulation>,
}

/// What a worker serves.
#[derive(Clone, Debug, PartialEq)]
pub enum LevelSource {
    /// A model, with or without a Max-Gram beside it.
    Neural {
        /// The engine's part.
        engine: csd_engine::Settings,
        /// Whether a Max-Gram runs in the same process.
        assisted: bool,
        /// Its fallback table.
        bigram: Option<PathBuf>,
    },
    /// Max-Gram alone.
    MaxGram {
        /// A folder with the `tokenizer.json`, or a GGUF file, whose token ids it speaks.
        model: PathBuf,
        /// Its fallback table.
        bigram: Option<PathBuf>,
    },
}

impl Settings {
    /// Reads the cascade file and applies the arguments.
    ///
    /// # Errors
    /// [`Error`] naming the file and field, the level, or the argument.
    pub fn resolve(args: &Args) -> Result<Self, Error> {
        let cascade = match &args.cascade {
            Some(file) => Cascade::load(file)?,
            None => {
                let here = std::env::current_dir().map_err(Error::CurrentDirectory)?;
                Cascade::built_in(&here)?
            }
        };
        let names = || cascade.levels.iter().map(|level| level.name.clone());
        let unknown = || Error::UnknownLevel {
            name: args.level.clone(),
            levels: names().collect(),
        };
        let level = cascade.levels.iter().find(|level| level.name == args.level);
        let level = level.ok_or_else(unknown)?.clone();
        let queue = positive("queue", args.queue)?.unwrap_or(level.queue);
        let neural = matches!(level.source, Source::Neural { .. });
        let emulation = emulation(level.emulate, neural, args)?;
        if let Some(emulation) = &emulation
            && !args.allow_emulation
        {
            return Err(Error::Emulation {
                level: level.name,
                emulation: emulation.to_string(),
            });
        }
        let times = emulation
            .as_ref()
            .and_then(|emulation| ForwardTimes::new(emulation.forward()));
        Ok(Self {
            tls: args.tls.over(&cascade.tls),
            source: source(level.source, &level.name, queue, times, args)?,
            memory: memory(level.memory, args)?,
            listen: args
                .listen
                .clone()
                .or(level.listen)
                .unwrap_or_else(|| ANY_PORT.into()),
            metrics: args
                .metrics
                .clone()
                .or(level.metrics)
                .unwrap_or_else(|| ANY_PORT.into()),
            name: level.name,
            queue,
            emulation,
        })
    }
}

/// The file's emulation with what the arguments change about it.
fn emulation(
    file: Option<Emulation>,
    neural: bool,
    args: &Args,
) -> Result<Option<Emulation>, Error> {
    let round_trip = file.as_ref().map(Emulation::round_trip);
    let round_trip_ms = round_trip.unwrap_or_default().as_secs_f64() * 1e3;
    let round_trip_ms = args.emulate_round_trip_ms.unwrap_or(round_trip_ms);
    // What stands in an environment that all workers of a machine share means forwards of those that have some.
    let forward_ms: &[_] = if neural {
        &args.emulate_forward_ms
    } else {
        &[]
    };
    let emulation = match file {
        Some(file) if forward_ms.is_empty() => file.with_round_trip(round_trip_ms),
        _ => Emulation::new(forward_ms, round_trip_ms),
    };
    let emulation = emulation.map_err(|error| Error::setting(error.field, error.reason))?;
    Ok(Some(emulation).filter(|emulation| !emulation.is_nothing()))
}

fn source(
    file: Source,
    name: &str,
    queue: usize,
    forward_times: Option<ForwardTimes>,
    args: &Args,
) -> Result<LevelSource, Error> {
    let other = |model: PathBuf| args.model.clone().unwrap_or(model);
    match file {
        Source::Neural {
            model,
            weights,
            device,
            threads,
            rows,
            context,
            cache_bytes,
            assisted,
            bigram,
        } => {
            let cache =
                positive("cache-mib", args.cache_mib)?.map(|mib| mib.saturating_mul(1 << 20));
            let device = args.device.as_ref().unwrap_or(&device).parse();
            let unknown_device = |error: UnknownDevice| Error::setting("device", error.to_string());
            let engine = csd_engine::Settings {
                weights: match &args.dtype {
                    Some(dtype) => dtype.parse().map_err(|error: UnknownWeights| {
                        Error::setting("dtype", error.to_string())
                    })?,
                    None => match weights {
                        csd_config::Weights::F32 => Weights::F32,
                        csd_config::Weights::Bf16 => Weights::Bf16,
                        csd_config::Weights::Q8_0 => Weights::Q8_0,
                        csd_config::Weights::Q4K => Weights::Q4K,
                    },
                },
                device: device.map_err(unknown_device)?,
                threads: positive("threads", args.threads)?.unwrap_or(threads),
                rows,
                context: positive("context", args.context)?.or(context),
                cache_bytes: cache.unwrap_or(cache_bytes),
                queue,
                forward_times,
                ..csd_engine::Settings::new(name, other(model))
            };
            Ok(LevelSource::Neural {
                engine,
                assisted,
                bigram,
            })
        }
        // Settings of models may stand in an environment that all workers of a machine share.
        Source::MaxGram { model, bigram } => Ok(LevelSource::MaxGram {
            model: other(model),
            bigram,
        }),
    }
}

/// The file's memory, with the arguments' size.
fn memory(file: Option<csd_config::Memory>, args: &Args) -> Result<Option<Sharing>, Error> {
    let given = positive("memory-mib", args.memory_mib)?.map(|mib| mib.saturating_mul(1 << 20));
    let bytes = given.or(file.map(|file| file.bytes));
    Ok(bytes.map(|bytes| Sharing {
        bytes,
        across_tenants: file.is_some_and(|file| file.across_tenants),
    }))
}

fn positive(setting: &'static str, value: Option<usize>) -> Result<Option<usize>, Error> {
    match value {
        Some(0) => Err(Error::setting(setting, "must be at least 1")),
        value => Ok(value),
    }
}

impl LevelSource {
    /// The model, for the log.
    pub fn model(&self) -> &Path {
        match self {
            Self::Neural { engine, .. } => &engine.model,
            Self::MaxGram { model, .. } => model,
        }
    }
}
