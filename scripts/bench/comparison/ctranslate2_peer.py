"""CTranslate2 as a peer, for its speed alone: it runs another model of the same sizes.

Its Wav2Vec2 encoder has the layer norms of wav2vec2-large (one after every convolution, one before each part of
a layer) and returns only the last hidden state, so it cannot run MERT, which has a group norm after the first
convolution, its layer norms after each part, and all hidden states of interest. What is timed is a model with
generated weights and the checkpoint's numbers of layers, heads, channels and features. On the CPU it computes in
float32 and int8, not in bfloat16."""

import json

MODEL, SOURCE = "model", "source"
SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("conv_dim", "conv_kernel", "conv_stride", "num_feat_extract_layers"),
    *("num_conv_pos_embeddings", "num_conv_pos_embedding_groups"),
)


class CTranslate2:
    """Only the linear layers are in int8; CTranslate2 computes the convolutions in float32."""

    def __init__(self, arguments):
        import ctranslate2

        self.view = ctranslate2.StorageView.from_array
        self.model = ctranslate2.models.Wav2Vec2(
            str(arguments.prepared / MODEL),
            device="cpu",
            compute_type="int8",
            inter_threads=1,
            intra_threads=arguments.threads,
        )

    def run(self, clip):
        return [self.model.encode(self.view(clip[None]), to_cpu=True)]

    @staticmethod
    def numpy(states):
        import numpy

        return [numpy.array(state) for state in states]


def convert(arguments):
    """Makes the model with generated weights and converts it."""
    import torch
    from ctranslate2.converters.transformers import Wav2Vec2Loader
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    config = json.loads((arguments.checkpoint / "config.json").read_text())
    sizes = {name: config[name] for name in SIZES if name in config}
    norms = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**sizes, **norms)).eval()
    model.wav2vec2.save_pretrained(arguments.prepared / SOURCE)
    # Returns the encoder's output instead of the letters' scores.
    model.config.return_hidden = True
    spec = Wav2Vec2Loader().get_model_spec(model)
    spec.register_vocabulary([f"token {i}" for i in range(model.config.vocab_size)])
    spec.validate()
    spec.optimize()
    (arguments.prepared / MODEL).mkdir()
    spec.save(str(arguments.prepared / MODEL))


def write_reference(arguments, clip, output):
    """The last hidden state of the same model in PyTorch eager."""
    import numpy
    import torch
    from transformers import Wav2Vec2Model

    torch.set_num_threads(arguments.threads)
    model = Wav2Vec2Model.from_pretrained(arguments.prepared / SOURCE, attn_implementation="eager")
    with torch.inference_mode():
        states = model.eval()(torch.from_numpy(clip)).last_hidden_state
    numpy.save(output, states.numpy())
