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


def make_venv(folder, pins):
    """The interpreter of a virtual environment with exactly these packages, which is made on the first call."""
    python, stamp = folder / "bin" / "python", folder / ".pins"
    if not (stamp.is_file() and stamp.read_text().split() == pins):
        say(f"making {folder}")
        run(sys.executable, "-m", "venv", "--clear", folder)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins)
        stamp.write_text("\n".join(pins) + "\n")
    return python
