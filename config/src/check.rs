//! From the raw file to the checked one: every number in its range, every name known, every path resolved.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Emulation,
    cascade::{Cascade, Error, Level, Limits, Memory, Plan, Source, Tls, Weights},
    raw,
};

/// Turns the raw file into the checked one.
pub(crate) struct Check<'a> {
    pub(crate) origin: &'a str,
    pub(crate) folder: &'a Path,
}

impl Check<'_> {
    fn invalid(&self, field: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Invalid {
            origin: self.origin.into(),
            field: field.into(),
            reason: reason.into(),
        }
    }

    fn path(&self, path: PathBuf) -> PathBuf {
        self.folder.join(path)
    }

    pub(crate) fn cascade(&self, file: raw::File) -> Result<Cascade, Error> {
        let mut names = HashSet::new();
        if let Some(twice) = file
            .levels
            .iter()
            .find(|level| !names.insert(level.name.clone()))
        {
            return Err(self.invalid(
                "level.name",
                format!("two levels are named {:?}", twice.name),
            ));
        }
        if file.levels.len() > 16 {
            return Err(self.invalid("level", "a cascade has at most 16 levels"));
        }
        let last = file.levels.len().wrapping_sub(1);
        for (index, level) in file.levels.iter().enumerate() {
            let statistical = matches!(level.kind, raw::Kind::Maxgram);
            if statistical && (index == 0 || index != last) {
                let reason = "maxgram stands last, under at least one neural level: it drafts and never reviews";
                return Err(self.invalid(format!("level {:?}.kind", level.name), reason));
            }
        }
        if file.levels.is_empty() {
            return Err(self.invalid(
                "level",
                "a cascade needs at least its target: add a [[level]]",
            ));
        }
        let levels = file
            .levels
            .into_iter()
            .enumerate()
            .map(|(index, level)| self.level(index, level))
            .collect::<Result<_, _>>()?;
        Ok(Cascade {
            name: file.name,
            tokenizer: file.tokenizer.map(|path| self.path(path)),
            listen: file.listen,
            plan: self.plan(file.plan)?,
            limits: self.limits(&file.limits)?,
            tls: Tls {
                ca: file.tls.ca.map(|path| self.path(path)),
                certificate: file.tls.certificate.map(|path| self.path(path)),
                key: file.tls.key.map(|path| self.path(path)),
            },
            levels,
        })
    }

    fn plan(&self, plan: Option<raw::Plan>) -> Result<Plan, Error> {
        let Some(raw::Plan {
            preset,
            k,
            lenience,
            pipelined,
        }) = plan
        else {
            return Ok(Plan::Off);
        };
        match (preset, k) {
            (Some(name), None) if lenience.is_none() && pipelined.is_none() => {
                Ok(Plan::Preset(name))
            }
            (None, Some(k)) => Ok(Plan::Matrix {
                k,
                lenience: lenience.unwrap_or(1.0),
                pipelined: pipelined.unwrap_or(false),
            }),
            (None, None) => Ok(Plan::Off),
            _ => Err(self.invalid("plan", "give either preset, or k, lenience and pipelined")),
        }
    }

    fn limits(&self, raw: &raw::Limits) -> Result<Limits, Error> {
        let positive = |field: &str, value: u64| {
            if value == 0 {
                Err(self.invalid(format!("limits.{field}"), "must be at least 1"))
            } else {
                Ok(value)
            }
        };
        let millis = |field: &str, value: Option<u64>, default: u64| {
            positive(field, value.unwrap_or(default)).map(Duration::from_millis)
        };
        Ok(Limits {
            draft_timeout: millis("draft_timeout_ms", raw.draft_timeout_ms, 500)?,
            verify_timeout: millis("verify_timeout_ms", raw.verify_timeout_ms, 60_000)?,
            concurrent_requests: positive(
                "concurrent_requests",
                raw.concurrent_requests.unwrap_or(32) as u64,
            )? as usize,
            waiting_requests: raw.waiting_requests.unwrap_or(128),
            body_bytes: positive("body_bytes", raw.body_bytes.unwrap_or(4 << 20) as u64)? as usize,
        })
    }

    fn level(&self, index: usize, raw: raw::Level) -> Result<Level, Error> {
        let field = |name: &str| format!("level {:?}.{name}", raw.name);
        let positive = |name: &str, value: usize| {
            if value == 0 {
                Err(self.invalid(field(name), "must be at least 1"))
            } else {
                Ok(value)
            }
        };
        let queue = positive("queue", raw.queue.unwrap_or(256))?;
        let emulate = raw.emulate.map(|emulate| {
            let emulation = Emulation::new(&emulate.forward_ms, emulate.round_trip_ms);
            emulation.map_err(|error| {
                self.invalid(field(&format!("emulate.{}", error.field)), error.reason)
            })
        });
        let emulate = emulate.transpose()?;
        let addresses = match raw.address {
            None => Vec::new(),
            Some(raw::Addresses::One(address)) => vec![address],
            Some(raw::Addresses::Several(addresses)) => addresses,
        };
        let mut seen = HashSet::new();
        if let Some(twice) = addresses.iter().find(|address| !seen.insert(*address)) {
            return Err(self.invalid(field("address"), format!("{twice:?} stands there twice")));
        }
        if index > 0 && raw.allow_other_numerics.is_some() {
            let reason = "means nothing to a drafter, whose replicas may always differ; remove it";
            return Err(self.invalid(field("allow_other_numerics"), reason));
        }
        let memory = |memory: raw::Memory| {
            Ok(Memory {
                bytes: positive("memory.mib", memory.mib)?.saturating_mul(1 << 20),
                across_tenants: memory.across_tenants,
            })
        };
        let memory = raw.memory.map(memory).transpose()?;
        if memory.is_some() && raw.assisted == Some(false) {
            let reason =
                "is a Max-Gram's, and with assisted = false there is none; remove one of them";
            return Err(self.invalid(field("memory"), reason));
        }
        let model = self.path(raw.model);
        let bigram = raw.bigram.map(|path| self.path(path));
        let source = match raw.kind {
            raw::Kind::Neural => Source::Neural {
                model,
                weights: match raw.dtype {
                    None | Some(raw::Dtype::F32) => Weights::F32,
                    Some(raw::Dtype::Bf16) => Weights::Bf16,
                    Some(raw::Dtype::Q8_0) => Weights::Q8_0,
                    Some(raw::Dtype::Q4K) => Weights::Q4K,
                },
                device: raw.device.unwrap_or_else(|| "cpu".into()),
                threads: positive("threads", raw.threads.unwrap_or(1))?,
                rows: raw.rows.map(|rows| positive("rows", rows)).transpose()?,
                context: raw
                    .context
                    .map(|context| positive("context", context))
                    .transpose()?,
                cache_bytes: positive("cache_mib", raw.cache_mib.unwrap_or(512))? << 20,
                assisted: raw.assisted.unwrap_or(true),
                bigram,
            },
            raw::Kind::Maxgram => {
                let neural_only = [
                    ("dtype", raw.dtype.is_some()),
                    ("device", raw.device.is_some()),
                    ("threads", raw.threads.is_some()),
                    ("rows", raw.rows.is_some()),
                    ("cache_mib", raw.cache_mib.is_some()),
                    ("assisted", raw.assisted.is_some()),
                    (
                        "emulate.forward_ms",
                        emulate
                            .as_ref()
                            .is_some_and(|emulate| !emulate.forward().is_empty()),
                    ),
                ];
                if let Some((name, _)) = neural_only.iter().find(|(_, given)| *given) {
                    return Err(self.invalid(field(name), "means nothing to maxgram; remove it"));
                }
                Source::MaxGram { model, bigram }
            }
        };
        Ok(Level {
            name: raw.name,
            source,
            memory,
            queue,
            addresses,
            allow_other_numerics: raw.allow_other_numerics.unwrap_or(false),
            listen: raw.listen,
            emulate,
            metrics: raw.metrics,
        })
    }
}
