#!/usr/bin/env python3
"""Checks Core ML packages that mert-convert wrote with coremltools, on Linux, without running them.

    python scripts/check/coreml_packages.py PACKAGE.mlpackage [PACKAGE.mlpackage ...]

What is asked of each package, in the order of the lines that are printed:

    package     Apple's ModelPackage finds the manifest and every file in it
    open        coremltools' MLModel opens it, and no field of its protobuf is unknown to Apple's
    features    the description of inputs and outputs agrees with the program's and the metadata
    types       Apple's type inference accepts the program and infers every declared type; where
                the input's length is free, at each listed one (a range's ends and its default) too
    re-export   Apple's writer makes the same function and the same weight.bin of that program
    weights     Apple's listing of the weights has the tensors that weight.bin has
    int8        Apple's quantiser takes it and every large weight, and its result passes inference
    compressed  instead, of NAME+SCHEME.mlpackage: it has the compressed weights that coremltools'
                own compression makes of NAME.mlpackage beside it, to the bit

None of this computes anything: a program of the right shapes with the wrong numbers passes.
Exit status: 0 every check passed, 1 one failed, 2 anything else.
"""

import json
import logging
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

# Before the import: it warns about the parts that exist on macOS only, and tqdm reads this then.
logging.getLogger("coremltools").setLevel(logging.ERROR)
os.environ["TQDM_DISABLE"] = "1"
warnings.filterwarnings("ignore")

import coremltools as ct
import coremltools.optimize.coreml as optimize
import numpy as np
from coremltools import proto
from coremltools.converters.mil.backend.mil.helper import (
    create_valuetype_tensor,
    types_to_proto_primitive,
)
from coremltools.converters.mil.backend.mil.load import MILProtoExporter
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.converters.mil.mil.types.symbolic import is_symbolic
from google.protobuf.text_format import MessageToString

from coreml_compression import compare_compressed, is_compressed, stored_values

FLOAT32 = proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
INPUT, POOLED, FRAMES = "input_values", "hidden_states", "frame_hidden_states"
METADATA = ("config", "dtype", "source_sha256", "generator", "hidden_states")
WEIGHTS = "@model_path/weights/weight.bin"
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_@]*")
# Core ML's own limit.
MOST_SHAPES = 128
# Parameters by the type in MIL's reference. Inference accepts either type.
SCALARS = "axis dtype epsilon groups interleave keep_dims mode pad_type transpose_x transpose_y"
VECTORS = "axes begin dilations end end_mask pad perm strides"
RANKS = dict.fromkeys(SCALARS.split(), 0) | dict.fromkeys(VECTORS.split(), 1)
# Those of the same name in another operation.
RANKS_IN = {("range_1d", "end"): 0}
# coremltools writes smaller tensors into the program instead, so that none may be in the file.
FEWEST_IN_FILE = 10
# A smaller weight does not shrink: the scales and offsets take a record of 64 bytes each.
FEWEST_TO_QUANTIZE = 512

BLOB_MAGIC = 0xDEADBEEF
# data type in the program -> the record's own code for it, bits an element
BLOB_DTYPES = {
    proto.MIL_pb2.DataType.FLOAT16: (1, 16),
    proto.MIL_pb2.DataType.FLOAT32: (2, 32),
    proto.MIL_pb2.DataType.UINT8: (3, 8),
    proto.MIL_pb2.DataType.INT8: (4, 8),
    proto.MIL_pb2.DataType.INT4: (8, 4),
    proto.MIL_pb2.DataType.UINT4: (11, 4),
    proto.MIL_pb2.DataType.UINT6: (13, 6),
    proto.MIL_pb2.DataType.INT32: (14, 32),
}


class Failed(Exception):
    """A check failed."""


def expect(holds, message):
    if not holds:
        raise Failed(message)


# --- reading the protobuf -------------------------------------------------------------------------


def dimensions(value_type):
    """The sizes of a shape, None for one that is not known before the program runs."""
    return [
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in value_type.tensorType.dimensions
    ]


def show(value_type):
    name = proto.MIL_pb2.DataType.Name(value_type.tensorType.dataType)
    sizes = ("?" if size is None else str(size) for size in dimensions(value_type))
    return f"{name}[{', '.join(sizes)}]"


def main_function(model):
    expect(list(model.mlProgram.functions) == ["main"], "the program is not one function `main`")
    return model.mlProgram.functions["main"]


def main_block(model):
    function = main_function(model)
    blocks = list(function.block_specializations)
    expect(blocks == [function.opset], f"opset {function.opset}, but blocks for {blocks}")
    return function.block_specializations[function.opset]


def elements(value):
    return int(np.prod(dimensions(value.type), dtype=np.int64))


def input_shapes(array):
    """The shapes that the description allows; of a range, its ends and its default."""
    default = list(array.shape)
    flexibility = array.WhichOneof("ShapeFlexibility")
    if flexibility == "enumeratedShapes":
        return [list(shape.shape) for shape in array.enumeratedShapes.shapes]
    if flexibility == "shapeRange":
        ranges = array.shapeRange.sizeRanges
        low, high = [r.lowerBound for r in ranges], [r.upperBound for r in ranges]
        return [low, default, high]
    return [default]


def frames_of(samples, config):
    for kernel, stride in zip(config["conv_kernel"], config["conv_stride"], strict=True):
        samples = (samples - kernel) // stride + 1
    return samples


# --- the checks -----------------------------------------------------------------------------------


class Checks:
    """The checks of one package. Each method is a check, which returns a summary or raises."""

    def __init__(self, path):
        self.path = str(path)
        self.mlmodel = None
        self.model = None
        self.config = None
        self.program = None

    def package(self):
        valid = ct.libmodelpackage.ModelPackage.isValid(self.path)
        expect(valid, "Apple's ModelPackage rejects it")
        return "manifest and files"

    def open(self):
        mlmodel = ct.models.MLModel(self.path, skip_model_load=True)
        model = mlmodel.get_spec()
        kind = model.WhichOneof("Type")
        expect(kind == "mlProgram", f"the model is a {kind}, not an ML program")
        expect(mlmodel.weights_dir is not None, "the manifest has no weights")
        size = model.ByteSize()
        known = proto.Model_pb2.Model()
        known.CopyFrom(model)
        known.DiscardUnknownFields()
        unknown = size - known.ByteSize()
        expect(unknown == 0, f"{unknown} bytes are fields that Apple's messages do not have")
        self.mlmodel, self.model = mlmodel, model
        return f"specification version {model.specificationVersion}, {size:,} bytes"

    def features(self):
        description, function = self.model.description, main_function(self.model)
        metadata = description.metadata.userDefined
        missing = [key for key in METADATA if key not in metadata]
        expect(not missing, f"no {', '.join(missing)} in the metadata")
        names = [feature.name for feature in description.input]
        expect(names == [INPUT], f"the description's inputs are {names}")
        names = [value.name for value in function.inputs]
        expect(names == [INPUT], f"main's inputs are {names}")
        self.check_input(description.input[0], function.inputs[0].type)

        names = [feature.name for feature in description.output]
        expect(names in ([POOLED], [POOLED, FRAMES]), f"the description's outputs are {names}")
        returned = list(main_block(self.model).outputs)
        expect(returned == names, f"main returns {returned}, the description has {names}")
        types = {
            output.name: output.type
            for operation in main_block(self.model).operations
            for output in operation.outputs
        }
        for feature in description.output:
            expect(feature.name in types, f"no operation makes the output {feature.name}")
            self.check_output(feature, types[feature.name])

        config = json.loads(metadata["config"])
        rows = len(metadata["hidden_states"].split(","))
        expected = [rows, config["hidden_size"]]
        shape = dimensions(types[POOLED])
        expect(shape == expected, f"{POOLED} is {shape}, the metadata says {expected}")
        if FRAMES in names:
            outer = dimensions(types[FRAMES])[::2]
            expect(outer == expected, f"{FRAMES} is {outer} without the frames, not {expected}")
        array = description.input[0].type.multiArrayType
        kind = array.WhichOneof("ShapeFlexibility") or "one length"
        lengths = ", ".join(str(shape[-1]) for shape in input_shapes(array))
        self.config = config
        return f"{INPUT} {kind} ({lengths}) -> {', '.join(names)}"

    def check_input(self, feature, value_type):
        array = self.check_array(feature, value_type)
        declared, default = dimensions(value_type), list(array.shape)
        batch_of_one = len(declared) == 2 and declared[0] == 1
        expect(batch_of_one, f"{INPUT} is {show(value_type)}, not (1, N)")
        shapes = input_shapes(array)
        for shape in shapes:
            agrees = len(shape) == len(declared) and all(
                size > 0 and (size == known or known is None)
                for size, known in zip(shape, declared)
            )
            expect(agrees, f"{INPUT} may be {shape}, but main takes {show(value_type)}")
        flexibility = array.WhichOneof("ShapeFlexibility")
        free = None in declared
        expect(
            free == (flexibility is not None),
            f"main takes {show(value_type)}, the description has {flexibility or 'one shape'}",
        )
        if flexibility == "enumeratedShapes":
            expect(default in shapes, f"{INPUT}: the default {default} is not listed")
            distinct = len({tuple(shape) for shape in shapes})
            expect(distinct == len(shapes), f"{INPUT}: a shape is listed twice")
            expect(1 < distinct <= MOST_SHAPES, f"{INPUT}: {distinct} shapes are listed")
        if flexibility == "shapeRange":
            ordered = all(low <= size <= high for low, size, high in zip(*shapes, strict=True))
            expect(ordered, f"{INPUT}: {default} is not within {shapes[0]} and {shapes[2]}")

    def check_output(self, feature, value_type):
        array = self.check_array(feature, value_type)
        declared, shape = dimensions(value_type), list(array.shape)
        # coremltools gives no shape at all where one size is free, and outputs have no ranges.
        expected = [] if None in declared else declared
        expect(shape == expected, f"{feature.name} is described as {shape}, not {expected}")
        flexibility = array.WhichOneof("ShapeFlexibility")
        expect(flexibility is None, f"{feature.name} has {flexibility}")

    def check_array(self, feature, value_type):
        kind = feature.type.WhichOneof("Type")
        expect(kind == "multiArrayType", f"{feature.name} is a {kind}")
        expect(not feature.type.isOptional, f"{feature.name} is optional")
        array = feature.type.multiArrayType
        expect(array.dataType == FLOAT32, f"{feature.name} is described with type {array.dataType}")
        declared = value_type.tensorType.dataType
        expect(
            declared == proto.MIL_pb2.DataType.FLOAT32,
            f"{feature.name} is float32 in the description and {show(value_type)} in main",
        )
        return array

    def types(self):
        program = self.load(self.model)
        block = main_block(self.model)
        self.check_names(block)
        self.check_parameters(block)
        function = program.functions["main"]
        variables = dict(function.inputs)
        variables.update((v.name, v) for o in function.operations for v in o.outputs)
        # The loader lets a declared type pass that is merely compatible with the inferred one, and
        # compares nothing for constants.
        for operation in block.operations:
            for output in operation.outputs:
                self.check_inferred(operation, output, variables[output.name])
            if operation.type == "const":
                value_type = operation.attributes["val"].type
                expect(
                    value_type == operation.outputs[0].type,
                    f"const {operation.outputs[0].name} is declared "
                    f"{show(operation.outputs[0].type)} and holds {show(value_type)}",
                )
        lengths = self.check_lengths()
        self.program = program
        also = f", at {lengths} lengths too" if lengths else ""
        return f"{len(block.operations)} operations of {function.opset_version.name}{also}"

    def load(self, model):
        return load(model, model.specificationVersion, self.mlmodel.weights_dir)

    def check_names(self, block):
        """Checks names: the loader accepts duplicates and any character, Core ML's compiler neither."""
        seen = {INPUT}
        for operation in block.operations:
            expect("name" in operation.attributes, f"a {operation.type} has no attribute `name`")
            for output in operation.outputs:
                name = output.name
                expect(IDENTIFIER.fullmatch(name), f"{name!r} is not an identifier")
                expect(name not in seen, f"{name} is made twice")
                seen.add(name)

    def check_parameters(self, block):
        types = {o.outputs[0].name: o.outputs[0].type for o in block.operations if o.outputs}
        for operation in block.operations:
            for parameter in operation.inputs.keys() & RANKS.keys():
                rank = RANKS_IN.get((operation.type, parameter), RANKS[parameter])
                for binding in operation.inputs[parameter].arguments:
                    value_type = types.get(binding.name, binding.value.type)
                    expect(
                        len(dimensions(value_type)) == rank,
                        f"{parameter} of {operation.type} {operation.outputs[0].name} "
                        f"is {show(value_type)}",
                    )

    def check_inferred(self, operation, output, variable):
        primitive = types_to_proto_primitive(variable.dtype)
        inferred = create_valuetype_tensor(variable.shape, primitive)
        expect(
            inferred == output.type,
            f"{operation.type} {output.name} is declared {show(output.type)}, "
            f"inferred {show(inferred)}",
        )

    def check_lengths(self):
        """Infers the types at each length: with a free length most shapes are formulas, which are hardly compared."""
        feature = self.model.description.input[0]
        if feature.type.multiArrayType.WhichOneof("ShapeFlexibility") is None:
            shapes = []
            lengths = [(feature.type.multiArrayType.shape[-1], self.model)]
        else:
            shapes = input_shapes(feature.type.multiArrayType)
            lengths = [(shape[-1], self.fixed_to(shape)) for shape in shapes]
        for length, model in lengths:
            function = self.load(model).functions["main"]
            for variable in (v for o in function.operations for v in o.outputs):
                known = all(not is_symbolic(size) and size > 0 for size in variable.shape)
                expect(known, f"{variable.name} is {variable.shape} at length {length}")
            shapes_out = {output.name: tuple(output.shape) for output in function.outputs}
            # Without a configuration `features` has failed already.
            if FRAMES in shapes_out and self.config is not None:
                frames, expected = shapes_out[FRAMES][1], frames_of(length, self.config)
                expect(frames == expected, f"{frames} frames at length {length}, not {expected}")
        return len(shapes)

    def fixed_to(self, shape):
        """The model with one input shape; declared sizes that are free stay free."""
        model = proto.Model_pb2.Model()
        model.CopyFrom(self.model)
        value_type = main_function(model).inputs[0].type
        value_type.CopyFrom(create_valuetype_tensor(shape, value_type.tensorType.dataType))
        return model

    def re_export(self):
        version = self.model.specificationVersion
        original = self.read_weights()
        with tempfile.TemporaryDirectory() as folder:
            # Without graph passes, the exporter writes what was loaded.
            exported = MILProtoExporter(self.program, folder, version).export()
            written = (Path(folder) / "weight.bin").read_bytes()
        # Nothing needs to be normalised. Messages are compared, not bytes, so the order of a
        # map's entries in the file does not matter; names, order, types and offsets do. The
        # program's attributes (coremltools' own notes on its version) are not exported.
        self.check_same_function(main_function(self.model), exported.functions["main"])
        if original != written:
            shared = min(len(original), len(written))
            before, after = (np.frombuffer(file[:shared], "u1") for file in (original, written))
            first = int(np.argmax(before != after)) if (before != after).any() else shared
            raise Failed(
                f"weight.bin has {len(original):,} bytes and becomes {len(written):,}, "
                f"the first difference at byte {first:,}"
            )
        return f"the same function, the same {len(written):,} bytes of weights"

    def read_weights(self):
        return (Path(self.mlmodel.weights_dir) / "weight.bin").read_bytes()

    def check_same_function(self, ours, theirs):
        expect(ours.opset == theirs.opset, f"opset {ours.opset} becomes {theirs.opset}")
        expect(ours.inputs == theirs.inputs, "main's inputs change")
        before, after = (
            function.block_specializations[function.opset] for function in (ours, theirs)
        )
        for one, other in zip(before.operations, after.operations):
            if one != other:
                raise Failed(difference(one, other))
        counts = len(before.operations), len(after.operations)
        expect(counts[0] == counts[1], f"{counts[0]} operations become {counts[1]}")
        expect(before.outputs == after.outputs, "main's outputs change")
        expect(ours == theirs, "the function changes outside its operations")

    def weights(self):
        tensors = dict(stored_values(main_block(self.model)))
        data = self.read_weights()
        total = self.check_records(tensors, data)
        listed = optimize.get_weights_metadata(self.mlmodel, weight_threshold=FEWEST_IN_FILE)
        ours = {name: elements(value) for name, value in tensors.items()}
        theirs = {name: weight.val.size for name, weight in listed.items()}
        if is_compressed(main_block(self.model)):
            # The loader makes up names for the parts of a compressed weight.
            expect(sorted(ours.values()) == sorted(theirs.values()), "the listed tensors differ")
        else:
            for name in sorted(ours.keys() ^ theirs.keys()):
                raise Failed(f"{name} is {'not' if name in ours else 'only'} in Apple's listing")
            expect(ours == theirs, "the listed tensors have other sizes")
        counted = sum(theirs.values())
        expect(counted == total, f"{counted:,} elements are listed, weight.bin has {total:,}")
        for name, weight in listed.items():
            expect(np.isfinite(weight.val).all(), f"{name} has a NaN or an infinity")
        return f"{len(theirs)} tensors, {total:,} elements"

    def check_records(self, tensors, data):
        """Checks the records of weight.bin on their own, and returns the number of elements."""
        count, version = np.frombuffer(data[:8], "<u4").tolist()
        expect(version == 2, f"weight.bin has version {version}")
        expect(count == len(tensors), f"weight.bin counts {count} tensors, main has {len(tensors)}")
        end, total = 64, 0
        by_offset = {value.blobFileValue.offset: name for name, value in tensors.items()}
        expect(len(by_offset) == len(tensors), "two constants share a record")
        for offset, name in sorted(by_offset.items()):
            value = tensors[name]
            expect(value.blobFileValue.fileName == WEIGHTS, f"{name} is in another file")
            # Records lie at multiples of 64, and there is no padding after the last.
            position = -(-end // 64) * 64
            expect(offset == position, f"{name} is at {offset}, the next record at {position}")
            magic, code = np.frombuffer(data[offset : offset + 8], "<u4").tolist()
            size, start, filled = np.frombuffer(data[offset + 8 : offset + 32], "<u8").tolist()
            expect(magic == BLOB_MAGIC, f"no record of {name} at {offset}")
            expect(start == offset + 64, f"{name}'s data is at {start}, its record at {offset}")
            dtype = value.type.tensorType.dataType
            expect(dtype in BLOB_DTYPES, f"{name} is {show(value.type)}")
            expected, width = BLOB_DTYPES[dtype]
            expect(code == expected, f"{name} is {show(value.type)}, its record's type is {code}")
            bits = width * elements(value)
            expect(size == -(-bits // 8), f"{name} has {size} bytes in weight.bin")
            expect(filled == size * 8 - bits, f"{name} has {filled} bits of padding")
            total += elements(value)
            end = start + size
        expect(len(data) == end, f"weight.bin has {len(data)} bytes, its records end at {end}")
        return total

    def compressed(self):
        path = Path(self.path)
        uncompressed = path.with_name(path.stem.partition("+")[0] + path.suffix)
        partner = ct.models.MLModel(str(uncompressed), skip_model_load=True)
        scheme = self.model.description.metadata.userDefined["compression"]
        return compare_compressed(self.mlmodel, partner, scheme, expect)

    def int8(self):
        weights = self.matrices()
        expect(weights, "no weight is large enough to quantise")
        quantizer = optimize.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", weight_threshold=FEWEST_TO_QUANTIZE
        )
        # coremltools raises specification version 6 to 7, the first with quantised weights.
        config = optimize.OptimizationConfig(global_config=quantizer)
        quantized = optimize.linear_quantize_weights(self.mlmodel, config)
        model = quantized.get_spec()
        load(model, model.specificationVersion, quantized.weights_dir)
        made = sum(o.type.startswith("constexpr_") for o in main_block(model).operations)
        expect(made >= len(weights), f"{made} weights are quantised, there are {len(weights)}")
        before = len(self.read_weights())
        after = (Path(quantized.weights_dir) / "weight.bin").stat().st_size
        # Of matrices of a few values, the records and scales are larger than what is saved.
        expect(after < before or before < 1_000_000, f"weight.bin grows from {before:,} to {after:,} bytes")
        return (
            f"{made} weights, {before:,} -> {after:,} bytes, "
            f"specification version {model.specificationVersion}"
        )

    def matrices(self):
        """The weights of conv and linear that are large enough to quantise."""
        stored = stored_values(main_block(self.model))
        large = {name for name, value in stored if elements(value) > FEWEST_TO_QUANTIZE}
        return {
            binding.name
            for operation in main_block(self.model).operations
            if operation.type in ("conv", "linear")
            for binding in operation.inputs["weight"].arguments
        } & large


def difference(ours, theirs):
    """An excerpt around the first difference between two operations' texts."""
    one, other = (MessageToString(message, as_one_line=True) for message in (ours, theirs))
    start = len(os.path.commonprefix([one, other]))
    window = slice(max(start - 40, 0), start + 60)
    name = ours.outputs[0].name if ours.outputs else "?"
    return f"{ours.type} {name}: ...{one[window]}... becomes ...{other[window]}..."


# check -> what must have passed before it can be made
ORDER = {
    "package": (),
    "open": ("package",),
    "features": ("open",),
    "types": ("open",),
    "re-export": ("open", "types"),
    "weights": ("open", "types"),
    "int8": ("open", "types"),
    "compressed": ("open", "types"),
}


def check(path):
    print(path)
    checks, passed = Checks(path), set()
    order = dict(ORDER)
    # The name says what is in a package that cannot be opened.
    del order["int8" if "+" in Path(path).stem else "compressed"]
    for name, needs in order.items():
        missing = [need for need in needs if need not in passed]
        if missing:
            verdict, detail = "-", f"needs {missing[0]}"
        else:
            # coremltools raises exceptions of every kind.
            try:
                detail = getattr(checks, name.replace("-", "_"))()
                verdict = "ok"
                passed.add(name)
            except Exception as error:
                kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
                verdict, detail = "FAILED", f"{kind}{' '.join(str(error).split())}"
        print(f"  {name:<12}{verdict:<8}{detail}", flush=True)
    return len(passed) == len(order)


def main(arguments):
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    for path in arguments:
        if not Path(path).is_dir():
            print(f"check/coreml: {path}: no such folder", file=sys.stderr)
            return 2
    results = [check(path) for path in arguments]
    print("check/coreml:", "all pass" if all(results) else "FAILED")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
