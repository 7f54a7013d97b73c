#!/usr/bin/env bash
# Builds a CPU-only libtorch for the `tch` feature and prints its folder on stdout.
#
#   export LIBTORCH="$(scripts/install_libtorch.sh)"
#   export LD_LIBRARY_PATH="$LIBTORCH/lib:${LD_LIBRARY_PATH:-}"      # DYLD_LIBRARY_PATH on macOS
#
# The torch wheel for Linux is a CUDA build of several gigabytes once its dependencies are in. Its
# CPU half needs only libc10, libgomp and two small CUDA libraries, so this takes those out of the
# wheels (about 490 MB) and leaves the rest. The result is cached: a second call only prints it.
#
# MERT_LIBTORCH_DIR   where to keep it (default: target/libtorch-VERSION in this repository)
set -euo pipefail

torch_version=2.13.0
cuda_runtime_version=13.0.96
cuda_cupti_version=13.0.85

root="$(cd "$(dirname "$0")/.." && pwd)"
out="${MERT_LIBTORCH_DIR:-$root/target/libtorch-$torch_version}"
log() { echo "install_libtorch: $*" >&2; }

if [ -f "$out/.complete" ]; then
  echo "$out"
  exit 0
fi

work="$(mktemp -d "${TMPDIR:-/tmp}/libtorch.XXXXXX")"
trap 'rm -rf "$work"' EXIT

download() { python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$work" "$@" >&2; }

# unpack WHEEL PATTERN...: a wheel is a zip; python3 is a requirement already, unzip is not.
unpack() {
  python3 - "$work/tree" "$@" <<'PY'
import fnmatch, sys, zipfile
tree, wheel, *patterns = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        if any(fnmatch.fnmatch(name, p) for p in patterns):
            z.extract(name, tree)
PY
}

case "$(uname -s)" in
  Linux)
    [ "$(uname -m)" = x86_64 ] || { log "no recipe for $(uname -m) Linux: set LIBTORCH to a libtorch $torch_version of your own"; exit 2; }
    log "downloading torch $torch_version and two CUDA stubs it links against"
    download "torch==$torch_version" "nvidia-cuda-runtime==$cuda_runtime_version" "nvidia-cuda-cupti==$cuda_cupti_version"
    unpack "$work"/torch-*.whl 'torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' 'torch/lib/libgomp*'
    unpack "$work"/nvidia_cuda_runtime-*.whl '*/libcudart.so.13'
    unpack "$work"/nvidia_cuda_cupti-*.whl '*/libcupti.so.13'
    mkdir -p "$work/libtorch/lib"
    mv "$work/tree/torch/include" "$work/libtorch/include"
    find "$work/tree" -name '*.so*' -exec mv {} "$work/libtorch/lib/" \;
    # torch-sys links against `libtorch`, which in the wheel pulls in CUDA. This one pulls in the CPU half.
    echo 'int mert_libtorch_stub;' > "$work/stub.c"
    (cd "$work/libtorch/lib" && "${CC:-gcc}" -shared -fPIC -o libtorch.so "$work/stub.c" -L. \
      -Wl,--no-as-needed -l:libtorch_cpu.so -l:libc10.so -Wl,-rpath,'$ORIGIN' -Wl,--allow-shlib-undefined)
    ;;
  Darwin)
    log "downloading torch $torch_version"
    download "torch==$torch_version"
    unpack "$work"/torch-*.whl 'torch/include/*' 'torch/lib/*'
    mkdir -p "$work/libtorch"
    mv "$work/tree/torch/include" "$work/tree/torch/lib" "$work/libtorch/"
    ;;
  *)
    log "no recipe for $(uname -s): set LIBTORCH to a libtorch $torch_version of your own"
    exit 2
    ;;
esac

echo "$torch_version" > "$work/libtorch/build-version"
mkdir -p "$(dirname "$out")"
rm -rf "$out"
mv "$work/libtorch" "$out"
touch "$out/.complete"
log "installed in $out"
echo "$out"
