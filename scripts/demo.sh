#!/usr/bin/env bash
# Converts a checkpoint that PyTorch saved and verifies the result on all 13 hidden states; then shows
# that the gate can fail. Needs a Rust toolchain and a C compiler.
#
# MERT_DEMO_DIR   where to put the results (default: target/demo in this repository)
# MERT_DEMO_BIN   the folder of built programs (default: they are built)
set -euo pipefail
cd "$(dirname "$0")/.."

out="${MERT_DEMO_DIR:-target/demo}"
checkpoint=fixtures/mert-tiny/pytorch_model.bin
reference=fixtures/mert-tiny/reference.npz

say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

if [ -n "${MERT_DEMO_BIN:-}" ]; then
  bin="$MERT_DEMO_BIN"
else
  say "1. Build"
  run cargo build --release --bin mert-convert --bin mert-verify
  bin="${CARGO_TARGET_DIR:-target}/release"
fi
mkdir -p "$out"

say "2. What would happen to each tensor (the first lines of the plan)"
"$bin/mert-convert" "$checkpoint" | sed -n '1,9p'

say "3. Convert: to f16 for MLX, and to f32 to judge the structure without rounding"
run "$bin/mert-convert" "$checkpoint" "$out/mert-tiny.safetensors" --force
run "$bin/mert-convert" "$checkpoint" "$out/mert-tiny-f32.safetensors" --dtype f32 --force

say "4. Verify all 13 hidden states against what transformers returned for the original"
run "$bin/mert-verify" "$out/mert-tiny-f32.safetensors" --layers all --reference "$reference"
run "$bin/mert-verify" "$out/mert-tiny.safetensors" --layers all --reference "$reference" --require-structure

say "5. A Core ML package for clips of one second, verified without a Mac"
run "$bin/mert-convert" "$checkpoint" "$out/mert-tiny.mlpackage" --seconds 1 --force
run "$bin/mert-verify" "$out/mert-tiny.mlpackage" --layers all --reference "$reference" --require-structure

say "6. The gate can fail: the same weights under a configuration with 8 heads instead of 4"
sed 's/"num_attention_heads": 4/"num_attention_heads": 8/' fixtures/mert-tiny/config.json > "$out/wrong-config.json"
run "$bin/mert-convert" "$checkpoint" "$out/wrong.safetensors" --config "$out/wrong-config.json" --force --quiet
status=0
run "$bin/mert-verify" "$out/wrong.safetensors" --layers all --reference "$reference" > "$out/wrong.txt" || status=$?
tail -n 1 "$out/wrong.txt"
if [ "$status" != 1 ]; then
  echo "demo: the wrong model should have given exit status 1, not $status" >&2
  exit 1
fi
echo "exit status $status"

say "Done: $out/mert-tiny.safetensors and .mlpackage compute what PyTorch computes; the wrong one was caught."
