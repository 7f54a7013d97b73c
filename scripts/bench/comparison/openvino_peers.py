"""OpenVINO as a peer: in float32, in bfloat16, and in int8 after quantization with NNCF."""

MODEL = "model.xml"


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

    Those include smooth quantization and the fast bias correction. Neither another strength of the one, nor
    leaving it out, nor asymmetric activations change the accuracy, and the speed is the same: the
    convolutions of the feature extractor set it. See `quantize_matmul`."""
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

    from comparison.model import CALIBRATION_CLIPS, calibration_clips

    nncf.set_log_level(logging.ERROR)
    model = nncf.quantize(
        openvino.Core().read_model(arguments.onnx),
        nncf.Dataset(list(calibration_clips(arguments.checkpoint))),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=CALIBRATION_CLIPS,
        **options,
    )
    # 16-bit weights for what is left in floating point would be the default.
    openvino.save_model(model, arguments.prepared / MODEL, compress_to_fp16=False)
