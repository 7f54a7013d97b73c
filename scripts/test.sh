#!/usr/bin/env bash
# Checks everything, cheapest first: format, lints, documentation, every test with libtorch, the documented
# commands, the demo, and the converted files in MLX. CI runs this script and nothing else.
#
# Needs a Rust toolchain, a C and C++ compiler, python3 with pip and venv, and the package registries.
#
# MERT_LIBTORCH_DIR, MERT_MLX_VENV   where libtorch and MLX are kept between runs (default: in target/)
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
log="$target/test.log"
mkdir -p "$target"
: > "$log"
step() { printf '\n== %s\n' "$*"; }
test_and_count() { "$@" 2>&1 | tee -a "$log"; }

step "format"
cargo fmt --all -- --check

step "libtorch"
LIBTORCH="$(scripts/install-libtorch.sh)"
export LIBTORCH
case "$(uname -s)" in
  Darwin) export DYLD_LIBRARY_PATH="$LIBTORCH/lib:${DYLD_LIBRARY_PATH:-}" ;;
  *) export LD_LIBRARY_PATH="$LIBTORCH/lib:${LD_LIBRARY_PATH:-}" ;;
esac

step "lints, without and with libtorch"
cargo clippy --release --workspace --all-targets -- -D warnings
cargo clippy --release --workspace --all-targets --features mert-verify/tch -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --features mert-verify/tch

step "tests with libtorch, the full-size check among them"
test_and_count cargo test --release --workspace --features mert-verify/tch

step "documented commands"
cargo build --release --workspace --bins --features mert-verify/tch
scripts/check-docs.sh "$target/release"

step "tests of mert-verify as it is built by default"
test_and_count cargo test --release -p mert-verify --test verify

step "demo"
scripts/demo.sh

step "MLX and Python's safetensors"
converted="$target/mlx-check"
mkdir -p "$converted"
pairs=()
for model in mert-tiny stable-layer-norm deepnorm; do
  for dtype in f32 f16 bf16; do
    file="$converted/$model-$dtype.safetensors"
    "$target/release/mert-convert" "fixtures/$model/pytorch_model.bin" "$file" --dtype "$dtype" --force --quiet
    pairs+=("$file" "fixtures/$model/reference.npz")
  done
done
scripts/check-mlx.sh "${pairs[@]}" | tee "$converted/log"

# Every `test result:` line of every test program, added up; the MLX check counts its files.
awk -v mlx="$((${#pairs[@]} / 2))" '
  /^test result:/ { passed += $4; failed += $6; skipped += $8 }
  END { printf "\n%d passed, %d failed, %d skipped\n", passed + mlx, failed, skipped }
' "$log"
