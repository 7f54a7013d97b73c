#!/usr/bin/env bash
# Checks Core ML packages with Apple's own tools, as far as those run on Linux.
#
#   scripts/check/coreml.sh PACKAGE.mlpackage [PACKAGE.mlpackage ...]
#
# Exit status: 0 every check passed, 1 one failed, 2 anything else. The Python environment is made
# on the first call and kept. On Linux coremltools has its native parts for x86-64 only.
#
# MERT_COREML_VENV   where to keep it (default: target/venv-coreml in this repository)
# PYTHON             the interpreter to make it with, 3.11 to 3.13 (default: python3)
set -euo pipefail

# protobuf and sympy too: coremltools does its inference with them and sets no upper limit.
pins=("coremltools==9.0" "numpy==2.4.6" "protobuf==7.36.2" "sympy==1.14.0")

root="$(cd "$(dirname "$0")/../.." && pwd)"
venv="${MERT_COREML_VENV:-$root/target/venv-coreml}"
stamp="$venv/.pins"

make_venv() {
  echo "check/coreml: making $venv" >&2
  "${PYTHON:-python3}" -m venv --clear "$venv" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${pins[@]}" >&2 || return
  # Elsewhere pip makes do without the libraries that the checks are made with.
  native="from coremltools import libmilstoragepython, libmodelpackage"
  if ! "$venv/bin/python" -c "$native" 2>/dev/null; then
    echo "check/coreml: coremltools has no native parts for this machine" >&2
    return 1
  fi
  echo "${pins[*]}" >"$stamp"
}

if [ "$(cat "$stamp" 2>/dev/null)" != "${pins[*]}" ]; then
  make_venv || exit 2
fi
exec "$venv/bin/python" "$root/scripts/check/coreml_packages.py" "$@"
