//! The wire contract `csd.v1`: the code generated from `csd/v1/*.proto`, and nothing else.
//!
//! What the messages mean, and each side's duties, stand in the .proto itself.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

/// Package `csd.v1`.
pub mod v1 {
    tonic::include_proto!("csd.v1");

    /// The compiled contract, for gRPC server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
