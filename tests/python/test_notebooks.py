"""The notebooks run from their first cell to their last, on the small model and generated music."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.parametrize("name", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_notebook(name, model, music, tmp_path):
    environment = os.environ | {"MERT_MODEL": str(model), "MUSIC": str(music), "VOCABULARY": "64", "MPLBACKEND": "agg"}
    execute = ["nbconvert", "--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=300"]
    command = [sys.executable, "-m", "jupyter", *execute, "--output-dir", tmp_path, NOTEBOOKS / name]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=NOTEBOOKS)
    assert result.returncode == 0, result.stderr[-3000:]
    cells = json.loads((tmp_path / name).read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    # Each shows a picture, and prints nothing on standard error: no warning of a library, no missing font.
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.get("name") == "stderr"]
    # Committed without outputs: they are those of whoever runs them.
    stored = json.loads((NOTEBOOKS / name).read_text())["cells"]
    assert all(not cell.get("outputs") for cell in stored)
