#!/usr/bin/env bash
# `mert-tokens live` through JACK without a sound card: a client plays notes into the input port of the session and records the
# MIDI that comes out. Fails if no note comes out, or one that starts does not end.
#
# Needs jackd (Debian: apt-get install jackd2 libjack-jackd2-dev libasound2-dev) and Python's JACK-Client and numpy.
#   scripts/check/live_jack.sh MERT_TOKENS [MODEL VOCABULARY ORACLE]
# MERT_TOKENS is the binary of `cargo build --release -p mert-cli --features jack --bin mert-tokens`. Without the three files the
# session is made first: plucked notes, a vocabulary and an oracle of them, with the tiny model of the fixtures.
set -euo pipefail
if [ $# -ne 4 ] && [ $# -ne 1 ]; then
    echo "usage: $0 MERT_TOKENS [MODEL VOCABULARY ORACLE]" >&2
    exit 2
fi
for program in jackd python3; do
    if ! command -v "$program" >/dev/null; then
        echo "$program is not installed: apt-get install jackd2 libjack-jackd2-dev libasound2-dev python3" >&2
        exit 1
    fi
done
python=${PYTHON:-python3}
if ! "$python" -c 'import jack, numpy' 2>/dev/null; then
    echo "$python lacks JACK-Client or numpy: $python -m pip install JACK-Client numpy" >&2
    exit 1
fi
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
server_name="mert-live-$$"
export JACK_DEFAULT_SERVER=$server_name JACK_NO_START_SERVER=1
server= session=
finish() {
    [ -n "$session" ] && kill "$session" 2>/dev/null || true
    [ -n "$server" ] && kill "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT
tokens=$1 model=${2:-} vocabulary=${3:-} oracle=${4:-}
if [ -z "$model" ]; then
    model="$here/../../fixtures/mert-tiny/model.safetensors"
    vocabulary="$folder/vocabulary.safetensors" oracle="$folder/oracle.json"
    mkdir "$folder/music"
    "$python" "$here/live/plucked_music.py" "$folder/music"
    "$tokens" train "$model" "$folder/music" -o "$vocabulary" --k 16 --quiet
    "$tokens" events "$model" "$vocabulary" "$folder/music" -o "$folder/events.jsonl" --quiet
    "$tokens" oracle "$folder/events.jsonl" -o "$oracle" --quiet
fi
jackd --name "$server_name" --no-realtime -d dummy -r 48000 -p 256 >"$folder/jackd.log" 2>&1 &
server=$!
for _ in $(seq 50); do
    "$python" -c 'import jack; jack.Client("probe", no_start_server=True)' >/dev/null 2>&1 && break
    sleep 0.1
done
# Commands are read from a pipe that stays open.
mkfifo "$folder/commands"
"$tokens" live "$model" "$vocabulary" "$oracle" --virtual-port --lines --seed 1 <"$folder/commands" >"$folder/lines.jsonl" 2>"$folder/session.log" &
session=$!
exec 3>"$folder/commands"
if ! "$python" "$here/live/jack_client.py" "$session"; then
    cat "$folder/session.log" "$folder/jackd.log" >&2
    exit 1
fi
echo quit >&3
for _ in $(seq 100); do
    kill -0 "$session" 2>/dev/null || break
    sleep 0.1
done
wait "$session" || { echo "the session ended with status $?" >&2; cat "$folder/session.log" >&2; exit 1; }
session=
cat "$folder/session.log"
if ! grep -q 'latency of' "$folder/session.log"; then
    echo "the session measured no latency" >&2
    exit 1
fi
