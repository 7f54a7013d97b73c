"""The peers: each loads the model once and then runs it on a clip, in float32, on the CPU.

Each is set up to be as fast as it can be at this: no gradients, the weight norm computed beforehand, fixed
shapes where the engine can use them, every graph optimisation, one stream of work on all the threads."""

from contextlib import ExitStack
from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """What the driver needs to know about an engine."""

    title: str
    package: str
    needs_onnx: bool
    load: callable


class Torch:
    def __init__(self, arguments, attention, compiled=False):
        import torch

        from comparison.model import AllHiddenStates

        torch.set_num_threads(arguments.threads)
        torch.set_num_interop_threads(1)
        self.modes = ExitStack()
        self.modes.enter_context(torch.inference_mode())
        self.model = AllHiddenStates(arguments.checkpoint, attention)
        if compiled:
            self.model = torch.compile(self.model, dynamic=False)
        self.from_numpy = torch.from_numpy

    def run(self, clip):
        return self.model(self.from_numpy(clip))

    @staticmethod
    def numpy(states):
        return [state.numpy() for state in states]


class OnnxRuntime:
    def __init__(self, arguments):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = arguments.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The clip's length is known, so shapes can be folded.
        options.add_free_dimension_override_by_name("samples", arguments.samples)
        self.session = onnxruntime.InferenceSession(
            str(arguments.onnx), options, providers=["CPUExecutionProvider"]
        )
        (self.input,) = (node.name for node in self.session.get_inputs())

    def run(self, clip):
        return self.session.run(None, {self.input: clip})

    @staticmethod
    def numpy(states):
        return states


class OpenVino:
    def __init__(self, arguments):
        import openvino

        model = openvino.Core().read_model(arguments.onnx)
        model.reshape([1, arguments.samples])
        compiled = openvino.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": arguments.threads,
                # The default is bfloat16 on processors that have it, which computes something else.
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        self.request = compiled.create_infer_request()
        self.outputs = range(len(compiled.outputs))

    def run(self, clip):
        # Without copies on the way in and out.
        self.request.infer({0: clip}, share_inputs=True, share_outputs=True)
        return [self.request.get_output_tensor(i).data for i in self.outputs]

    @staticmethod
    def numpy(states):
        return states


# The others are compared with the first.
PEERS = {
    "eager": Peer("PyTorch eager", "torch", False, lambda a: Torch(a, "eager")),
    "sdpa": Peer("PyTorch sdpa", "torch", False, lambda a: Torch(a, "sdpa")),
    "compile": Peer("PyTorch compile", "torch", False, lambda a: Torch(a, "sdpa", compiled=True)),
    "onnxruntime": Peer("ONNX Runtime", "onnxruntime", True, OnnxRuntime),
    "openvino": Peer("OpenVINO", "openvino", True, OpenVino),
}
