"""Branches of a graph: an `If` of ONNX that runs another graph, or passes values on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def conditional(
    now: str, body: Any, given: Sequence[str], otherwise: Sequence[str], outputs: Sequence[str], name: str
) -> Any:
    """Make a node `If` that runs a body where `now` is true, and else gives other values of the outer graph.

    Arguments
    ---------
    now : str
        A truth value of the outer graph.
    body : onnx.GraphProto
        What is run.
    given, otherwise : sequence of str
        Values of the outer graph: for the inputs of the body, and in the place of its outputs.
    outputs : sequence of str
        Names of the results.
    name : str
        Of the node, and in front of all names in the body.

    Returns
    -------
    onnx.NodeProto
    """
    from onnx import helper

    inputs = [value.name for value in body.input]
    then = placed(body, f"{name}/", dict(zip(inputs, given, strict=True)))
    copies = [helper.make_node("Identity", [value], [f"{name}/else/{i}"]) for i, value in enumerate(otherwise)]
    values = [_typed(value, f"{name}/else/{i}") for i, value in enumerate(body.output)]
    branches = {"then_branch": then, "else_branch": helper.make_graph(copies, f"{name}/else", [], values)}
    return helper.make_node("If", [now], outputs, name, **branches)


def placed(graph: Any, prefix: str, names: Mapping[str, str]) -> Any:
    """A copy of a graph without its inputs, which have these `names` outside; all other names get a prefix."""
    from onnx import GraphProto

    copy = GraphProto()
    copy.CopyFrom(graph)
    del copy.input[:], copy.value_info[:]
    _rename(copy, prefix, names)
    return copy


def _rename(graph: Any, prefix: str, names: Mapping[str, str]) -> None:
    def new(name: str) -> str:
        return names.get(name, prefix + name) if name else name

    for node in graph.node:
        node.input[:], node.output[:] = map(new, node.input), map(new, node.output)
        node.name = prefix + node.name if node.name else ""
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, prefix, names)
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = new(value.name)
    graph.name = prefix + graph.name


def _typed(value: Any, name: str) -> Any:
    copy = type(value)()
    copy.CopyFrom(value)
    copy.name = name
    return copy
