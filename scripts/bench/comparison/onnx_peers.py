"""ONNX Runtime as a peer: in float32, and with int8 weights, quantized with its own tools."""

import tempfile
from pathlib import Path

MODEL = "model.onnx"
# The products with weights. Convolutions in int8 make the static model faster and take its worst pooled
# cosine from 0.997 to 0.987.
PRODUCTS = ["MatMul", "Gemm"]


class OnnxRuntime:
    """The exported model, or the quantized one where one was prepared."""

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
        file = arguments.prepared / MODEL if arguments.prepared else arguments.onnx
        self.session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        (self.input,) = (node.name for node in self.session.get_inputs())

    def run(self, clip):
        return self.session.run(None, {self.input: clip})

    @staticmethod
    def numpy(states):
        return states


def quantize_dynamic(arguments):
    """Weights in int8 with a scale of each output channel; activations are quantized in each run.

    `reduce_range` is for processors whose int8 products saturate (AVX2 without VNNI); it costs accuracy."""
    from onnxruntime import quantization

    with optimised(arguments.onnx) as file:
        quantization.quantize_dynamic(
            file, arguments.prepared / MODEL, op_types_to_quantize=PRODUCTS, per_channel=True
        )


def quantize_static(arguments):
    """Weights as in `quantize_dynamic`; activations have the ranges that they had on the calibration clips.

    Unsigned activations with signed weights: signed ones are as close and slower. The ranges are means over
    the clips; extremes and percentiles are no closer."""
    from onnxruntime import quantization

    with optimised(arguments.onnx) as file:
        quantization.quantize_static(
            file,
            arguments.prepared / MODEL,
            clip_reader(arguments.checkpoint),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=PRODUCTS,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "CalibMovingAverage": True},
        )


class optimised(tempfile.TemporaryDirectory):
    """The file after the optimisations and the shape inference that the quantization tools ask for."""

    def __init__(self, onnx):
        super().__init__()
        self.onnx = onnx

    def __enter__(self):
        from onnxruntime.quantization.shape_inference import quant_pre_process

        file = Path(super().__enter__()) / MODEL
        # The symbolic part is for shapes that depend on values. Here none does.
        quant_pre_process(str(self.onnx), str(file), skip_symbolic_shape=True)
        return file


def clip_reader(checkpoint):
    from onnxruntime.quantization import CalibrationDataReader

    from comparison.model import INPUT, calibration_clips

    class Clips(CalibrationDataReader):
        def __init__(self):
            self.clips = iter(calibration_clips(checkpoint))

        def get_next(self):
            clip = next(self.clips, None)
            return None if clip is None else {INPUT: clip}

    return Clips()
