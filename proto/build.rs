//! Compiles the contract in Rust (protox), so that building needs no protoc.

use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(["csd/v1/level.proto", "csd/v1/cascade.proto"], ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        .build_server(true)
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=csd");
    Ok(())
}
