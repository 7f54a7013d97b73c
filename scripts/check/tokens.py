#!/usr/bin/env python3
"""Runs the comparisons of tokens, events, oracles and modes with the programs of others, in their Python environments.

    scripts/check/tokens.py [target/release]

k-means with scikit-learn and faiss (kmeans.py), vocabularies and token files (vocabularies.py), the oracle with vmo
(oracle_vmo.py), onsets, notes and MIDI with librosa, mido and pretty_midi (events.py), and CLAP with transformers (clap.py).
The programs are mert-tokens and the examples of the crates, which `cargo test` builds. The environments are made on the first
call and kept in target/. Exit status: 0 all as expected, else that of the first script that fails.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, TORCH_PINS, Failed, add_to_venv, make_venv, say, torch_venv  # noqa: E402

PINS = ["numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1", "faiss-cpu==1.15.1", "joblib==1.6.0", "pandas==3.1.1", "pyarrow==26.0.1"]
PINS += ["librosa==0.11.0", "soundfile==0.14.0", "mido==1.3.3", "pretty_midi==0.2.11.post0"]
# vmo asks for packages that its oracle does not use.
ALONE = ["vmo==0.30.5"]


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else TARGET / "release").resolve()
    here = Path(__file__).resolve().parent
    python = make_venv(TARGET / "venv-tokens", PINS)
    add_to_venv(python, "vmo", ["setuptools==80.9.0"], *ALONE)
    torch = make_venv(torch_venv(), TORCH_PINS)
    examples = folder / "examples"
    for interpreter, script, programs in [
        (python, "kmeans.py", [folder / "mert-tokens"]),
        (python, "vocabularies.py", [examples / "vocabulary", examples / "tokens"]),
        (python, "oracle_vmo.py", [examples / "oracle_json"]),
        (python, "events.py", [examples / "events"]),
        (torch, "clap.py", [examples / "clap_embed"]),
    ]:
        say(f"{script}:")
        result = subprocess.run([str(part) for part in [interpreter, here / script, *programs]])
        if result.returncode != 0:
            sys.exit(result.returncode)


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        say(str(error))
        sys.exit(2)
