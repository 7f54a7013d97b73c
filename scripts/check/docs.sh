#!/usr/bin/env bash
# Checks the documents: every relative link leads to a file and a heading that exist (links.py), and every `mert-convert`,
# `mert-verify`, `mert-embed`, `mert-generate`, `mert-search` and `mert-tokens` command that README.md and docs/ show works, in the order in which they stand, on the tiny
# fixture, which replaces the hub's model m-a-p/MERT-v1-95M. Not run: what stands for a name of yours (MODEL), and what
# needs a Mac (--engine coreml) or a GPU (--device cuda).
#
#   scripts/check/docs.sh [FOLDER_WITH_BINARIES]     (default: target/release; built with feature tch)
set -euo pipefail
cd "$(dirname "$0")/../.."
root="$PWD"
bin="$(cd "${1:-${CARGO_TARGET_DIR:-target}/release}" && pwd)"
export PATH="$bin:$PATH"

python3 scripts/check/links.py

work="$(mktemp -d "${TMPDIR:-/tmp}/docs.XXXXXX")"
trap 'rm -rf "$work"' EXIT
cd "$work"

# What the documents take for granted.
fixture="$root/fixtures/mert-tiny"
cp "$fixture/pytorch_model.bin" "$fixture/config.json" "$fixture/reference.npz" .
# As the hub's model has it, and as is assumed without it.
echo '{"do_normalize": true, "sampling_rate": 24000}' > preprocessor_config.json
mkdir build references references-30s clips
cp reference.npz references/
cp reference.npz clips/b.npz
mert-convert pytorch_model.bin build/mert-f32.safetensors --dtype f32 --quiet
mert-convert pytorch_model.bin build/mert-f16.safetensors --quiet
mert-convert pytorch_model.bin build/MERT.mlpackage --quiet
mert-convert pytorch_model.bin mert.safetensors --quiet
mert-convert pytorch_model.bin mert-q4.safetensors --quantize --quiet
mert-convert pytorch_model.bin mert-q8.safetensors --quantize --q-bits 8 --quiet
cp -r "$root/fixtures/adapters/lora" adapter
mkdir music
cp "$root"/fixtures/audio/16-44k1-stereo.flac music/track.flac
cp "$root"/fixtures/audio/cbr-44k1-stereo.mp3 music/track.mp3
cp music/* .
# Two pieces that are long enough to choose bits by.
python3 - <<'PY'
import array, math, wave
for name, base in (("piece-1", 220), ("piece-2", 330)):
    tones = [(base * k, 0.3 / k) for k in (1, 1.5, 2.7)]
    samples = (sum(a * math.sin(2 * math.pi * f * (1 + t / 9e5) * t / 24000) for f, a in tones) for t in range(6 * 24000))
    with wave.open(f"music/{name}.wav", "wb") as file:
        file.setparams((1, 2, 24000, 0, "NONE", ""))
        file.writeframes(array.array("h", (int(20000 * sample) for sample in samples)).tobytes())
PY
printf 'track.flac\nmusic/track.mp3\n' > tracks.txt
# Tiny MusicGen and Instruct-MusicGen, as upstream names their files.
cp -r "$root"/fixtures/musicgen/instruct/{finetuned.ckpt,state_dict.bin,compression_state_dict.bin} .
cp -r "$root/fixtures/musicgen/instruct/t5" t5-base
cp -r "$root/fixtures/musicgen/plain" musicgen-small
cp "$root/fixtures/musicgen/reference-instruct.npz" instruct.npz
# The model and the recordings of a voice conversion, in RVC's folders.
mkdir -p assets/hubert 1_16k_wavs
cp "$root"/fixtures/voice-conversion/*.json assets/hubert
cp "$root"/fixtures/voice-conversion/pytorch_model.bin assets/hubert/hubert_base.pt
cp "$root"/fixtures/audio/extensible-s24-16k-mono.wav 1_16k_wavs/0_0.wav
mert-convert assets/hubert/hubert_base.pt wav2vec2.safetensors --quiet
# A file of fairseq, in a folder without another model's config.json.
mkdir fairseq
cp "$root/fixtures/fairseq/contentvec.pt" fairseq/hubert_base.pt
printf 'feature_extraction:\n  encoder: hybrid\n  mert: {model_name: mert.safetensors}\n  wav2vec: {model_name: wav2vec2.safetensors}\n' > hybrid.yaml
mert-verify hidden-states build/mert-f16.safetensors --input reference.npz --output h.npz >/dev/null
python3 - <<'PY'
import io, zipfile
with zipfile.ZipFile("h.npz") as archive:
    clip = archive.read("input_values.npy")
for name in ("clip.npy", "clips/a.npy"):
    open(name, "wb").write(clip)
# Thirty seconds, which is what a Core ML package takes by default: the clip as often as it fits.
samples = clip[10 + int.from_bytes(clip[8:10], "little"):]
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % (30 * len(samples) // 4)
with open("30s.npy", "wb") as file:
    file.write(b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117).encode() + b"\n" + 30 * samples)
PY
mert-verify reference pytorch_model.bin --input 30s.npy --output references-30s/clip.npz >/dev/null

# fenced FILE LANGUAGE: the blocks of that language, each line after its block's number.
fenced() {
  awk -v fence='```' -v language="$2" '
    $0 == fence language { inside = 1; n += 1; next }
    $0 == fence { inside = 0 }
    inside { print n "\t" $0 }
  ' "$1"
}

count=0
for document in "$root"/README.md "$root"/docs/*.md; do
  fenced "$document" yaml | awk -F '\t' '{ print > ("block-" $1 ".yaml") }'
  for block in block-*.yaml; do
    [ -e "$block" ] || continue
    cut -f 2- "$block" > verify.yaml
    ! grep -q '^feature_extraction:' verify.yaml || cp verify.yaml embed.yaml
    if grep -q '^models:' verify.yaml; then
      echo "\$ mert-verify --config verify.yaml    # as in $(basename "$document")"
      mert-verify --config verify.yaml --quiet ||
        { echo "check/docs: a gate in $(basename "$document") does not pass" >&2; exit 1; }
      count=$((count + 1))
    fi
    rm "$block"
  done
  printf 'models:\n  - {model: build/mert-f32.safetensors, references: [references]}\n' > verify.yaml

  while IFS= read -r command; do
    output="$(sed -nE 's/.* (-o|--output) ([^ ]*).*/\2/p' <<<"$command")"
    [ -z "$output" ] || rm -f "$output" "${output%.npy}.rows.jsonl"
    case "$command" in
      mert-convert*) # A second command for the same output would need --force.
        output="$(cut -d ' ' -f 3 <<<"$command")"
        case "$output" in *.safetensors | *.mlpackage) rm -rf "$output" ;; esac ;;
    esac
    echo "\$ $command"
    bash -euc "$command" >/dev/null || { echo "check/docs: failed in $(basename "$document"): $command" >&2; exit 1; }
    count=$((count + 1))
  done < <(fenced "$document" sh | cut -f 2- | grep -E '^mert-(convert|verify|embed|generate|search|tokens) ' |
    sed -E 's/ +#.*//; s#(hf://)?m-a-p/MERT-v1-95M#pytorch_model.bin#; s#^mert-convert hubert_base.pt#mert-convert fairseq/hubert_base.pt#' |
    grep -vE ' (MODEL|ORIGINAL|PACKAGE)( |$)| FOLDER/|--engine coreml|--device cuda')
done
[ "$count" -gt 8 ] || { echo "check/docs: only $count commands were found; is the extraction broken?" >&2; exit 1; }
echo "check/docs: $count documented commands work"
