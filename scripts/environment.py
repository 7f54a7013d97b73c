"""The repository's folders, and Python environments of their own for the scripts in check/ and bench/.

Such a script puts the folder above its own on sys.path and imports this module.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


class Failed(Exception):
    """The script cannot do its work: exit status 2."""


def say(*words):
    """Prints to standard error: standard output is for results."""
    print(*words, file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command and raises `Failed` unless it succeeds. Its output goes to standard error, unless `stdout` is given."""
    command = [str(part) for part in command]
    result = subprocess.run(command, **({"stdout": sys.stderr} | options))
    if result.returncode != 0:
        raise Failed(f"exit status {result.returncode} from: {' '.join(command)}")
    return result


# What the checks against transformers run in; on Linux the torch of PyPI brings CUDA with it, 5 GB.
TORCH_PINS = ["torch==2.13.0", "transformers==5.23.0", "numpy==2.4.6"]


def torch_venv():
    """The folder of the environment with `TORCH_PINS`."""
    return Path(os.environ.get("MERT_TORCH_VENV", TARGET / "venv-torch"))


def make_venv(folder, pins):
    """The interpreter of a virtual environment with exactly these packages, which is made on the first call."""
    python, stamp = folder / "bin" / "python", folder / ".pins"
    if not (stamp.is_file() and stamp.read_text().split() == pins):
        say(f"making {folder}")
        run(sys.executable, "-m", "venv", "--clear", folder)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins)
        stamp.write_text("\n".join(pins) + "\n")
    return python


def add_to_venv(python, name, pins, *alone):
    """Installs more packages in an environment, and those of `alone` without what they require, on the first call."""
    stamp = python.parents[1] / f".pins-{name}"
    if not (stamp.is_file() and stamp.read_text().split() == [*pins, *alone]):
        say(f"adding {' '.join([*pins, *alone])} to {python.parents[1]}")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run(*install, *pins)
        if alone:
            run(*install, "--no-deps", *alone)
        stamp.write_text("\n".join([*pins, *alone]) + "\n")
