#!/usr/bin/env bash
# Checks everything, cheapest first: format, links, what a release states, lints, documentation, every test with libtorch,
# the documented commands, the demo, the documented gate with references that transformers made, the converted files in MLX
# and in the programs that --for names, the Core ML packages in Apple's tools, and the Python package on a Ray cluster and in
# notebooks. CI's job for Linux runs nothing else.
#
# Needs a Rust toolchain, a C and C++ compiler, python3 with pip and venv, and the package registries.
#
# MERT_LIBTORCH_DIR, MERT_MLX_VENV, MERT_COREML_VENV, MERT_TORCH_VENV
#                   where libtorch, MLX, coremltools, and torch with transformers, the programs that --for names and what the
#                   Python package is tested with are kept between runs (default: in target/)
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
log="$target/test.log"
mkdir -p "$target"
: > "$log"
# SECONDS is bash's own clock: every step says when it began.
step() { printf '\n== %s (%d min %02d s)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }
test_and_count() { "$@" 2>&1 | tee -a "$log"; }

step "format"
cargo fmt --all -- --check

step "links in the documents"
scripts/check/links.py

step "versions and names of a release"
scripts/check/release.py

step "libtorch"
LIBTORCH="$(scripts/install_libtorch.sh)"
export LIBTORCH
case "$(uname -s)" in
  Darwin) export DYLD_LIBRARY_PATH="$LIBTORCH/lib:${DYLD_LIBRARY_PATH:-}" ;;
  *) export LD_LIBRARY_PATH="$LIBTORCH/lib:${LD_LIBRARY_PATH:-}" ;;
esac

# Its download is over before the compiler is. What goes wrong is said where the environment is needed.
scripts/check/python.py --prepare > "$target/prepare.log" 2>&1 &
prepared=$!

step "lints, without and with libtorch"
cargo clippy --release --workspace -- -D warnings
cargo clippy --release --workspace --all-targets --features mert-cli/tch -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --features mert-cli/tch

step "tests with libtorch, the full-size check among them"
test_and_count cargo test --release --workspace --features mert-cli/tch --no-fail-fast

# With the binaries that the tests have just run: another build would have other features of the dependencies.
step "documented commands"
scripts/check/docs.sh "$target/release"

step "what mert-verify says without libtorch, as it is built by default"
# All of the workspace is selected, as above: of one package alone, dependencies would have other features, and all be built again.
test_and_count cargo test --release --workspace --test verify --test hub without_libtorch

# With the binaries of the step before, which are those of the default build.
step "demo"
MERT_DEMO_BIN="$target/release" scripts/demo.sh

wait "$prepared" || { cat "$target/prepare.log"; exit 1; }
# Of what the steps before have built.
step "the Python package"
scripts/check/python.py "$target/release" | tee "$target/python.log"
python="$(grep -c '^  ok ' "$target/python.log")"

step "the gate of docs/verify.md, with references that transformers made"
scripts/check/gate_example.py "$target/release"

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
scripts/check/mlx.sh "${pairs[@]}" | tee "$converted/log"
scripts/check/mlx.sh --run scripts/fixtures/make_quantized.py --check
scripts/check/mlx.sh --run scripts/check/mlx_quantized.py "$target/release" | tee "$converted/quantized.log"
scripts/check/mlx.sh --run scripts/check/gguf_files.py "$target/release" | tee -a "$converted/quantized.log"
quantized="$(grep -c '^  ok ' "$converted/quantized.log")"

step "catalogues in pandas, DuckDB, LanceDB and NumPy"
scripts/check/search_clients.py "$target/release/mert-search" | tee "$target/search.log"
"$target/venv-search-clients/bin/python" scripts/check/search_numpy.py "$target/release/mert-search" | tee -a "$target/search.log"
searches="$(grep -c '^  ok ' "$target/search.log")"

step "tokens, events and oracles beside scikit-learn, faiss, vmo, librosa and transformers"
scripts/check/tokens.py "$target/release" | tee "$target/tokens.log"
tokens="$(grep -c '^  ok ' "$target/tokens.log")"

step "a full-size checkpoint of fairseq, value by value"
scripts/check/fairseq.sh "$target/release/mert-convert"

step "mlx-contentvec, mlx-hubert and transformers"
scripts/check/clients.py "$target/release" | tee "$target/clients.log"
clients="$(grep -c '^  ok ' "$target/clients.log")"

step "bundles of MusicGen in MLX, mlx-audiogen, mlx-audio and transformers"
scripts/check/musicgen.py "$target/release" | tee "$target/musicgen.log"
bundles="$(grep -c '^  ok ' "$target/musicgen.log")"

step "Core ML packages in coremltools"
packages="$target/coreml-check"
rm -rf "$packages"
mkdir -p "$packages/full"
"$target/release/mert-test-model" "$packages/full"
package() { # NAME CHECKPOINT OPTION…
  local name="$1" checkpoint="$2"
  shift 2
  "$target/release/mert-convert" "$checkpoint" "$packages/$name.mlpackage" --quiet "$@"
}
package tiny fixtures/mert-tiny/pytorch_model.bin
package tiny-listed fixtures/mert-tiny/pytorch_model.bin --seconds 5,10,30 --frames --minimum-deployment ios18
package tiny-layers fixtures/mert-tiny/pytorch_model.bin --layers 0,6 --dtype f32 --minimum-deployment ios16
package stable fixtures/stable-layer-norm/pytorch_model.bin --seconds 1-30 --frames --minimum-deployment ios17
package deepnorm fixtures/deepnorm/pytorch_model.bin --seconds 2 --minimum-deployment ios18
# Every family, each on another target, and the position bias on all of them.
deployments=(ios15 ios16 ios17 ios18)
i=0
for checkpoint in fixtures/families/*/{model.safetensors,pytorch_model.bin}; do
  [ -f "$checkpoint" ] || continue
  name="$(basename "$(dirname "$checkpoint")")"
  package "family-$name" "$checkpoint" --seconds 0.1 --frames --minimum-deployment "${deployments[i++ % 4]}"
done
for deployment in "${deployments[@]}"; do
  package "wavlm-range-$deployment" fixtures/families/wavlm/model.safetensors --seconds 0.1-3 --minimum-deployment "$deployment"
done
# Compressed weights, each beside the package that coremltools compresses: a few layers show all.
for deployment in ios16 ios18; do
  package "few-$deployment" fixtures/mert-tiny/pytorch_model.bin --seconds 1 --layers 2 --minimum-deployment "$deployment"
  for scheme in int8 uint8 palettize4 palettize6; do
    package "few-$deployment+$scheme" fixtures/mert-tiny/pytorch_model.bin --seconds 1 --layers 2 \
      --minimum-deployment "$deployment" --compress "$scheme"
  done
done
package few-ios18+int4 fixtures/mert-tiny/pytorch_model.bin --seconds 1 --layers 2 --minimum-deployment ios18 --compress int4
package few-ios18+uint4-16 fixtures/mert-tiny/pytorch_model.bin --seconds 1 --layers 2 --minimum-deployment ios18 \
  --compress uint4 --block-size 16
package wavlm-listed fixtures/families/wavlm-large/model.safetensors --seconds 0.2,0.1 --dtype f32 --minimum-deployment ios18
package full "$packages/full/pytorch_model.bin"
scripts/check/coreml.sh "$packages"/*.mlpackage fixtures/coreml/*.mlpackage | tee "$packages/log"
checked="$(grep -c ' ok ' "$packages/log")"
rm -rf "$packages/full" "$packages/full.mlpackage"

# Every `test result:` line of every test program, added up; the MLX check of files counts those, the others their checks.
awk -v others="$((${#pairs[@]} / 2 + quantized + searches + tokens + checked + clients + bundles + python))" '
  /^test result:/ { passed += $4; failed += $6; skipped += $8 }
  END { printf "\n%d passed, %d failed, %d skipped\n", passed + others, failed, skipped }
' "$log"
