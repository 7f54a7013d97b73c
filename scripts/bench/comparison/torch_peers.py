"""PyTorch as a peer: eager, with fused attention, compiled, in bfloat16, with int8 weights."""

from contextlib import ExitStack


class Torch:
    """The transformers model. `autocast` multiplies in bfloat16, `int8` the linear layers in int8."""

    def __init__(self, arguments, attention, compiled=False, autocast=False, int8=False):
        import torch

        from comparison.model import AllHiddenStates

        torch.set_num_threads(arguments.threads)
        torch.set_num_interop_threads(1)
        # Loaded before inference mode begins: autocast keeps the bfloat16 weights from run to run only of
        # parameters that could have a gradient.
        self.model = AllHiddenStates(arguments.checkpoint, attention)
        if int8:
            self.model = quantized(self.model)
        self.modes = ExitStack()
        self.modes.enter_context(torch.inference_mode())
        if autocast:
            self.modes.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
        if compiled:
            self.model = torch.compile(self.model, dynamic=False)
        self.from_numpy = torch.from_numpy

    def run(self, clip):
        return self.model(self.from_numpy(clip))

    @staticmethod
    def numpy(states):
        """In float32, which NumPy has; widening the states is not timed."""
        return [state.float().numpy() for state in states]


def quantized(model):
    """Every nn.Linear with an int8 scale of each output channel; activations are quantized in each run.

    One scale for a whole weight, the default, is a little further from float32."""
    import torch
    from torch.ao import quantization

    per_channel = {torch.nn.Linear: quantization.per_channel_dynamic_qconfig}
    return quantization.quantize_dynamic(model, per_channel, dtype=torch.qint8)
