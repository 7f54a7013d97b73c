"""The peers by name: what each is called, in which precision it multiplies, and what has to be made for it.

Each loads the model once and then runs it on a clip, on the CPU, and is set up to be as fast as it can be at
this: no gradients, the weight norm computed beforehand, fixed shapes where the engine can use them, every graph
optimisation, one stream of work on all the threads. The modules that are named here import their engine only
when they load or prepare something."""

from collections.abc import Callable
from dataclasses import dataclass

from comparison import ctranslate2_peer, onnx_peers, openvino_peers, torch_peers

F32, BF16, INT8 = PRECISIONS = ("f32", "bf16", "int8")


@dataclass(frozen=True)
class Peer:
    """What the driver needs to know about an engine."""

    title: str
    package: str
    # Of the operands of its matrix products: of all that the engine can compute so.
    precision: str
    load: Callable
    # Reads the ONNX file that `comparison.model` writes, to run it or to quantize it.
    needs_onnx: bool = False
    # Makes the files of the engine's own in `arguments.prepared`, before anything is loaded.
    prepare: Callable | None = None
    # Writes the states that this engine is compared with, where it can only run another model of equal size,
    # and returns one state.
    other_model: Callable | None = None


def torch_peer(title, precision, attention, **options):
    return Peer(
        title, "torch", precision, lambda a: torch_peers.Torch(a, attention, **options)
    )


def onnx_peer(title, precision, prepare=None):
    return Peer(title, "onnxruntime", precision, onnx_peers.OnnxRuntime, True, prepare)


def openvino_peer(title, precision, rest, prepare=None):
    return Peer(
        title, "openvino", precision, lambda a: openvino_peers.OpenVino(a, rest), True, prepare
    )


# The others are compared with the first.
PEERS = {
    "eager": torch_peer("PyTorch eager", F32, "eager"),
    "sdpa": torch_peer("PyTorch sdpa", F32, "sdpa"),
    "compile": torch_peer("PyTorch compile", F32, "sdpa", compiled=True),
    "onnxruntime": onnx_peer("ONNX Runtime", F32),
    "openvino": openvino_peer("OpenVINO", F32, F32),
    "torch-bf16": torch_peer("PyTorch sdpa, bf16 autocast", BF16, "sdpa", autocast=True),
    "openvino-bf16": openvino_peer("OpenVINO bf16", BF16, BF16),
    "torch-int8-dynamic": torch_peer("PyTorch int8 dynamic", INT8, "sdpa", int8=True),
    "onnxruntime-int8-dynamic": onnx_peer(
        "ONNX Runtime int8 dynamic", INT8, onnx_peers.quantize_dynamic
    ),
    "onnxruntime-int8-static": onnx_peer(
        "ONNX Runtime int8 static", INT8, onnx_peers.quantize_static
    ),
    "openvino-int8": openvino_peer("OpenVINO int8", INT8, BF16, openvino_peers.quantize),
    "openvino-int8-matmul": openvino_peer(
        "OpenVINO int8, convolutions bf16", INT8, BF16, openvino_peers.quantize_matmul
    ),
    "ctranslate2-int8": Peer(
        "CTranslate2 int8 (another model of equal size, last hidden state only)",
        "ctranslate2",
        INT8,
        ctranslate2_peer.CTranslate2,
        prepare=ctranslate2_peer.convert,
        other_model=ctranslate2_peer.write_reference,
    ),
}
