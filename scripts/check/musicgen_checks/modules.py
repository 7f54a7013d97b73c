"""MusicGen as modules of MLX by the names of mlx-examples, with the CP transformer, and the classes of other packages."""

import importlib
import sys
import types
from types import SimpleNamespace

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from bundles import Mismatch, config_of, quantization_of, tensors_of


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, part, nn.Linear(width, width, bias=False))

    def split(self, x):
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)

    def attend(self, q, k, v, mask=None):
        mixed = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)
        return mixed.transpose(0, 2, 1, 3).flatten(2)


class Layer(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        width, heads, inner = (decoder[field] for field in ("hidden_size", "num_attention_heads", "ffn_dim"))
        self.self_attn, self.cross_attn = Attention(width, heads), Attention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)
        self.norm1, self.norm_cross, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def feed_forward(self, x):
        return self.linear2(nn.gelu(self.linear1(self.norm2(x))))


class LanguageModel(nn.Module):
    def __init__(self, decoder):
        super().__init__()
        width, card, codebooks = (decoder[field] for field in ("hidden_size", "vocab_size", "num_codebooks"))
        self.emb = [nn.Embedding(card + 1, width) for _ in range(codebooks)]
        self.layers = [Layer(decoder) for _ in range(decoder["num_hidden_layers"])]
        self.out_norm = nn.LayerNorm(width)
        self.linears = [nn.Linear(width, card, bias=False) for _ in range(codebooks)]

    def embed(self, codes):
        return sum(embedding(codes[k])[None] for k, embedding in enumerate(self.emb))


class Condition(nn.Module):
    """The CP transformer's own tensors; the rest of it are the language model's layers."""

    def __init__(self, shape, width):
        super().__init__()
        self.pos_emb = mx.zeros((shape["num_layers"] + 1, shape["max_frames"], width))
        self.gates = mx.zeros(shape["num_layers"])
        self.merge_linear = [nn.Linear(width, width, bias=False) for _ in range(shape["num_layers"])]


class TextConditioner(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.output_proj = nn.Linear(inputs, outputs)


class Model(nn.Module):
    """The tree of a bundle by the names `mlx`. Codes are (K, steps), one row at a time, the whole sequence at once."""

    def __init__(self, config):
        super().__init__()
        decoder = config["decoder"]
        self.special = decoder["vocab_size"]
        self.lm = LanguageModel(decoder)
        self.text_conditioner = TextConditioner(config["text_encoder"]["d_model"], decoder["hidden_size"])
        if "cp_transformer" in config:
            self.cp_transformer = Condition(config["cp_transformer"], decoder["hidden_size"])

    def prefix(self, codes):
        """Queries, keys and values of every layer for the codes (K, n) of a clip."""
        codes = mx.concatenate([codes, mx.full((codes.shape[0], 1), self.special, codes.dtype)], axis=1)
        embedded, cp = self.lm.embed(codes), self.cp_transformer
        out, parts = cp.pos_emb[:1, : codes.shape[1]], []
        for i, layer in enumerate(self.lm.layers):
            x = layer.norm1(out) + cp.merge_linear[i](embedded) + cp.pos_emb[i + 1, : codes.shape[1]]
            own = layer.self_attn
            q, k, v = (own.split(project(x)) for project in (own.q_proj, own.k_proj, own.v_proj))
            out = out + own.out_proj(own.attend(q, k, v, "causal"))
            out = out + layer.feed_forward(out)
            parts.append((q, k, v))
        return parts

    def logits(self, sequence, condition=None, prefix=None):
        x = self.lm.embed(sequence)
        steps, half = x.shape[1], x.shape[2] // 2
        phase = mx.arange(steps)[:, None] / 10000 ** (mx.arange(half) / (half - 1))
        x = x + mx.concatenate([mx.cos(phase), mx.sin(phase)], axis=-1)
        for i, layer in enumerate(self.lm.layers):
            own, normed = layer.self_attn, layer.norm1(x)
            q, k, v = (own.split(project(normed)) for project in (own.q_proj, own.k_proj, own.v_proj))
            mixed = own.attend(q, k, v, "causal")
            if prefix is not None:
                pq, pk, pv = prefix[i]
                rows = mx.minimum(mx.arange(steps), pq.shape[2] - 2)
                mixed = mixed + self.cp_transformer.gates[i] * own.attend(q + pq[:, :, rows], pk, pv)
            x = x + own.out_proj(mixed)
            if condition is not None:
                cross = layer.cross_attn
                q, k, v = (cross.split(p) for p in (cross.q_proj(layer.norm_cross(x)), cross.k_proj(condition), cross.v_proj(condition)))
                x = x + cross.out_proj(cross.attend(q, k, v))
            x = x + layer.feed_forward(x)
        x = self.lm.out_norm(x)
        return np.stack([np.array(head(x)[0]) for head in self.lm.linears])


def fill(model, config, weights, path_of=lambda path: path):
    """Quantizes the layers that config.json says and loads strictly, in float32. `path_of`: a module's path in the bundle."""
    if "quantization" in config:
        if config["quantization"] != config.get("quantization_config"):
            raise Mismatch("config.json: quantization and quantization_config differ")

        def options(path, module):
            # MLX's rule for a layer: what can be quantized is, unless config.json excludes it by name.
            return (quantization_of(config, path_of(path)) or False) if hasattr(module, "to_quantized") else False

        nn.quantize(model, class_predicate=options)
    model.load_weights(list(weights.items()), strict=True)
    # mx.quantized_matmul accumulates in the type of its input, and takes scales of that type only.
    model.set_dtype(mx.float32)
    mx.eval(model.parameters())
    return model


def load(bundle):
    """A bundle by the names `mlx`, strictly."""
    config = config_of(bundle)
    return fill(Model(config), config, tensors_of(bundle))


# --- classes of others ----------------------------------------------------------------------------


def rows_of(call, sequence, condition, caches):
    """Logits (K, steps, card) of one step at a time with caches, for the text row and the null row as these classes run them."""
    batch = mx.concatenate([condition, mx.zeros_like(condition)])
    taken = []
    for step in range(sequence.shape[1]):
        tokens = mx.tile(mx.array(sequence[:, step])[None, None], [2, 1, 1])
        taken.append(np.array(call(tokens, batch, caches)[:, 0]))
    text, null = np.stack(taken, axis=2).transpose(0, 3, 2, 1)
    return text, null


def mlx_examples(folder, bundle):
    """mlx-examples' own class over a bundle `--for mlx-examples`, without T5 and EnCodec."""
    stubs = {
        "encodec": {"EncodecModel": SimpleNamespace(from_pretrained=lambda name: (None, None))},
        "t5": {"T5": SimpleNamespace(from_pretrained=lambda name: (None, None))},
    }
    for name, members in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(members)
    sys.path.insert(0, str(folder / "musicgen"))
    theirs = importlib.import_module("musicgen")
    config = config_of(bundle)
    parts = {name: SimpleNamespace(**value) if isinstance(value, dict) else value for name, value in config.items()}
    model = fill(theirs.MusicGen(SimpleNamespace(**parts)), config, tensors_of(bundle))
    caches = [theirs.KVCache(model.hidden_size // model.num_attention_heads, model.num_attention_heads) for _ in model.layers]

    def logits(sequence, states):
        return rows_of(model, sequence, model.text_conditioner.output_proj(mx.array(states)[None]), caches)

    return logits


def package(name, *parts):
    """A module of an installed package whose `__init__` imports more than is needed."""
    for end in range(1, len(parts)):
        path = ".".join([name, *parts[:end]])
        if path not in sys.modules:
            root = importlib.util.find_spec(name).submodule_search_locations[0]
            sys.modules[path] = types.ModuleType(path)
            sys.modules[path].__path__ = ["/".join([root, *parts[:end]])]
    return importlib.import_module(".".join([name, *parts]))


def mlx_audiogen(bundle):
    """`MusicGenModel` of mlx-audiogen over a bundle with transformers' names, which it expects without their first part."""
    theirs = package("mlx_audiogen", "models", "musicgen", "model")
    config = config_of(bundle)
    own = sys.modules["mlx_audiogen.models.musicgen.config"].MusicGenConfig.from_dict(config)

    def short(name):
        return name.removeprefix("decoder.model.decoder.").removeprefix("decoder.")

    def full(path):
        top = "" if path.startswith("enc_to_dec_proj") else "decoder." if path.startswith("lm_heads") else "decoder.model.decoder."
        return top + path

    weights = {short(name): tensor for name, tensor in tensors_of(bundle).items()}
    model = fill(theirs.MusicGenModel(own), config, weights, full)
    caches = [theirs.KVCache(model.hidden_size // model.num_attention_heads, model.num_attention_heads) for _ in model.layers]

    def logits(sequence, states):
        return rows_of(model, sequence, model.enc_to_dec_proj(mx.array(states)[None]), caches)

    return logits


def mlx_audio_codec(folder):
    """`Encodec` of mlx-audio over the codec of a bundle."""
    package("mlx_audio", "codec", "models", "encodec", "encodec")
    theirs = sys.modules["mlx_audio.codec.models.encodec.encodec"]
    config = config_of(folder)
    # It takes the number of codebooks from the bandwidth, at ten bits a code for any size.
    codebooks = sum(name.endswith("codebook.embed") for name in tensors_of(folder))
    config["target_bandwidths"] = [codebooks * 10 * config["sampling_rate"] / np.prod(config["upsampling_ratios"]) / 1000]
    model = theirs.Encodec(SimpleNamespace(**config))
    model.load_weights(list(tensors_of(folder).items()), strict=True)
    return model
