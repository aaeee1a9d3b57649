#!/usr/bin/env bash
# Images for the compose test on a machine that reaches no image registry.
#
#   tests/compose/stand_ins.sh          prints NAME=VALUE lines for compose's environment
#
# The two base images are the real ones where they can be had; else stand-ins are made from this machine: Debian by
# debootstrap, and the same with this machine's Rust toolchain and downloaded crates. The test reads what the collector of
# traces received, so in Jaeger's place there is always an OTLP receiver that logs spans; Prometheus is Debian's.
# All are named csd-test/*, and what exists already is not made again. Needs root, for debootstrap. Nothing of this
# machine's configuration is written anywhere but into the stand-in images.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# Where docker can read what is sent to it, and with room for a root file system.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/csd-test.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

say() { echo "stand-ins: $*" >&2; }
have() { docker image inspect "$1" > /dev/null 2>&1; }
had() { have "$1" || timeout 120 docker pull --quiet "$1" > /dev/null 2>&1; }

# The default of a build argument: the image that everybody else builds on.
default() { sed -n "s/^ARG $1=//p" "$root/Dockerfile"; }

build() { # NAME CONTEXT
  docker build --quiet --build-arg "BASE=$debian" --tag "csd-test/$1" --file "$here/$1/Dockerfile" "$2" > /dev/null
}

debian() {
  command -v debootstrap > /dev/null || apt-get install --yes --quiet --no-install-recommends debootstrap >&2
  debootstrap --variant=minbase bookworm "$scratch/debian" > "$scratch/log" 2>&1 || { tail "$scratch/log" >&2; return 1; }
  rm -rf "$scratch"/debian/var/cache/apt/archives/*.deb
  tar -C "$scratch/debian" -c . | docker import - csd-test/debian > /dev/null
  rm -rf "$scratch/debian"
}

rust() {
  local cargo=${CARGO_HOME:-$HOME/.cargo} toolchain
  toolchain=$(cd "$root" && rustc --print sysroot)
  (cd "$root" && cargo fetch --locked --quiet)
  mkdir -p "$scratch"/rust/{toolchain/bin,toolchain/lib/rustlib,cargo/registry}
  cp "$toolchain"/bin/{cargo,rustc} "$scratch/rust/toolchain/bin"
  cp -a "$toolchain"/lib/*.so* "$scratch/rust/toolchain/lib"
  cp -r "$toolchain"/lib/rustlib/*-linux-gnu "$scratch/rust/toolchain/lib/rustlib"
  cp -r "$cargo"/registry/{index,cache} "$scratch/rust/cargo/registry"
  if [ -f "$cargo/config.toml" ]; then cp "$cargo/config.toml" "$scratch/rust/cargo"; fi
  cp -L /etc/ssl/certs/ca-certificates.crt "$scratch/rust"
  build rust "$scratch/rust"
  rm -rf "$scratch/rust"
}

jaeger() {
  python3 -m pip download --quiet --no-deps --pre --dest "$scratch/wheel" --requirement "$root/tests/python/rotel.txt" >&2
  python3 -m zipfile --extract "$scratch"/wheel/*.whl "$scratch/jaeger"
  build jaeger "$scratch/jaeger/rotel"
}

prometheus() { build prometheus "$here/prometheus"; }

make() { # NAME
  if have "csd-test/$1"; then return; fi
  say "making csd-test/$1"
  "$1"
}

debian=$(default RUNTIME_IMAGE)
rust=$(default RUST_IMAGE)
had "$debian" || { debian=csd-test/debian && make debian; }
had "$rust" || { rust=csd-test/rust && make rust; }
make jaeger
make prometheus
echo "CSD_RUNTIME_IMAGE=$debian"
echo "CSD_RUST_IMAGE=$rust"
echo "CSD_JAEGER_IMAGE=csd-test/jaeger"
echo "CSD_PROMETHEUS_IMAGE=csd-test/prometheus"
