#!/usr/bin/env bash
# Converts, packages, embeds and verifies the fixtures with two builds, and compares everything that they write.
#
#   scripts/check/same_outputs.sh OLD_BIN NEW_BIN     two folders with mert-convert, mert-embed and mert-verify
#
# Compared are the exit statuses and
#   - of safetensors files the parsed header, the metadata included, and the bytes of the tensors: only the header's
#     padding and the order of its keys may differ;
#   - of the hidden states in .npz files each array, since the archive records when it was written;
#   - of reports in JSON all but the version, the times, and the wording of notes and failures;
#   - all other outputs, Core ML packages among them, byte for byte.
# Both builds embed and verify the same models, which OLD converted: embeddings record the model's SHA-256.
#
# Prints a table of what was compared. Exit status: 0 all is the same, 1 something differs (the first difference is
# printed), 2 it could not be compared. Needs python3; takes half a minute on two cores.
set -euo pipefail

[ $# = 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
fixtures="$(cd "$(dirname "$0")/../../fixtures" && pwd)"
old="$(cd "$1" && pwd)" || exit 2
new="$(cd "$2" && pwd)" || exit 2
work="$(mktemp -d "${TMPDIR:-/tmp}/same_outputs.XXXXXX")"
trap 'rm -rf "$work"' EXIT

# both AREA COMMAND ARGUMENT…: runs a command of both builds, each in a folder of its own, and notes the exit status.
# Outputs are paths below AREA/.
both() {
  local area="$1" side bin status
  shift
  for side in old new; do
    bin="$old"
    [ "$side" = old ] || bin="$new"
    mkdir -p "$work/$side/$area"
    status=0
    (cd "$work/$side" && "$bin/$1" "${@:2}" >/dev/null 2>"$work/stderr") || status=$?
    printf '%s\t%s\t%s\n' "$area" "$status" "$*" >>"$work/statuses-$side"
    # A refused conversion is an outcome to compare; elsewhere it means that nothing is compared.
    if [ "$status" -gt 1 ] && [ "$area" != convert ]; then
      echo "check/same_outputs: exit status $status of the $side build from: $*" >&2
      cat "$work/stderr" >&2
      # If only the new build fails it is a difference.
      [ "$side" = new ] && exit 1
      exit 2
    fi
  done
}

# --- conversion: every checkpoint in every layout and type -----------------------------------------

convert() { # NAME CHECKPOINT OPTION…
  both convert mert-convert "$2" "convert/$1.safetensors" "${@:3}"
}
for file in "$fixtures"/{mert-tiny,stable-layer-norm,deepnorm,containers,pickles,hostile}/*; do
  name="${file#"$fixtures"/}"
  case "$name" in *.json | *.npz) continue ;; esac
  for layout in mlx candle; do
    for dtype in f32 f16 bf16; do convert "${name//\//-}-$layout-$dtype" "$file" --layout "$layout" --dtype "$dtype"; done
  done
done
mkdir "$work/folder" "$work/bare"
cp "$fixtures"/mert-tiny/{pytorch_model.bin,config.json} "$work/folder"
cp "$fixtures/mert-tiny/pytorch_model.bin" "$work/bare"
convert folder "$work/folder"
convert one-thread "$work/folder" --threads 1
convert no-config "$work/bare" --set num_attention_heads=4 --set do_stable_layer_norm=false
convert audio-input "$work/folder" --sampling-rate 16000 --do-normalize false
convert drop "$fixtures/containers/head.bin" --drop 'lm_head.*'
convert digest "$work/folder" --source-sha256 "$(printf '0%.0s' {1..64})"

package() { # NAME FIXTURE OPTION…
  both package mert-convert "$fixtures/$2/pytorch_model.bin" "package/$1.mlpackage" "${@:3}"
}
for fixture in mert-tiny stable-layer-norm deepnorm; do
  for dtype in f32 f16; do
    package "$fixture-$dtype" "$fixture" --dtype "$dtype"
    package "$fixture-$dtype-frames" "$fixture" --dtype "$dtype" --seconds 1 --frames --minimum-deployment ios18
    package "$fixture-$dtype-listed" "$fixture" --dtype "$dtype" --seconds 2,1,5 --minimum-deployment ios17
    package "$fixture-$dtype-range" "$fixture" --dtype "$dtype" --seconds 0.5-30 --frames --minimum-deployment ios16
    package "$fixture-$dtype-layers" "$fixture" --dtype "$dtype" --seconds 1 --layers 0-1,-1
  done
done

# --- the models for the rest ------------------------------------------------------------------------

models="$work/models"
mkdir "$models"
for fixture in mert-tiny stable-layer-norm deepnorm; do
  for dtype in f32 f16 bf16; do
    "$old/mert-convert" "$fixtures/$fixture/pytorch_model.bin" "$models/$fixture-$dtype.safetensors" --dtype "$dtype" --quiet
  done
  "$old/mert-convert" "$fixtures/$fixture/pytorch_model.bin" "$models/$fixture.mlpackage" --seconds 0.5-2 --frames --quiet
done
# A model that the gate must fail.
sed 's/"num_attention_heads": 4/"num_attention_heads": 8/' "$fixtures/mert-tiny/config.json" >"$work/wrong.json"
"$old/mert-convert" "$fixtures/mert-tiny/pytorch_model.bin" "$models/wrong.safetensors" --config "$work/wrong.json" --quiet

# --- embeddings: every format and setting, over every fixture ---------------------------------------

model="$models/mert-tiny-f32.safetensors"
mkdir "$work/damaged"
for file in 16-44k1-stereo.flac cbr-44k1-stereo.mp3 44k1-stereo.ogg s16-44k1-mono.wav; do
  head -c 20000 "$fixtures/audio/$file" >"$work/damaged/$file"
done
python3 - "$work/samples.f32" <<'PY'
import array, math, sys
samples = array.array("f", (0.3 * math.sin(0.05 * i) * math.sin(0.00013 * i) for i in range(96_000)))
with open(sys.argv[1], "wb") as file:
    samples.tofile(file)
PY
embed() { # NAME ARGUMENT…
  both embed mert-embed "$model" "${@:2}" -o "embed/$1"
}
for format in parquet npz npy safetensors jsonl; do
  embed "default.$format" "$fixtures/audio" "$fixtures/audio-formats"
  embed "all-layers.$format" "$fixtures/audio" --layers all --pool mean+std --normalize l2 --window whole
  embed "sliding.$format" "$fixtures/audio" --layers 0,6,-1 --pool max --window sliding:1s/0.3s
  embed "frames.$format" "$fixtures/audio" --layers 3-5 --pool none --window sliding:0.8s --tail keep
  embed "middle.$format" "$fixtures/audio" "$fixtures/audio-formats" --layers 12 --window middle:0.5s --jobs 1
  embed "dropped.$format" "$fixtures/audio" --window sliding:1s --tail drop
  embed "damaged.$format" "$work/damaged" --damaged keep --layers all
  embed "updated.$format" "$fixtures/audio/f32-24k-mono.wav"
  embed "updated.$format" "$fixtures/audio" --update
done
for other in mert-tiny-f16 mert-tiny-bf16 stable-layer-norm-f32 deepnorm-f16; do
  model="$models/$other.safetensors" embed "$other.npz" "$fixtures/audio" --layers all
done
# Samples on standard input are read by each build from a descriptor of its own.
for side in old new; do
  bin="$old"
  [ "$side" = old ] || bin="$new"
  (cd "$work/$side" && "$bin/mert-embed" "$model" - --input-rate 48000 -o embed/samples.npz --window sliding:1s -q <"$work/samples.f32")
done

# --- hidden states and reports ------------------------------------------------------------------------

for fixture in mert-tiny stable-layer-norm deepnorm; do
  reference="$fixtures/$fixture/reference.npz"
  verify() { # NAME MODEL OPTION…
    both verify mert-verify "$models/$2" --reference "$reference" --json "verify/$1.json" --quiet "${@:3}"
  }
  for dtype in f32 f16 bf16; do
    file="$models/$fixture-$dtype.safetensors"
    for compute in f32 f16 bf16; do
      both states mert-verify hidden-states "$file" --input "$reference" --output "states/$fixture-$dtype-$compute.npz" \
        --dtype "$compute"
      verify "$fixture-$dtype-$compute" "$fixture-$dtype.safetensors" --dtype "$compute"
    done
    verify "$fixture-$dtype-isolated" "$fixture-$dtype.safetensors" --isolate
  done
  both states mert-verify hidden-states "$file" --input "$reference" --output "states/$fixture-layers.npz" --layers 0,2,-1
  verify "$fixture-package" "$fixture.mlpackage"
  verify "$fixture-package-emulated" "$fixture.mlpackage" --emulate f16
done
reference="$fixtures/mert-tiny/reference.npz"
verify wrong wrong.safetensors --layers 0,6-12

# --- comparison ---------------------------------------------------------------------------------------

python3 - "$work" <<'PY'
import json
import sys
import zipfile
from pathlib import Path

work = Path(sys.argv[1])
TEXTS = {"notes", "failures", "errors"}


def differs(message):
    print(f"check/same_outputs: {message}", file=sys.stderr)
    sys.exit(1)


def safetensors(path):
    """The header without its padding, and the bytes of the tensors."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    return {"metadata": header.pop("__metadata__", None), "tensors": header, "bytes": content[end:]}


def arrays(path):
    """The bytes of each array of a .npz."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def report(value):
    """A report without versions, times and the wording of its texts, whose number counts."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if key not in ("generator", "seconds")}
        return {key: len(part) if key in TEXTS else report(part) for key, part in kept.items()}
    return [report(part) for part in value] if isinstance(value, list) else value


def parts(path, area):
    """An output as named parts that must be equal."""
    if path.suffix == ".safetensors":
        return safetensors(path)
    if path.suffix == ".npz" and area == "states":
        return arrays(path)
    if path.suffix == ".json" and area == "verify":
        return {"report": report(json.loads(path.read_text()))}
    return {"bytes": path.read_bytes()}


def first_difference(old, new):
    if isinstance(old, bytes) and isinstance(new, bytes):
        at = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
        return f"byte {at} of {len(old)} and {len(new)}"
    if isinstance(old, dict) and isinstance(new, dict):
        key = next(key for key in [*old, *new] if key not in old or key not in new or old[key] != new[key])
        if key not in old or key not in new:
            return f"`{key}` is only in the {'old' if key in old else 'new'} one"
        return f"`{key}`: {first_difference(old[key], new[key])}"
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        at = next(i for i, (a, b) in enumerate(zip(old, new)) if a != b)
        return f"[{at}]: {first_difference(old[at], new[at])}"
    return f"{old!r} and {new!r}"


statuses = [(work / f"statuses-{side}").read_text().splitlines() for side in ("old", "new")]
for old, new in zip(*statuses, strict=True):
    if old != new:
        differs(f"exit status {old.split()[1]} of the old build, {new.split()[1]} of the new one: {old.split(chr(9))[2]}")
folders = [work / side for side in ("old", "new")]
files = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in folders]
for path in sorted(files[0] ^ files[1]):
    differs(f"only the {'old' if path in files[0] else 'new'} build wrote {path}")

print("| area | commands | refused | files compared | bytes |")
print("|---|--:|--:|--:|--:|")
for area in ("convert", "package", "embed", "states", "verify"):
    commands = [line.split("\t") for line in statuses[0] if line.startswith(f"{area}\t")]
    refused = sum(int(status) > 1 for _, status, _ in commands)
    compared = sorted(path for path in files[0] if path.parts[0] == area)
    size = 0
    for path in compared:
        old, new = (parts(folder / path, area) for folder in folders)
        if old != new:
            differs(f"{path}: {first_difference(old, new)}")
        size += (folders[0] / path).stat().st_size
    if not compared:
        differs(f"nothing was compared of {area}")
    print(f"| {area} | {len(commands)} | {refused} | {len(compared)} | {size:,} |")
print("check/same_outputs: all outputs are the same")
PY
