//! What a level says of itself.

use csd_level::{Description, Error, Kind, Result};
use csd_proto::v1;

use super::{at_least_one, present, to_u32, token};
use crate::Gauges;

/// A description and what the level counts right now.
pub fn description_to_wire(description: &Description, gauges: Gauges) -> v1::DescribeResponse {
    let kind = match description.kind {
        Kind::Neural => v1::Kind::Neural,
        Kind::Statistical => v1::Kind::Statistical,
    };
    v1::DescribeResponse {
        name: description.name.clone(),
        kind: kind.into(),
        model: description.model.clone(),
        vocabulary: to_u32(description.vocabulary),
        token_map: description.token_map.clone(),
        context: to_u32(description.context),
        rows: to_u32(description.rows),
        dtype: description.dtype.clone(),
        fallbacks: description.fallbacks.clone(),
        device: description.device.clone(),
        exact: description.exact,
        numerics: description.numerics.clone(),
        assisted: description.assisted,
        end_tokens: description.end_tokens.clone(),
        emulation: description.emulation.clone().unwrap_or_default(),
        remembers: description.remembers,
        gauges: Some(v1::Gauges {
            verify_calls: gauges.verify_calls,
            draft_calls: gauges.draft_calls,
            forwards: gauges.forwards,
            rows: gauges.rows,
            drafted: gauges.drafted,
            accepted: gauges.accepted,
            in_flight: gauges.in_flight,
            queued: gauges.queued,
            cache_bytes: gauges.cache_bytes,
            overruns: gauges.overruns,
        }),
    }
}

/// Checks a description.
///
/// # Errors
/// [`Error::Invalid`] naming the field that cannot be.
pub fn description(wire: v1::DescribeResponse) -> Result<Description> {
    let kind = match v1::Kind::try_from(wire.kind) {
        Ok(v1::Kind::Neural) => Kind::Neural,
        Ok(v1::Kind::Statistical) => Kind::Statistical,
        Ok(v1::Kind::Unspecified) | Err(_) => {
            let reason = format!("there is no kind {}", wire.kind);
            return Err(Error::invalid("kind", reason));
        }
    };
    let vocabulary = at_least_one("vocabulary", wire.vocabulary)?;
    for &end in &wire.end_tokens {
        token::known("end_tokens", end, vocabulary)?;
    }
    if !wire.end_tokens.is_sorted() {
        return Err(Error::invalid("end_tokens", "must ascend"));
    }
    Ok(Description {
        name: wire.name,
        kind,
        model: wire.model,
        vocabulary,
        token_map: wire.token_map,
        context: at_least_one("context", wire.context)?,
        rows: at_least_one("rows", wire.rows)?,
        dtype: wire.dtype,
        fallbacks: wire.fallbacks,
        device: wire.device,
        exact: wire.exact,
        numerics: wire.numerics,
        assisted: wire.assisted,
        remembers: wire.remembers,
        end_tokens: wire.end_tokens,
        emulation: Some(wire.emulation).filter(|emulation| !emulation.is_empty()),
    })
}

/// What the level counts right now.
///
/// # Errors
/// [`Error::Invalid`] when it does not say.
pub fn gauges(wire: Option<v1::Gauges>) -> Result<Gauges> {
    let wire = present("gauges", wire)?;
    Ok(Gauges {
        verify_calls: wire.verify_calls,
        draft_calls: wire.draft_calls,
        forwards: wire.forwards,
        rows: wire.rows,
        drafted: wire.drafted,
        accepted: wire.accepted,
        in_flight: wire.in_flight,
        queued: wire.queued,
        cache_bytes: wire.cache_bytes,
        overruns: wire.overruns,
    })
}
