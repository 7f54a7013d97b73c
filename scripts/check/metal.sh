#!/usr/bin/env bash
# Type-checks the commands for macOS with their features `metal` and `coreml`, without a Mac.
#
#   scripts/check/metal.sh
#
# Exit status: 0 it type-checks, 1 it does not, 2 it cannot be checked here. Nothing is linked or run,
# so this finds code that does not compile on macOS, not code that computes the wrong thing there.
#
# A toolchain that has the standard library for the target is used as it is: any on an Apple silicon
# Mac, elsewhere one that saw `rustup target add aarch64-apple-darwin`. Where that download is not
# available, Debian's rustc-web, cargo-web and rust-web-src are enough: they have the standard library's
# source, which is type-checked for the target first. As root the script installs them itself (150 MB to
# download, 800 MB on disk).
set -euo pipefail

target=aarch64-apple-darwin
debian_packages=(rustc-web cargo-web rust-web-src)

root="$(cd "$(dirname "$0")/../.." && pwd)"
out="$root/target/check-metal" # not target/ itself: another compiler there would rebuild everything
log() { echo "check/metal: $*" >&2; }
cd "$root"

# The flags of the normal build are for this machine's processor and linker, or turn warnings into errors.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS

has_target() {
  local libs
  command -v cargo >/dev/null && libs="$(rustc --print target-libdir --target "$target" 2>/dev/null)" &&
    compgen -G "$libs/libstd-*.rlib" >/dev/null
}

# All three in one version, since std only builds with its own compiler, and recent enough for the
# workspace: cargo's complaint about an old compiler has the same exit status as a type error.
has_debian_rust() {
  local versions wanted
  versions="$(dpkg-query -W -f '${db:Status-Abbrev}${Version}\n' "${debian_packages[@]}" 2>/dev/null | sort -u)" || return
  wanted="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"
  [[ $versions == "ii "* && $versions != *$'\n'* ]] && dpkg --compare-versions "${versions#ii }" ge "$wanted"
}

if has_target; then
  cargo=(cargo)
  options=(--locked --target "$target")
else
  if ! has_debian_rust; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
      log "no Rust standard library for $target here: 'rustup target add $target'," \
        "or on Debian 'apt-get update && apt-get install ${debian_packages[*]}'"
      exit 2
    fi
    log "installing ${debian_packages[*]}"
    # --no-remove: they conflict with Debian's rustc, which is not this script's to take away.
    { apt-get update --quiet=2 &&
      DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends --no-remove \
        "${debian_packages[@]}"; } >/dev/null || exit 2
    has_debian_rust || { log "Debian's ${debian_packages[*]} are too old here"; exit 2; }
  fi
  # By full path, and by RUSTC too: a rustup in PATH puts its own in front of both. Wrappers are set
  # empty, not unset, since a configuration file can name them as well.
  cargo=(env -u RUSTUP_TOOLCHAIN RUSTC=/usr/bin/rustc RUSTC_WRAPPER= RUSTC_WORKSPACE_WRAPPER=
    RUSTC_BOOTSTRAP=1 /usr/bin/cargo)
  options=(--locked --target "$target" -Zbuild-std=std,panic_abort)
fi

# Some dependencies (zstd, bzip2, psm) compile C or assembly for the target, which takes a cross
# compiler and Apple's SDK. No object file is ever read in a type-check: empty ones do.
if [ "$(uname -s)" != Darwin ]; then
  mkdir -p "$out"
  cat >"$out/no-cc" <<'SH'
#!/bin/sh
# Stands in for a C compiler: writes an empty output. The cc crate finds out with -E and -? which
# compiler it has; mistaken for cl.exe, which has -?, it would get the output's name in another option.
previous=
for arg; do
  [ "$previous" != -o ] || : >"$arg"
  [ "$arg" != -E ] || echo '"clang"'
  [ "$arg" != '-?' ] || exit 1
  previous="$arg"
done
SH
  chmod +x "$out/no-cc"
  export CC_aarch64_apple_darwin="$out/no-cc"
fi

# Before the check, so that a failed download is not reported as a type error. The host's
# dependencies are those of build scripts and macros.
host="$("${cargo[@]}" -vV | sed -n 's/^host: //p')" || exit 2
"${cargo[@]}" fetch "${options[@]}" --target "$host" || exit 2

# Optimised dependencies pay off in a program that runs, here only macros run.
"${cargo[@]}" check "${options[@]}" --target-dir "$out" --config 'profile.dev.package."*".opt-level=0' \
  --package mert-runtime --package mert-cli --features mert-runtime/metal,mert-cli/metal,mert-cli/coreml || exit 1
