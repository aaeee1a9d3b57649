# One image for every process of a cascade: the binary, the cascade files and the bundled models.
#
#   docker build -t csd .
#   docker run --rm -p 127.0.0.1:8080:8080 csd                                  # a whole cascade in one container
#   docker run --rm csd worker --help
#
# Builds with BuildKit and with the classic builder. Both base images are of one Debian release, so the binary finds the
# glibc it was linked against; name others (a mirror, a CUDA image) with --build-arg. For a GPU, give a builder with Rust
# and the CUDA toolkit, a runtime with the CUDA libraries, and --build-arg FEATURES=cuda.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# The shape of the workspace without its code: every manifest, and an empty program wherever cargo expects one.
FROM ${RUST_IMAGE} AS shape
LABEL csd.stage=shape
WORKDIR /source
COPY . .
RUN mkdir /shape \
 && find . \( -name Cargo.toml -o -name Cargo.lock -o -name build.rs \
      -o -path '*/src/lib.rs' -o -path '*/src/main.rs' -o -path '*/src/bin/*.rs' \) -exec cp --parents -t /shape {} + \
 && find /shape -name '*.rs' -exec sh -c 'for root; do echo "fn main() { }" > "$root"; done' sh {} +

# What we depend on, compiled once: this layer holds until a manifest changes, whatever happens to the code.
FROM ${RUST_IMAGE} AS build
LABEL csd.stage=build
ARG FEATURES=""
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
WORKDIR /source
COPY --from=shape /shape .
RUN cargo build --release --locked --package csd-cli --features "${FEATURES}"
COPY . .
# The real files may be older than the empty ones they replace, and cargo goes by the date.
RUN find . -name '*.rs' -not -path './target/*' -exec touch {} + \
 && cargo build --release --locked --package csd-cli --features "${FEATURES}"

FROM ${RUNTIME_IMAGE}
COPY --from=build /source/target/release/csd /usr/local/bin/csd
WORKDIR /csd
COPY models models
COPY config config
# By number, so that Kubernetes can see that it is not root. Nothing is ever written: a read-only file system is fine.
USER 65532:65532
EXPOSE 8080 50051
ENTRYPOINT ["csd"]
CMD ["up", "--listen", "0.0.0.0:8080"]
