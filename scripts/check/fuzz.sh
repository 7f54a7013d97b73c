#!/usr/bin/env bash
# Fuzzes the parsers with new inputs for MINUTES in all, or only the targets whose names contain NAME (tests/fuzz/).
#
#   scripts/check/fuzz.sh MINUTES [NAME]
#
# An input that fails is reduced and saved in target/fuzz/, and the message says how to run it again:
#
#   MERT_FUZZ_INPUT=target/fuzz/zip-1a2b3c4d-zip.bin cargo test --release -p mert-cli --test fuzz zip
#
# Exit status: 0 no input failed, 1 one did, 2 wrong arguments.
set -euo pipefail
cd "$(dirname "$0")/../.."

minutes="${1:-}"
if ! [[ "$minutes" =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: scripts/check/fuzz.sh MINUTES [NAME]" >&2
  exit 2
fi
name="${2:-}"

# Tests that check the fuzzing itself are not targets.
skip=(--skip checksums)
listed="$(cargo test --release --quiet -p mert-cli --test fuzz -- "$name" "${skip[@]}" --list)"
targets="$(grep -c ': test$' <<<"$listed" || true)"
if [ "$targets" -eq 0 ]; then
  echo "fuzz: no target's name contains \`$name\`" >&2
  exit 2
fi
# Panics of decoders that the audio crate catches are expected; their backtraces would fill the log.
export RUST_BACKTRACE=0
export MERT_FUZZ_SECONDS=$((minutes * 60 / targets))
echo "fuzz: $targets targets, $MERT_FUZZ_SECONDS s each"
cargo test --release --quiet -p mert-cli --test fuzz -- "$name" "${skip[@]}" --nocapture --test-threads 1 || exit 1
