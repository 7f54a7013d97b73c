#!/usr/bin/env bash
# Builds the commands for Windows and runs them in Wine: converts, verifies, embeds, and keeps a catalogue. Files and embeddings are
# compared with those of the commands in FOLDER_WITH_COMMANDS, byte for byte.
#
#   scripts/check/windows.sh [FOLDER_WITH_COMMANDS]     default: target/release
#
# Exit status: 0 all pass, 1 something differs, 2 it cannot be run here. Times mean nothing in Wine.
#
# Needs the target (`rustup target add x86_64-pc-windows-gnu`), MinGW and Wine; on Debian the script installs both itself, as root.
# The build takes minutes and is kept in target/check-windows.
set -euo pipefail

target=x86_64-pc-windows-gnu
debian_packages=(gcc-mingw-w64-x86-64-win32 g++-mingw-w64-x86-64-win32 wine64 wine)

root="$(cd "$(dirname "$0")/../.." && pwd)"
log() { echo "check/windows: $*" >&2; }
commands="$(cd "${1:-$root/target/release}" && pwd)"
cd "$root"

if ! rustup target list --installed 2>/dev/null | grep -q "^$target\$"; then
  rustup target add "$target" >/dev/null || { log "no Rust standard library for $target: 'rustup target add $target'"; exit 2; }
fi
if ! command -v wine >/dev/null || ! command -v x86_64-w64-mingw32-gcc >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    log "needs a compiler for Windows and Wine: on Debian 'apt-get update && apt-get install ${debian_packages[*]}'"
    exit 2
  fi
  log "installing ${debian_packages[*]}"
  { apt-get update --quiet=2 &&
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "${debian_packages[@]}"; } >/dev/null || exit 2
fi

# The flags of the normal build are for this machine's processor and linker.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
built="$root/target/check-windows"
cargo build --release --locked --target "$target" --target-dir "$built" --package mert-cli || exit 2

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp "$built/$target/release/"*.exe "$work"
# Debian's Wine 8 has no bcryptprimitives.dll, from which Rust's standard library takes random numbers.
cat > "$work/random.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL ProcessPrng(PBYTE bytes, SIZE_T length) { return SystemFunction036(bytes, (ULONG)length); }
C
x86_64-w64-mingw32-gcc -shared -o "$work/bcryptprimitives.dll" "$work/random.c" -ladvapi32
export WINEPREFIX="$work/wine" WINEDEBUG=-all
mkdir "$work/music" "$work/music/ä ö"
cp fixtures/audio/*.flac fixtures/audio/*.wav "$work/music"
cp fixtures/audio/f32-24k-mono.wav "$work/music/ä ö/音 ß.wav"
cp -r fixtures/mert-tiny "$work/mert-tiny"
cd "$work"

fail() { log "$*"; exit 1; }
# Runs a command in Wine, and prints what it prints if its exit status is another than the first argument.
windows() {
  local expected="$1" status=0
  shift
  # Wine's own messages about packages for 32 bits come before the command's.
  wine "$@" > out.txt 2> err.txt || status=$?
  [ "$status" = "$expected" ] || { cat out.txt err.txt >&2; fail "$*: exit status $status, expected $expected"; }
  echo "  ok  $*"
}
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; echo "  ok  $1: the same bytes"; }

wine wineboot --init >/dev/null 2>&1 || true
windows 0 mert-verify.exe
for output in f32.safetensors f16.safetensors tiny.gguf; do
  dtype="${output%%.*}"
  [ "$dtype" != tiny ] || dtype=f16
  windows 0 mert-convert.exe mert-tiny/pytorch_model.bin "$output" --dtype "$dtype" --do-normalize true --quiet
  "$commands/mert-convert" mert-tiny/pytorch_model.bin "linux-$output" --dtype "$dtype" --do-normalize true --quiet
  same "$output" "linux-$output"
done
windows 2 mert-convert.exe mert-tiny/pytorch_model.bin f32.safetensors --do-normalize true
windows 0 mert-convert.exe mert-tiny/pytorch_model.bin f32.safetensors --dtype f32 --do-normalize true --quiet --force
windows 0 mert-convert.exe mert-tiny/pytorch_model.bin folder --for hf --do-normalize true --quiet
windows 0 mert-convert.exe mert-tiny/pytorch_model.bin folder --for hf --do-normalize true --quiet --force
windows 0 mert-convert.exe mert-tiny/pytorch_model.bin tiny.mlpackage --seconds 1 --do-normalize true --quiet
windows 0 mert-verify.exe f32.safetensors --reference mert-tiny/reference.npz --html report.html
windows 0 mert-embed.exe f32.safetensors music -o windows.npy --layers 6 --quiet
"$commands/mert-embed" f32.safetensors music -o linux.npy --layers 6 --quiet
same windows.npy linux.npy
windows 0 mert-embed.exe f32.safetensors music -o table.parquet --layers 6 --quiet
windows 0 mert-embed.exe f32.safetensors music -o table.parquet --layers 6 --quiet --update
options=(--model f32.safetensors --layers 1,6 --window sliding:1s/1s --no-loudness --quiet)
windows 0 mert-search.exe add catalogue music "${options[@]}"
windows 0 mert-search.exe query catalogue 'music\ä ö\音 ß.wav' --top 3
windows 0 mert-search.exe query catalogue 16-44k1-stereo.flac --json
windows 0 mert-search.exe remove catalogue 'music\16-44k1-stereo.flac'
windows 0 mert-search.exe compact catalogue
windows 0 mert-search.exe add catalogue music "${options[@]}"
windows 0 mert-search.exe update catalogue
windows 0 mert-search.exe verify catalogue
