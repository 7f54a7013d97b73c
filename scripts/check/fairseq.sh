#!/usr/bin/env bash
# Converts a full-size ContentVec in fairseq's format and compares every value with a renaming in Python.
#
#   scripts/check/fairseq.sh MERT_CONVERT
#
# Exit status: 0 all values are right, 1 some are not, 2 anything else. The Python environment is that of check/mlx.sh.
#
# MERT_MLX_VENV   where that is kept (default: target/venv-mlx in this repository)
set -euo pipefail

root="$(cd "$(dirname "$0")/../.." && pwd)"
python="${MERT_MLX_VENV:-$root/target/venv-mlx}/bin/python"
if [ ! -x "$python" ]; then
  echo "check/fairseq: run scripts/check/mlx.sh first, which makes the Python environment" >&2
  exit 2
fi
exec "$python" "$root/scripts/check/fairseq_values.py" "$@"
