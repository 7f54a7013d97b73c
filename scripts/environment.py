"""What the scripts share that run programs in a Python environment of their own."""

import subprocess
import sys


class Failed(Exception):
    """Exit status 2."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def run(*command, **options):
    """Runs a command. What it prints belongs to the log, not to the tables, unless `stdout` says otherwise."""
    command = [str(part) for part in command]
    result = subprocess.run(command, **({"stdout": sys.stderr} | options))
    if result.returncode != 0:
        raise Failed(f"exit status {result.returncode} from: {' '.join(command)}")
    return result


def make_venv(folder, pins):
    """A virtual environment with exactly these packages; the interpreter in it."""
    python, stamp = folder / "bin" / "python", folder / ".pins"
    if not (stamp.is_file() and stamp.read_text().split() == pins):
        say(f"making {folder}")
        run(sys.executable, "-m", "venv", "--clear", folder)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins)
        stamp.write_text("\n".join(pins) + "\n")
    return python
