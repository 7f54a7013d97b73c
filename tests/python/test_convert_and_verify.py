"""Conversions and verifications, beside what the commands write and print."""

import json
import os
import signal
import subprocess
import sys
import time

import mert_toolkit
import numpy as np
import pytest
from mert_toolkit import ConversionError, VerificationError, convert, verify

from .conftest import command


def test_a_conversion_has_the_bytes_of_the_command(tiny, tmp_path):
    for options, arguments in [
        ({}, []),
        ({"dtype": "f32", "layout": "candle"}, ["--dtype", "f32", "--layout", "candle"]),
        ({"quantize": 4}, ["--quantize"]),
        ({"quantize": {"bits": 8, "group_size": 32, "skip": ["*.layers.0.*"]}},
         ["--quantize", "--q-bits", "8", "--q-group-size", "32", "--q-skip", "*.layers.0.*"]),
        ({"config_set": {"layer_norm_eps": 1e-4}}, ["--set", "layer_norm_eps=0.0001"]),
    ]:
        ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
        report = convert(tiny / "pytorch_model.bin", ours, force=True, **options)
        printed = json.loads(
            command("mert-convert", tiny / "pytorch_model.bin", theirs, "--force", "--json", *arguments)
        )
        assert ours.read_bytes() == theirs.read_bytes(), options
        assert report["plan"] == printed["plan"]
        assert report["output"]["written"]["sha256"] == printed["output"]["written"]["sha256"]


def test_other_outputs(tiny, tmp_path):


    report = convert(tiny / "pytorch_model.bin", tmp_path / "folder", program="hf", do_normalize=True)
    assert report["output"]["written"]["bytes"] > 0
    assert (tmp_path / "folder" / "config.json").is_file()
    convert(tiny / "pytorch_model.bin", tmp_path / "x.gguf", quantize=8)
    assert (tmp_path / "x.gguf").read_bytes()[:4] == b"GGUF"
    convert(tiny / "pytorch_model.bin", tmp_path / "x.mlpackage")
    assert (tmp_path / "x.mlpackage" / "Manifest.json").is_file()


def test_a_plan_without_an_output(tiny):
    plan = convert(tiny / "pytorch_model.bin")
    assert plan["output"] is None and len(plan["plan"]["steps"]) == 209


def test_conversion_errors_have_the_texts_of_the_command(tiny, tmp_path):
    output = tmp_path / "out.safetensors"
    output.write_bytes(b"mine")
    for arguments, options in [
        ((tiny / "pytorch_model.bin", output), {}),
        ((tmp_path / "nowhere.bin", tmp_path / "x.safetensors"), {}),
        ((tiny / "pytorch_model.bin", tmp_path / "x.onnx"), {}),
        ((tiny / "reference.npz", tmp_path / "x.safetensors"), {}),
    ]:
        with pytest.raises(ConversionError) as error:
            convert(*arguments, **options)
        program = os.path.join(os.environ["MERT_COMMANDS"], "mert-convert")
        printed = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert printed.returncode == 2
        assert str(error.value) in printed.stderr, printed.stderr
    assert output.read_bytes() == b"mine"
    for options in ({"dtype": "f8"}, {"layout": "onnx"}, {"program": "keras"}, {"quantize": {"bit": 4}},
                    {"quantize": 7}):
        with pytest.raises(ValueError):
            convert(tiny / "pytorch_model.bin", tmp_path / "x.safetensors", **options)
    assert sorted(os.listdir(tmp_path)) == ["out.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="signals of Windows are others")
@pytest.mark.parametrize("option", ["dtype='f32'", "budget='pooled>=0.9995,nmse<=1e-2'"])
def test_an_interrupted_conversion_leaves_nothing(option, tiny, tmp_path):
    if option.startswith("budget"):
        # Seconds of measurements before anything is written.
        checkpoint, is_measured = tiny / "pytorch_model.bin", True
    else:
        checkpoint, is_measured = tmp_path / "model", False
        command("mert-test-model", checkpoint)
    program = tmp_path / "long.py"
    program.write_text(
        "import signal, sys, mert_toolkit\n"
        # A shell that runs the tests in the background has this signal ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('ready', flush=True)\n"
        "try:\n"
        f"    mert_toolkit.convert({str(checkpoint)!r}, {str(tmp_path / 'out' / 'x.safetensors')!r}, {option})\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(3)\n"
    )
    (tmp_path / "out").mkdir()
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    deadline = time.time() + 60
    while not is_measured and not os.listdir(tmp_path / "out") and time.time() < deadline:
        time.sleep(0.002)
    time.sleep(1 if is_measured else 0)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 3, messages
    assert "panicked" not in messages
    assert os.listdir(tmp_path / "out") == []


def test_the_gate_passes_and_fails(model, tiny, tmp_path):
    report = verify(model, tiny / "reference.npz")
    assert report.passed and report["models"][0]["comparisons"]
    printed = tmp_path / "report.json"
    command("mert-verify", model, "--reference", tiny / "reference.npz", "--json", printed)
    theirs = json.loads(printed.read_text())
    assert [model["comparisons"] for model in theirs["models"]] == [model["comparisons"] for model in report["models"]]
    assert "<testsuite" in report.junit and "hidden state" in report.markdown.lower()
    assert report.html.startswith("<!DOCTYPE html>") and "<svg" in report.html
    # One layer's output bias is changed, by a value of its own in each dimension: the norm takes off their mean.
    wrong = tmp_path / "wrong.safetensors"
    data = bytearray(model.read_bytes())
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    name = next(name for name in header if name.endswith("layers.3.feed_forward.output_dense.bias"))
    begin, end = (8 + int.from_bytes(data[:8], "little") + at for at in header[name]["data_offsets"])
    values = np.frombuffer(bytes(data[begin:end]), "<f4")
    values = values + np.float32(0.01) * (-1.0) ** np.arange(values.size, dtype=np.float32)
    data[begin:end] = values.tobytes()
    wrong.write_bytes(data)
    report = verify(wrong, tiny / "reference.npz", layers=[0, 6, 12])
    assert not report.passed
    layers = report["models"][0]["comparisons"][0]["layers"]
    assert [layer["layer"] for layer in layers] == [0, 6, 12]


def test_the_built_in_fixture_and_a_gate_file(model, tiny, tmp_path):
    assert verify().passed
    gate = tmp_path / "verify.yaml"
    gate.write_text(f"models:\n  - model: {model}\n    references: {tiny / 'reference.npz'}\n")
    assert verify(config=gate).passed
    with pytest.raises(ValueError, match="config"):
        verify(model, config=gate)
    with pytest.raises(VerificationError, match="nothing to compare"):
        verify(model)
    with pytest.raises(ValueError, match="layers"):
        verify(model, tiny / "reference.npz", layers="most")


def test_every_exception_is_a_mert_error():
    names = ["AudioError", "CatalogueError", "ConversionError", "ModelError", "VerificationError"]
    assert all(issubclass(getattr(mert_toolkit, name), mert_toolkit.MertError) for name in names)


def test_bits_are_chosen_by_measurement(tiny, tmp_path):
    checkpoint = tiny / "pytorch_model.bin"
    options = {"dtype": "f32", "do_normalize": True, "sampling_rate": 24000, "quiet": True}
    # Six layers of 73, so that few are measured.
    only = {"quantize": {"only": "*.layers.3.*"}}
    limits = "pooled>=0.9995,nmse<=1e-2"
    document = mert_toolkit.convert(checkpoint, tmp_path / "ours.safetensors", budget=limits, int8_budget="pooled>=0.9", **options, **only)
    worst = document["budget"]["held_out"]["worst"]
    assert worst["nmse"] <= 1e-2 and worst["pooled_cosine"] >= 0.9995
    assert {layer["bits"] for layer in document["budget"]["layers"]} - {None} and document["int8"]["modules"]
    theirs = tmp_path / "theirs.safetensors"
    command("mert-convert", checkpoint, theirs, "--dtype", "f32", "--do-normalize", "true", "--sampling-rate", 24000,
            "--q-only", "*.layers.3.*", "--budget", limits, "--int8-budget", "pooled>=0.9")  # fmt: skip
    assert (tmp_path / "ours.safetensors").read_bytes() == theirs.read_bytes()
    for arguments, error, text in [
        ({"budget": limits, "size": "1MB"}, ValueError, "one of them"),
        ({"budget": limits, "quantize": 4}, ValueError, "choose the bits"),
        ({"calibration": tmp_path}, ValueError, "calibration"),
        ({"budget": "pooled>=2"}, ValueError, "budget"),
        ({"budget": "nmse<=1e-12", "dtype": "f16", **only}, mert_toolkit.ConversionError, "nmse"),
        ({"size": 1000}, mert_toolkit.ConversionError, "byte"),
    ]:
        with pytest.raises(error, match=text):
            mert_toolkit.convert(checkpoint, tmp_path / "none.safetensors", **options | arguments)
    assert not (tmp_path / "none.safetensors").exists()


def test_core_ml_packages_have_their_options(tiny, tmp_path):
    checkpoint, package = tiny / "pytorch_model.bin", tmp_path / "tiny.mlpackage"
    options = {"seconds": [1, 2], "frames": True, "layers": [0, 6], "minimum_deployment": "ios18", "compress": "int8"}
    mert_toolkit.convert(checkpoint, package, coreml=options, quiet=True)
    theirs = tmp_path / "theirs.mlpackage"
    command("mert-convert", checkpoint, theirs, "--seconds", "1,2", "--frames", "--layers", "0,6", "--minimum-deployment", "ios18",
            "--compress", "int8", "--quiet")  # fmt: skip
    (model,) = package.rglob("*.mlmodel")
    assert model.read_bytes() == (theirs / model.relative_to(package)).read_bytes()
    for output, given, error, text in [
        ("a.safetensors", {"seconds": 1}, mert_toolkit.ConversionError, "coreml"),
        ("a.mlpackage", {"second": 1}, ValueError, "second"),
        ("a.mlpackage", {"block_size": 16}, ValueError, "compress"),
        ("a.mlpackage", {"minimum_deployment": "ios9"}, ValueError, "ios9"),
    ]:
        with pytest.raises(error, match=text):
            mert_toolkit.convert(checkpoint, tmp_path / output, coreml=given, quiet=True)
    with pytest.raises(mert_toolkit.ConversionError, match="max-shard-size"):
        mert_toolkit.convert(checkpoint, package, max_shard_size="1MB", force=True, quiet=True)
