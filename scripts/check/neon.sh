#!/usr/bin/env bash
# Runs the tests of the vector kernels as 64-bit ARM programs, in an emulator, so that every NEON kernel has been executed.
#
#   scripts/check/neon.sh [PACKAGE…]        default: mert-simd mert-linear
#
# Exit status: 0 all pass, 1 a test fails, 2 they cannot be run here. Times mean nothing in an emulator.
#
# Needs the target (`rustup target add aarch64-unknown-linux-gnu`), a linker for it and qemu-user; on Debian the script
# installs the two packages itself, as root. On a 64-bit ARM machine the tests run without an emulator.
set -euo pipefail

target=aarch64-unknown-linux-gnu
debian_packages=(qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross)

root="$(cd "$(dirname "$0")/../.." && pwd)"
log() { echo "check/neon: $*" >&2; }
cd "$root"

# The flags of the normal build are for this machine's processor and linker.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
packages=("${@:-mert-simd}")
[ $# != 0 ] || packages+=(mert-linear)

if [ "$(uname -m)" = aarch64 ] || [ "$(uname -m)" = arm64 ]; then
  options=()
else
  if ! rustup target list --installed 2>/dev/null | grep -q "^$target\$"; then
    rustup target add "$target" >/dev/null || { log "no Rust standard library for $target: 'rustup target add $target'"; exit 2; }
  fi
  if ! command -v qemu-aarch64 >/dev/null || ! command -v aarch64-linux-gnu-gcc >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
      log "needs an emulator and a linker: on Debian 'apt-get update && apt-get install ${debian_packages[*]}'"
      exit 2
    fi
    log "installing ${debian_packages[*]}"
    { apt-get update --quiet=2 &&
      DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends --no-remove \
        "${debian_packages[@]}"; } >/dev/null || exit 2
  fi
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu"
  options=(--target "$target" --target-dir "$root/target/check-neon")
fi

selected=()
for package in "${packages[@]}"; do selected+=(--package "$package"); done
# A failed build cannot be told from a failed test by the status of one command.
cargo test --release --locked "${options[@]}" "${selected[@]}" --lib --tests --no-run || exit 2
cargo test --release --locked "${options[@]}" "${selected[@]}" --lib --tests || exit 1

# Once more as a processor without integer dot products, for the kernels that take their place.
case " ${packages[*]} " in
  *" mert-linear "*) ;;
  *) exit 0 ;;
esac
[ ${#options[@]} != 0 ] || { log "not run: the kernels for processors without dot products, which need an emulator"; exit 0; }
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu cortex-a72 -L /usr/aarch64-linux-gnu"
cargo test --release --locked "${options[@]}" --package mert-linear --test products || exit 1
