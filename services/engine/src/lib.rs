//! Decoders whose KV cache can be cut back.
