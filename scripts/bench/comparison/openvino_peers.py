"""OpenVINO as a peer: in float32, in bfloat16, and in int8 after quantization with NNCF."""

MODEL = "model.xml"
# The part of the scale of an activation that smooth quantization moves into the weights. Nearer to float32 than
# NNCF's default, 0.95 (without the convolutions the worst pooled cosine is 0.9997 instead of 0.9994), and as fast.
SMOOTH = 0.5


class OpenVino:
    """The exported model, or the quantized one where one was prepared.

    `precision` is for all that is not int8. OpenVINO's default is bfloat16 on processors that have it."""

    def __init__(self, arguments, precision):
        import openvino

        file = arguments.prepared / MODEL if arguments.prepared else arguments.onnx
        model = openvino.Core().read_model(file)
        model.reshape([1, arguments.samples])
        compiled = openvino.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": arguments.threads,
                "INFERENCE_PRECISION_HINT": precision,
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


def quantize(arguments):
    """Matrix products and convolutions in int8, with NNCF's settings for transformers.

    The convolutions set the accuracy: asymmetric activations, mean ranges, no smooth quantization, no bias
    correction or the slow one, and leaving single convolutions out, all stay below a pooled cosine of 0.998.
    `quantize_matmul` leaves all of them out."""
    save_quantized(arguments)


def quantize_matmul(arguments):
    """Only matrix products in int8. It takes longer than `quantize` and is much closer to float32."""
    import nncf

    kinds = ["Convolution", "GroupConvolution"]
    save_quantized(arguments, ignored_scope=nncf.IgnoredScope(types=kinds, validate=False))


def save_quantized(arguments, **options):
    import logging

    import nncf
    import openvino
    from nncf.quantization import advanced_parameters as advanced

    from comparison.model import CALIBRATION_CLIPS, calibration_clips

    nncf.set_log_level(logging.ERROR)
    smooth = advanced.AdvancedSmoothQuantParameters(matmul=SMOOTH)
    model = nncf.quantize(
        openvino.Core().read_model(arguments.onnx),
        nncf.Dataset(list(calibration_clips(arguments.checkpoint))),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=CALIBRATION_CLIPS,
        advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smooth),
        **options,
    )
    # 16-bit weights for what is left in floating point would be the default.
    openvino.save_model(model, arguments.prepared / MODEL, compress_to_fp16=False)
