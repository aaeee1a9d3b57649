//! Levels over gRPC: both ends of the same seam.
//!
//! [`LevelService`] serves any [`csd_level::Level`] as `csd.v1.Level`; [`RemoteLevel`] is a level again, on the other
//! side. The law of this crate is that the pair changes nothing but the time it takes: the same drafts, the same
//! verdicts, the same errors, and a call that is dropped on one side is dropped on the other.
//!
//! In reading order:
//!
//! - [`convert`]: messages to data and back, by hand; what does not fit is refused, naming the field
//! - [`status`]: errors to gRPC status and back, in one table
//! - [`deadline`]: how long a call may take, on the wire
//! - [`gauges`]: what a serving level counts
//! - [`service`], [`server`]: a level behind a socket, its health, its end
//! - [`address`]: where a level is, and which workers a name stands for
//! - [`remote`]: a level in front of one
//! - [`tls`]: whom both ends trust, and how they prove who they are
//!
//! This crate decides nothing about tokens, keeps no state of a request, and retries nothing: whether another attempt is
//! worth it is for the caller to say.

pub mod address;
pub mod convert;
pub mod deadline;
pub mod gauges;
pub mod remote;
pub mod server;
pub mod service;
pub mod status;
pub mod tls;
mod trace;

pub use address::Address;
pub use gauges::Gauges;
pub use remote::{RemoteLevel, RemoteOptions};
pub use server::{ServeError, incoming, serve, serve_over};
pub use service::{LevelService, ServiceOptions};
pub use tls::{ClientTls, ServerTls, TlsError};

/// The largest message either side takes, in bytes. A context of a million tokens fits.
pub const MESSAGE_LIMIT: usize = 4 << 20;
