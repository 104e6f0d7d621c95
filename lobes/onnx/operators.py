"""ONNX forms of operators that PyTorch's exporter lacks, and the selective scan as a `Scan` of ONNX.

B batch, L steps, D channels, N state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.onnx import symbolic_helper as helper

OPSET = 18
SCAN = "lobes::SelectiveScan"  # stands in the exporter's graph until `with_scans` puts a `Scan` in its place
WHEN = "lobes::When"


def selective_scan(
    g: Any, u: Any, delta: Any, A: Any, B: Any, C: Any, D: Any, z: Any, bias: Any, first: Any, lengths: Any, *rest: Any
) -> tuple[Any, Any, Any]:
    """`lobes::selective_scan` of `lobes.scan.operator`: all but the recurrence is done for all steps at once."""
    softplus, reverse = (helper._parse_arg(value, "b") for value in rest[:2])
    if not helper._is_none(lengths):
        raise ValueError("the scan in ONNX takes whole sequences, without lengths")
    dt = delta if helper._is_none(bias) else g.op("Add", delta, bias)
    dt = g.op("Softplus", dt) if softplus else dt
    columns = [_unsqueezed(g, x, dim) for x, dim in ((dt, 2), (g.op("Mul", dt, u), 2), (B, 3), (C, 2))]
    state = _zeros(g, u, A) if helper._is_none(first) else g.op("Transpose", first, perm_i=[0, 2, 1])  # [B, N, D]
    rates = g.op("Transpose", A, perm_i=[1, 0])  # [N, D]
    last, y = g.op(SCAN, rates, state, *columns, reverse_i=int(reverse), outputs=2)
    y = g.op("Squeeze", y, _constant(g, [2]))  # [B, L, D]
    y = y if helper._is_none(D) else g.op("Add", y, g.op("Mul", D, u))
    y = y if helper._is_none(z) else g.op("Mul", y, g.op("Mul", z, g.op("Sigmoid", z)))
    y.setType(u.type())
    return y, g.op("Transpose", last, perm_i=[0, 2, 1]), y


def conv_silu(g: Any, x: Any, weight: Any, bias: Any, reverse: Any) -> Any:
    """`lobes::conv_silu` of `lobes.nnet.depthwise`."""
    channels, _, taps = helper._get_tensor_sizes(weight)
    back, pads = helper._parse_arg(reverse, "b"), [taps - 1, 0]
    if back:
        weight = g.op("Slice", weight, *(_constant(g, [value]) for value in (-1, -taps - 1, 2, -1)))
    y = g.op(
        "Conv", g.op("Transpose", x, perm_i=[0, 2, 1]), weight, bias, group_i=channels, pads_i=pads[:: 1 - 2 * back]
    )
    y = g.op("Transpose", g.op("Mul", y, g.op("Sigmoid", y)), perm_i=[0, 2, 1])
    y.setType(x.type())
    return y


def rms_norm(g: Any, x: Any, shape: Any, weight: Any, eps: Any) -> Any:
    """`torch.nn.functional.rms_norm` over the last dimension."""
    power = g.op("ReduceMean", g.op("Mul", x, x), _constant(g, [-1]))
    scale = g.op("Sqrt", g.op("Add", power, _number(g, eps)))
    return g.op("Mul", g.op("Div", x, scale), weight)


def unfold(g: Any, x: Any, dim: Any, size: Any, step: Any) -> Any:
    """`Tensor.unfold` by one `Gather`; the exporter's own makes a loop."""
    dim, size, step = (helper._parse_arg(value, "i") for value in (dim, size, step))
    rank = helper._get_tensor_rank(x)
    assert rank is not None
    dim %= rank
    length = g.op("Gather", g.op("Shape", x), _constant(g, dim))
    count = g.op("Div", g.op("Sub", length, _constant(g, size - step)), _constant(g, step))
    starts = g.op("Mul", g.op("Range", _constant(g, 0), count, _constant(g, 1)), _constant(g, step))
    places = g.op("Add", g.op("Unsqueeze", starts, _constant(g, [1])), _constant(g, [list(range(size))]))
    y = g.op("Gather", x, places, axis_i=dim)
    y = g.op("Transpose", y, perm_i=[i for i in range(rank + 1) if i != dim + 1] + [dim + 1])
    sizes = list(helper._get_tensor_sizes(x))
    y.setType(x.type().with_sizes([*sizes[:dim], None, *sizes[dim + 1 :], size]))
    return y


def layer_norm(g: Any, x: Any, shape: Any, weight: Any, bias: Any, eps: Any, *_: Any) -> Any:
    """`torch.nn.functional.layer_norm`, also with a shape that is that of a tensor."""
    count = len(helper._unpack_list(shape) if helper._is_packed_list(shape) else helper._parse_arg(shape, "is"))
    axes = list(range(-count, 0))
    if not helper._is_none(weight):
        return g.op("LayerNormalization", x, weight, bias, axis_i=-count, epsilon_f=helper._parse_arg(eps, "f"))
    centred = g.op("Sub", x, g.op("ReduceMean", x, _constant(g, axes)))
    power = g.op("ReduceMean", g.op("Mul", centred, centred), _constant(g, axes))
    return g.op("Div", centred, g.op("Sqrt", g.op("Add", power, _number(g, eps))))


def group_norm(g: Any, x: Any, groups: Any, weight: Any, bias: Any, eps: Any, *_: Any) -> Any:
    """`torch.nn.functional.group_norm` with sums in fp64: onnxruntime's own norm adds a recording up in float32."""
    from onnx import TensorProto

    def average(values: Any) -> Any:
        wide = g.op("Cast", values, to_i=TensorProto.DOUBLE)
        return g.op("CastLike", g.op("ReduceMean", wide, _constant(g, [2, 3])), x)

    count, affine = helper._parse_arg(groups, "i"), not helper._is_none(weight)
    each = helper._get_tensor_dim_size(weight, 0) // count if affine else 1
    grouped = g.op("Reshape", x, _constant(g, [0, count, each, -1]))  # [B, G, C / G, all else]
    centred = g.op("Sub", grouped, average(grouped))
    power = average(g.op("Mul", centred, centred))
    y = g.op("Div", centred, g.op("Sqrt", g.op("Add", power, _number(g, eps))))
    if affine:
        weight, bias = (g.op("Reshape", factor, _constant(g, [count, each, 1])) for factor in (weight, bias))
        y = g.op("Add", g.op("Mul", y, weight), bias)
    y = g.op("Reshape", y, g.op("Shape", x))
    y.setType(x.type())
    return y


def mean(g: Any, x: Any, *rest: Any) -> Any:
    """`torch.mean`, over all or over some dimensions, as `_mean` computes it."""
    from onnx import TensorProto

    *where, dtype = rest
    if not helper._is_none(dtype):
        raise ValueError("mean in ONNX keeps the type")
    if not where or helper._is_none(where[0]):
        wide = g.op("Cast", x, to_i=TensorProto.DOUBLE)
        keep = int(helper._parse_arg(where[1], "b")) if where else 0
        return g.op("CastLike", g.op("ReduceMean", wide, keepdims_i=keep), x)
    wanted = helper._parse_arg(where[0], "is")
    found = _mean(g, x, wanted)
    return found if helper._parse_arg(where[1], "b") else g.op("Squeeze", found, _constant(g, wanted))


def var_mean(g: Any, x: Any, dims: Any, correction: Any, keepdim: Any) -> tuple[Any, Any]:
    """`torch.var_mean` of the whole population, with dimensions kept."""
    if helper._parse_arg(correction, "i") != 0 or not helper._parse_arg(keepdim, "b"):
        raise ValueError("var_mean in ONNX takes no correction, and keeps dimensions")
    wanted = helper._parse_arg(dims, "is")
    centre = _mean(g, x, wanted)
    centred = g.op("Sub", x, centre)
    return _mean(g, g.op("Mul", centred, centred), wanted), centre


def floor_divide(g: Any, x: Any, y: Any) -> Any:
    """Division of whole numbers that rounds down; the exporter's own rounds towards zero."""
    return g.op("Div", g.op("Sub", x, g.op("Mod", x, y)), y)


def col2im(g: Any, x: Any, image: Any, block: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    """`torch.nn.functional.fold` to an image whose size is known only when the graph runs."""
    sides = [g.op("Reshape", side, _constant(g, [1])) for side in helper._unpack_list(image)]
    sizes = {"dilations_i": dilation, "pads_i": padding, "strides_i": stride}
    options = {name: helper._parse_arg(value, "is") for name, value in sizes.items()}
    options["pads_i"] = options["pads_i"] * 2
    block = _constant(g, helper._parse_arg(block, "is"))
    return g.op("Col2Im", x, g.op("Concat", *sides, axis_i=0), block, **options)


def diagonal(g: Any, x: Any, *_: Any) -> Any:
    """`Tensor.diagonal` of matrices [B, S, S]; the exporter's own makes an `If` of wrong types."""
    return g.op("Einsum", x, equation_s="bii->bi")


def when(g: Any, now: Any, x: Any, a: Any, b: Any, nothing: Any, name: Any) -> tuple[Any, ...]:
    """`lobes::when` of `lobes.onnx.steps`, which `lobes.onnx.stream` makes an `If`."""
    results = g.op(WHEN, now, x, a, b, nothing, body_s=helper._parse_arg(name, "s"), outputs=3)
    for result, like in zip(results, (nothing, a, b), strict=True):
        result.setType(like.type())
    return results


SYMBOLS: dict[str, Callable[..., Any]] = {
    "lobes::when": when,
    "aten::group_norm": group_norm,
    "aten::mean": mean,
    "aten::var_mean": var_mean,
    "aten::floor_divide": floor_divide,
    "lobes::selective_scan": selective_scan,
    "lobes::conv_silu": conv_silu,
    "aten::rms_norm": rms_norm,
    "aten::unfold": unfold,
    "aten::diagonal": diagonal,
    "aten::col2im": col2im,
    "aten::layer_norm": layer_norm,
}


@contextmanager
def known() -> Iterator[None]:
    """Let PyTorch's exporter use these forms."""
    for name, symbol in SYMBOLS.items():
        torch.onnx.register_custom_op_symbolic(name, symbol, OPSET)
    try:
        yield
    finally:
        for name in SYMBOLS:
            torch.onnx.unregister_custom_op_symbolic(name, OPSET)


def with_scans(graph: Any) -> None:
    """Put a `Scan` in the place of each scan that the exporter has left open, also in branches."""
    from onnx import helper as make

    for node in graph.node:
        for attribute in node.attribute:
            with_scans(attribute.g)
        if node.op_type == SCAN.rpartition(":")[2]:
            (reverse,) = (attribute.i for attribute in node.attribute)
            rates, *inputs = node.input
            options: dict[str, Any] = {"scan_input_axes": [1] * 4, "scan_output_axes": [1], "num_scan_inputs": 4}
            options |= {"scan_input_directions": [reverse] * 4, "scan_output_directions": [reverse]}
            scan = make.make_node("Scan", inputs, node.output, node.name, body=_step(rates, node.name), **options)
            node.CopyFrom(scan)


def _step(rates: str, name: str) -> Any:
    """One step: h = exp(dt A) h + dt u B, y = C h. `rates` is the outer graph's A [N, D]."""
    from onnx import TensorProto
    from onnx import helper as make

    places = {part: f"{name}/{part}" for part in ("h", "dt", "du", "B", "C", "dtA", "a", "ah", "b", "state", "y")}
    steps = ("Mul dt A dtA", "Exp dtA a", "Mul a h ah", "Mul B du b", "Add ah b state", "MatMul C state y")
    nodes = []
    for step in steps:
        kind, *inputs, output = step.split()
        nodes.append(make.make_node(kind, [places.get(part, rates) for part in inputs], [places[output]]))

    def values(*parts: str) -> list[Any]:
        return [make.make_tensor_value_info(places[part], TensorProto.FLOAT, [None] * 3) for part in parts]

    return make.make_graph(nodes, f"{name}/step", values("h", "dt", "du", "B", "C"), values("state", "y"))


def _mean(g: Any, x: Any, dims: list[int]) -> Any:
    """Means over dimensions that are kept: one after the other, the first ones in fp64.

    Over several at once onnxruntime adds up in float32, all numbers into one, and a norm over 30 s of a recording is
    off by 1e-3.
    """
    from onnx import TensorProto

    last, *others = sorted(dims, reverse=True)
    found = g.op("ReduceMean", x, _constant(g, [last]))
    for dim in others:
        found = g.op("ReduceMean", g.op("Cast", found, to_i=TensorProto.DOUBLE), _constant(g, [dim]))
    return g.op("CastLike", found, x) if others else found  # a cast keeps onnxruntime from moving transposes


def _constant(g: Any, value: Any) -> Any:
    return g.op("Constant", value_t=torch.tensor(value, dtype=torch.int64))


def _number(g: Any, value: Any) -> Any:
    return g.op("Constant", value_t=torch.tensor(helper._parse_arg(value, "f"), dtype=torch.float32))


def _unsqueezed(g: Any, x: Any, dim: int) -> Any:
    return g.op("Unsqueeze", x, _constant(g, [dim]))


def _zeros(g: Any, u: Any, A: Any) -> Any:
    """The first state [B, N, D]."""
    channels, states = helper._get_tensor_sizes(A)
    batch = g.op("Slice", g.op("Shape", u), *(_constant(g, [value]) for value in (0, 1, 0)))
    shape = g.op("Concat", batch, _constant(g, [states, channels]), axis_i=0)
    return g.op("ConstantOfShape", shape, value_t=torch.zeros(1))
