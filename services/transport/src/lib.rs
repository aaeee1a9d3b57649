//! Levels over gRPC, both ends.
