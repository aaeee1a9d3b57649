//! Messages of `csd.v1` to data and back, by hand.
//!
//! Every `*_to_wire` is total; its opposite takes nothing for granted. What does not fit is [`Error::Invalid`] naming the
//! field: in a request that is the answer, in an answer it is how nonsense is noticed.

mod answer;
mod description;
mod logprobs;
mod request;
mod token;

pub use answer::{draft, draft_to_wire, verdict, verdict_to_wire};
pub use description::{description, description_to_wire, gauges};
pub use request::{
    draft_request, draft_request_to_wire, remember_request, remember_request_to_wire,
    verify_request, verify_request_to_wire,
};

use csd_level::{Error, Result};

/// A size as the wire has it. Sizes here are bounded by the memory of one message, so nothing is ever cut off.
fn to_u32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The number of a level, which data hold in a byte.
fn to_level(field: &str, number: u32) -> Result<u8> {
    u8::try_from(number)
        .map_err(|_| Error::invalid(field, format!("levels are numbered to 255, got {number}")))
}

/// A count that may not be zero.
fn at_least_one(field: &str, count: u32) -> Result<usize> {
    if count == 0 {
        return Err(Error::invalid(field, "must be at least 1"));
    }
    Ok(count as usize)
}

/// A submessage that may not be missing.
fn present<T>(field: &str, message: Option<T>) -> Result<T> {
    message.ok_or_else(|| Error::invalid(field, "is missing"))
}

/// Names the message that a field at fault belongs to.
fn within(message: &str, error: Error) -> Error {
    match error {
        Error::Invalid { field, reason } => Error::invalid(format!("{message}.{field}"), reason),
        other => other,
    }
}
