#!/usr/bin/env bash
# The clients that people use, against a cascade of the bundled models: the official openai client, lm-evaluation-harness,
# aiperf, and the README's curl examples.
#
#   tests/clients/run.sh            after cargo build --release
#
# Needs Python 3.11 or later. The packages of requirements.txt go into a virtual environment: $CSD_CLIENTS_VENV, kept, or a
# temporary one. Exits with 0 when all of them are content.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
work=$(mktemp -d)
up=
stop() { if [ -n "$up" ]; then kill "$up" && wait "$up" || true; up=; fi; }
trap 'stop; rm -rf "$work"' EXIT

venv=${CSD_CLIENTS_VENV:-$work/venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --requirement tests/clients/requirements.txt

# Starts a cascade with the arguments given; its address is in $url then.
start() {
  : > "$work/up.json"
  target/release/csd up --listen 127.0.0.1:0 --json "$@" > "$work/up.json" 2> "$work/up.log" &
  up=$!
  url=
  for _ in $(seq 600); do
    url=$(sed -n 's/^{"listening":"\(.*\)"}$/\1/p' "$work/up.json")
    [ -n "$url" ] && return
    kill -0 "$up" 2> /dev/null || break
    sleep 0.1
  done
  cat "$work/up.log" >&2
  exit 1
}

start
echo "== the README's curl examples, pasted"
"$venv/bin/python" tests/clients/readme_curl.py "$url"

echo "== openai"
"$venv/bin/python" tests/clients/openai_client.py "$url"

echo "== lm-eval: local-completions"
cd tests/clients/lm_eval
OPENAI_API_KEY=any HF_HOME=$work/hf "$venv/bin/lm_eval" --model local-completions \
  --model_args "model=tiny,base_url=$url/v1/completions,tokenizer=$root/models/tiny/target,tokenizer_backend=huggingface,max_length=1024,num_concurrent=2,max_retries=1" \
  --tasks csd_sums_generate,csd_sums_score --include_path . --output_path "$work/lm_eval" --log_samples 2> "$work/lm_eval.log" \
  || { tail -30 "$work/lm_eval.log"; exit 1; }
cd "$root"
"$venv/bin/python" - "$work/lm_eval" <<'CHECK'
import json, pathlib, sys
results = [json.loads(path.read_text()) for path in pathlib.Path(sys.argv[1]).rglob("results_*.json")]
assert results, "lm-eval wrote no results"
scores = results[0]["results"]
assert scores["csd_sums_generate"]["exact_match,number"] >= 0.5, scores
assert scores["csd_sums_score"]["acc,none"] >= 0.5, scores
CHECK

echo "== aiperf"
"$venv/bin/aiperf" profile --model tiny --url "$url" --endpoint-type chat --streaming --tokenizer models/tiny/target \
  --concurrency 2 --request-count 12 --synthetic-input-tokens-mean 64 --synthetic-input-tokens-stddev 0 \
  --output-tokens-mean 32 --output-tokens-stddev 0 --extra-inputs ignore_eos:true --random-seed 1 --ui none --artifact-dir "$work/aiperf" > "$work/aiperf.log" 2>&1 \
  || { tail -30 "$work/aiperf.log"; exit 1; }
"$venv/bin/python" - "$work/aiperf" <<'CHECK'
import json, pathlib, sys
report = json.loads(next(pathlib.Path(sys.argv[1]).rglob("profile_export_aiperf.json")).read_text())
count, errors = report["request_count"]["avg"], report.get("error_summary") or []
print(f"{count:.0f} requests, first token after {report['time_to_first_token']['avg']:.1f} ms")
assert count == 12 and not errors, errors
CHECK
stop

echo "== openai, with keys"
echo "sk-of-a-file" > "$work/keys"
start --api-key-file "$work/keys"
"$venv/bin/python" tests/clients/openai_client.py "$url" sk-of-a-file
stop
echo "All clients are content."
