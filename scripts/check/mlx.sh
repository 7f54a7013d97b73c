#!/usr/bin/env bash
# Runs a converted file in MLX itself and compares every hidden state with a PyTorch reference.
#
#   scripts/check/mlx.sh CONVERTED.safetensors REFERENCE.npz [CONVERTED REFERENCE ...]
#   scripts/check/mlx.sh --run SCRIPT.py [ARGUMENT ...]      another script, in the same environment
#
# Exit status: 0 all hidden states agree, 1 they differ, 2 anything else; with --run, the script's. The Python
# environment is made on the first call (MLX runs on Linux without a GPU) and kept.
#
# MERT_MLX_VENV   where to keep it (default: target/venv-mlx in this repository)
# PYTHON          the interpreter to make it with, 3.11 or later (default: python3)
set -euo pipefail

# mlx-lm and what it loads configurations with, for --run scripts/check/mlx_quantized.py; gguf for scripts/check/gguf_files.py.
pins=("mlx[cpu]==0.32.4" "numpy==2.4.6" "safetensors==0.8.0" "mlx-lm==0.32.2" "transformers==5.23.0" "gguf==0.19.0")

root="$(cd "$(dirname "$0")/../.." && pwd)"
venv="${MERT_MLX_VENV:-$root/target/venv-mlx}"
stamp="$venv/.pins"

make_venv() {
  echo "check/mlx: making $venv" >&2
  "${PYTHON:-python3}" -m venv --clear "$venv" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${pins[@]}" >&2 &&
    echo "${pins[*]}" >"$stamp"
}

if [ "$(cat "$stamp" 2>/dev/null)" != "${pins[*]}" ]; then
  make_venv || exit 2
fi
if [ "${1-}" = --run ]; then
  shift
  exec "$venv/bin/python" "$@"
fi
exec "$venv/bin/python" "$root/scripts/check/mlx_model.py" "$@"
