"""Language models of bundles: MLX and transformers beside the references, quantized ones beside their dequantized weights."""

import shutil

import mlx.core as mx
import numpy as np
import torch
from transformers import MusicgenForConditionalGeneration, T5EncoderModel

from bundles import FIXTURES, SAME, Mismatch, config_of, convert, dequantized, exact_model, quantization_of, reference
from bundles import relative, tensors_of
from modules import load, mlx_audiogen, mlx_examples

ENCODINGS = [["--q-bits", "4"], ["--q-bits", "8", "--q-group-size", "32"], ["--q-bits", "6"], ["--q-bits", "5", "--q-group-size", "32"]]
ENCODINGS += [["--budget", "0.05"]]


def close(checks, actual, expected, what):
    """Written so that NaN fails."""
    error = relative(actual, expected)
    checks.that(error <= SAME, what, f"{error:.1e} of the largest")


def rows(checks, got, expected, what):
    for row, name in zip(got, ("logits", "logits_null")):
        close(checks, row, expected[name], f"{what}: {name}")


def model_rows(model, expected):
    """The logits of both rows, and the prefix if there is one, of the module tree."""
    prefix = model.prefix(mx.array(expected["codes"])) if "prefix_q" in expected else None
    states = model.text_conditioner.output_proj(mx.array(expected["text_states"])[None])
    sequence = mx.array(expected["seq"])
    return [model.logits(sequence, states, prefix), model.logits(sequence, None, prefix)], prefix


def check_module(checks, bundle, expected, what):
    """The module tree loads a bundle strictly and returns the expected logits."""
    got, prefix = model_rows(load(bundle), expected)
    rows(checks, got, expected, what)
    for k, part in enumerate("qkv" if prefix is not None else ""):
        close(checks, np.stack([np.array(layer[k][0]) for layer in prefix]), expected[f"prefix_{part}"], f"{what}: prefix_{part}")


def exact(bundle, expected):
    """What the reference model in float64 returns for a bundle's dequantized weights."""
    model = exact_model(bundle)
    prefix = model.prefix(torch.from_numpy(expected["codes"])) if "prefix_q" in expected else None
    condition, sequence = model.text(torch.from_numpy(expected["text_states"])), torch.from_numpy(expected["seq"])
    out = dict(expected, logits=model.forward(sequence, condition, prefix)[0], logits_null=model.forward(sequence, None, prefix)[0])
    return out | {f"prefix_{part}": tensor for part, tensor in zip("qkv", prefix or [])}


def divergence(logits, expected):
    """The mean KL divergence of the tokens' distributions, in nats."""
    p, q = (torch.as_tensor(np.asarray(values)).double().log_softmax(-1) for values in (expected, logits))
    return (p.exp() * (p - q)).sum(-1).mean().item()


def check_codes(checks, quantized, plain, what):
    """Quantized weights have the bytes of `mx.quantize` of the float weights in the type of the scales."""
    config, found, weights = config_of(quantized), tensors_of(quantized), tensors_of(plain)
    paths = [name.removesuffix(".scales") for name in found if name.endswith(".scales")]
    for path in paths:
        expected = mx.quantize(weights[f"{path}.weight"].astype(found[f"{path}.scales"].dtype), **quantization_of(config, path))
        for part, value in zip(("weight", "scales", "biases"), expected):
            if not mx.array_equal(found[f"{path}.{part}"], value):
                raise Mismatch(f"{what}: {path}.{part} differs from what mx.quantize returns")
    checks.that(len(paths) > 0, f"{what}: the bytes of mx.quantize", f"{len(paths)} weights")


def check_quantized(checks, binaries, source, folder, plain, expected):
    for options in ENCODINGS:
        bundle = convert(binaries, source, folder / "quantized", "--quantize", "--dtype", "f32", *options)
        what = f"{source} {' '.join(options)}"
        check_codes(checks, bundle, plain, what)
        own = exact(bundle, expected)
        checks.say(f"{what}: beside float32", f"KL {divergence(own['logits'], expected['logits']):.1e} nats")
        check_module(checks, bundle, own, what)
        shutil.rmtree(bundle)
    bundle = convert(binaries, source, folder / "quantized-f16", "--quantize")
    check_module(checks, bundle, exact(bundle, expected), f"{source} 4 bits, f16 scales")
    return bundle


# --- names of others ------------------------------------------------------------------------------


def check_transformers(checks, bundle, expected, what):
    """transformers' class with a bundle's language model and T5; EnCodec has MLX's layout and stays behind."""
    found = {name: torch.from_numpy(np.array(tensor)) for name, tensor in dequantized(bundle).items()}
    model = MusicgenForConditionalGeneration(MusicgenForConditionalGeneration.config_class.from_pretrained(FIXTURES / "plain")).eval()
    text = {f"text_encoder.{name}": torch.from_numpy(np.array(tensor)) for name, tensor in dequantized(bundle / "t5").items()}
    text["text_encoder.encoder.embed_tokens.weight"] = text["text_encoder.shared.weight"]
    wanted = {name for name in model.state_dict() if not name.startswith("audio_encoder.")}
    given = (found | text).keys()
    note = f"{len(given)} tensors" if given == wanted else str(given ^ wanted)
    checks.that(given == wanted, f"{what}: the names of transformers", note)
    model.load_state_dict(found | text, strict=False)
    with torch.no_grad():
        ids, sequence = torch.from_numpy(expected["text_ids"])[None], torch.from_numpy(expected["seq"])
        states = model.text_encoder(input_ids=ids).last_hidden_state
        mask = torch.ones_like(ids)
        text = model(encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=sequence).logits
        null = model(encoder_outputs=(states * 0,), attention_mask=mask * 0, decoder_input_ids=sequence).logits
    close(checks, states[0], expected["text_states"], f"{what}: T5")
    rows(checks, [text, null], expected, what)


def check_t5(checks, bundle, expected, what):
    """transformers loads `t5/` with no missing and no unexpected tensor."""
    model, info = T5EncoderModel.from_pretrained(bundle / "t5", output_loading_info=True, dtype=torch.float32)
    problems = {key: found for key, found in info.items() if found}
    checks.that(not problems, f"{what}: T5EncoderModel loads t5/", str(problems) if problems else "")
    with torch.no_grad():
        states = model.eval()(input_ids=torch.from_numpy(expected["text_ids"])[None]).last_hidden_state[0]
    close(checks, states, expected["text_states"], f"{what}: T5's states")


# --- the sources ----------------------------------------------------------------------------------


def check_plain(checks, binaries, folder, examples):
    expected = reference("plain")
    plain = convert(binaries, "plain", folder / "plain", "--dtype", "f32", "--t5-dtype", "f32")
    check_module(checks, plain, expected, "plain f32")
    check_t5(checks, plain, expected, "plain")
    quantized = check_quantized(checks, binaries, "plain", folder, plain, expected)
    check_mutants(checks, quantized, exact(quantized, expected), folder)

    named = convert(binaries, "plain", folder / "hf", "--names", "hf", "--dtype", "f32", "--t5-dtype", "f32")
    check_transformers(checks, named, expected, "plain --names hf: transformers")
    rows(checks, mlx_audiogen(named)(expected["seq"], expected["text_states"]), expected, "plain --names hf: mlx-audiogen")
    named = convert(binaries, "plain", folder / "hf-4", "--names", "hf", "--quantize")
    own = exact(named, expected)
    rows(checks, mlx_audiogen(named)(expected["seq"], expected["text_states"]), own, "plain --names hf, 4 bits: mlx-audiogen")

    strict = [("f32", ["--dtype", "f32"], lambda bundle: expected)]
    strict += [("4 bits", ["--quantize"], lambda bundle: exact(bundle, expected))]
    for name, options, wanted in strict:
        bundle = convert(binaries, "plain", folder / f"examples-{name[0]}", "--for", "mlx-examples", *options)
        names = {f"lm.{name}" if not name.startswith("text_") else name for name in tensors_of(bundle)}
        beside = quantized if name == "4 bits" else plain
        checks.that(names == tensors_of(beside).keys(), f"plain --for mlx-examples {name}: the names without `lm.`")
        rows(checks, exact_rows(bundle, expected), wanted(bundle), f"plain --for mlx-examples {name}: float64")
        if examples:
            got = mlx_examples(examples, bundle)(expected["seq"], expected["text_states"])
            rows(checks, got, wanted(bundle), f"plain --for mlx-examples {name}: mlx-examples' class")


def exact_rows(bundle, expected):
    own = exact(bundle, expected)
    return [own["logits"], own["logits_null"]]


def check_instruct(checks, binaries, folder):
    expected = reference("instruct")
    plain = convert(binaries, "instruct", folder / "instruct", "--dtype", "f32", "--t5-dtype", "f32")
    check_module(checks, plain, expected, "instruct f32")
    check_t5(checks, plain, expected, "instruct")
    quantized = check_quantized(checks, binaries, "instruct", folder, plain, expected)
    check_mutants(checks, quantized, exact(quantized, expected), folder)
    for names in ("hf", "upstream"):
        bundle = convert(binaries, "instruct", folder / f"instruct-{names}", "--names", names, "--dtype", "f32")
        rows(checks, exact_rows(bundle, expected), expected, f"instruct --names {names}")


# --- defects --------------------------------------------------------------------------------------


def check_mutants(checks, bundle, expected, folder):
    """Defective copies of a quantized bundle must not load, or return something else."""
    path = "lm.layers.1.self_attn.v_proj"

    def swap_codes(weights):
        low, high = mx.array(0x0F0F0F0F, mx.uint32), mx.array(0xF0F0F0F0, mx.uint32)
        packed = weights[f"{path}.weight"]
        weights[f"{path}.weight"] = ((packed & low) << 4) | ((packed & high) >> 4)

    def exchange(one, other):
        def change(weights):
            weights[one], weights[other] = weights[other], weights[one]

        return change

    mutants = {
        "codes swapped": swap_codes,
        "scales and biases exchanged": exchange(f"{path}.scales", f"{path}.biases"),
        "q and k exchanged": lambda weights: [
            exchange(f"lm.layers.0.cross_attn.q_proj.{part}", f"lm.layers.0.cross_attn.k_proj.{part}")(weights)
            for part in ("weight", "scales", "biases")
        ],
        "norms exchanged": exchange("lm.layers.0.norm1.weight", "lm.layers.0.norm2.weight"),
        "layers exchanged": exchange("lm.layers.0.norm_cross.bias", "lm.layers.1.norm_cross.bias"),
        "codebooks exchanged": exchange("lm.emb.1.weight", "lm.emb.2.weight"),
        "a tensor missing": lambda weights: weights.pop(f"{path}.biases"),
        "a tensor left over": lambda weights: weights.update({"lm.extra": mx.zeros(3)}),
    }
    if "prefix_q" in expected:
        mutants["gates shifted"] = lambda weights: weights.update({"cp_transformer.gates": mx.roll(weights["cp_transformer.gates"], 1)})
    for name, change in mutants.items():
        copy = folder / "mutant"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(bundle, copy)
        weights = tensors_of(copy)
        change(weights)
        (copy / "model.safetensors.index.json").unlink(missing_ok=True)
        mx.save_safetensors(str(copy / "model.safetensors"), weights, {"format": "mlx"})
        try:
            got = model_rows(load(copy), expected)[0]
        except (ValueError, KeyError, Mismatch) as refusal:
            checks.say(f"mutant: {name}", f"{type(refusal).__name__}: {str(refusal).splitlines()[0][:60]}")
            continue
        error = max(relative(row, expected[part]) for row, part in zip(got, ("logits", "logits_null")))
        checks.that(not error <= SAME, f"mutant: {name}", f"{error:.1e} of the largest")
