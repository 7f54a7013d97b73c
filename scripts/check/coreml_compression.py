"""The comparison of compressed weights with those that coremltools makes of floats."""

import re
from pathlib import Path

import coremltools.optimize.coreml as optimize
import numpy as np
from coremltools.optimize.coreml import _quantization_passes as passes

# coremltools uses its exact k-means for weights of at least 10,000 values, and scikit-learn's for
# others, which depends on random numbers. The exact one takes them, too.
_kmeans = passes._get_kmeans_lookup_table_and_weight


def _exact_kmeans(nbits, weight, force_kmeans1d, cluster_dim, vector_axis):
    del force_kmeans1d
    return _kmeans(nbits, weight, True, cluster_dim, vector_axis)


passes._get_kmeans_lookup_table_and_weight = _exact_kmeans


def parameters(operation):
    """The values in the place of a compressed weight's parameters."""
    values = {name: value for name, value in operation.attributes.items() if name != "name"}
    for name, argument in operation.inputs.items():
        for binding in argument.arguments:
            if binding.WhichOneof("binding") == "value":
                values[name] = binding.value
    return values


def constexprs(block):
    return [o for o in block.operations if o.type.startswith("constexpr_")]


def is_compressed(block):
    return bool(constexprs(block))


def stored_values(block):
    """The name and the value of each tensor in the file of weights."""
    for operation in block.operations:
        name = operation.outputs[0].name if operation.outputs else ""
        if operation.type == "const":
            value = operation.attributes["val"]
            if value.WhichOneof("value") == "blobFileValue":
                yield name, value
        elif operation.type.startswith("constexpr_"):
            for parameter, value in parameters(operation).items():
                if value.WhichOneof("value") == "blobFileValue":
                    yield f"{name}.{parameter}", value


def configuration(scheme):
    """coremltools' configuration of a scheme, as mert-convert names it in the metadata."""
    if match := re.fullmatch(r"(\d)-bit palettes", scheme):
        return optimize.OpPalettizerConfig(mode="kmeans", nbits=int(match[1]))
    match = re.fullmatch(r"(u?int[48]) (?:per channel|in blocks of (\d+))", scheme)
    blocks = {"granularity": "per_channel"}
    if match[2]:
        blocks = {"granularity": "per_block", "block_size": int(match[2])}
    mode = "linear" if match[1].startswith("u") else "linear_symmetric"
    return optimize.OpLinearQuantizerConfig(mode=mode, dtype=match[1], **blocks)


def block_of(mlmodel):
    function = mlmodel.get_spec().mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def content(value, weights):
    """The bytes of a value: those in the file, with the type and padding that its record states."""
    if value.WhichOneof("value") != "blobFileValue":
        return value.immediateValue.SerializeToString()
    offset = value.blobFileValue.offset
    size, start = np.frombuffer(weights[offset + 8 : offset + 24], "<u8").tolist()
    record = weights[offset + 4 : offset + 8] + weights[offset + 24 : offset + 64]
    return record + weights[start : start + size]


def compare_compressed(mlmodel, partner, scheme, expect):
    """Checks that `mlmodel` has the compressed weights that coremltools makes of `partner`."""
    config = configuration(scheme)
    # By default coremltools compresses convolutions, too.
    config = optimize.OptimizationConfig(op_type_configs={"linear": config})
    compress = optimize.palettize_weights if "palettes" in scheme else optimize.linear_quantize_weights
    made = compress(partner, config)
    files = [(Path(m.weights_dir) / "weight.bin").read_bytes() for m in (mlmodel, made)]
    ours = {o.outputs[0].name: o for o in constexprs(block_of(mlmodel))}
    theirs = {
        re.sub("_(quantized|palettized)$", "", o.outputs[0].name): o
        for o in constexprs(block_of(made))
    }
    different = sorted(ours.keys() ^ theirs.keys())
    expect(not different, f"{different[:1]} is compressed by one of the two only")
    values = 0
    for name, operation in ours.items():
        other = theirs[name]
        same = operation.type == other.type
        expect(same, f"{name} is {operation.type}, coremltools makes {other.type}")
        same = operation.outputs[0].type == other.outputs[0].type
        expect(same, f"{name} has another type")
        one, two = parameters(operation), parameters(other)
        same = one.keys() == two.keys()
        expect(same, f"{name} has {sorted(one)}, coremltools' {sorted(two)}")
        for parameter, value in one.items():
            same = value.type == two[parameter].type
            expect(same, f"{parameter} of {name} has another type than coremltools'")
            same = content(value, files[0]) == content(two[parameter], files[1])
            expect(same, f"{parameter} of {name} differs from coremltools'")
        dimensions = operation.outputs[0].type.tensorType.dimensions
        values += int(np.prod([dimension.constant.size for dimension in dimensions]))
    return f"{len(ours)} weights of {values:,} values in {scheme}, as coremltools'"
