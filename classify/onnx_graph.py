"""The arithmetic of a fitted head as an ONNX graph."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from classify.calibration import SMALLEST
from classify.pools import size_shares
from classify.stack import Stack
from embed.errors import UserError

# Both are of 2022: what a phone or an older onnxruntime knows as well.
OPSET, IR_VERSION = 17, 8
LARGEST = 2**31 - 2**20  # bytes that one protobuf message may hold


class Graph:
    """Nodes and constants, named by their number; a value is named by who makes it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.bytes = 0

    def __call__(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The output of a new node; a list of them where there are several."""
        from onnx import helper

        names = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        from onnx import numpy_helper

        array = np.ascontiguousarray(value, dtype=dtype)
        name = f"constant_{len(self.constants)}"
        self.bytes += array.nbytes
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def model_of(head: Any, facts: Mapping[str, str]) -> bytes:
    """The model file: `embedding` (n, dim) to `probabilities` (n, C), both float32.

    `facts` become its metadata. The same head and facts give the same bytes.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    p = _probabilities(graph, head)
    if graph.bytes > LARGEST:
        raise UserError(
            f"{head.name} holds {graph.bytes / 1e9:.1f} GB of numbers, and one ONNX file takes 2. "
            "Export a head that keeps no training rows, such as logreg."
        )
    graph.nodes[-1].output[0] = p = "probabilities"
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "head",
            [value("embedding", TensorProto.FLOAT, ["n", len(parts(head)[0].mean_)])],
            [value(p, TensorProto.FLOAT, ["n", len(head.classes_)])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="familia",
        producer_version=facts["familia"],
    )
    helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def parts(head: Any) -> list[Any]:
    """The heads that a stack is made of, or the head itself."""
    return list(head.heads.values()) if isinstance(head, Stack) else [head]


def _probabilities(graph: Graph, head: Any) -> str:
    if isinstance(head, Stack):
        return _pooled(graph, head)
    return EXPORTABLE[head.name](graph, head, _rows(graph, head))


def _rows(graph: Graph, head: Any) -> str:
    """Centred unit rows, as `classify.base.Head._rows` makes them."""
    rows = _centred(graph, head)
    if not hasattr(head, "axes_"):
        return rows
    return _unit(graph, graph("MatMul", rows, graph.constant(head.axes_)))


def _centred(graph: Graph, head: Any) -> str:
    rows = graph("Sub", "embedding", graph.constant(head.mean_))
    if len(head.layout) < 2:
        return _unit(graph, rows)
    widths = graph.constant(head.layout, np.int64)
    blocks = graph("Split", rows, widths, outputs=len(head.layout), axis=1)
    joined = graph("Concat", *(_unit(graph, block) for block in blocks), axis=1)
    return str(graph("Div", joined, graph.constant(np.sqrt(len(head.layout)))))


def _unit(graph: Graph, rows: str) -> str:
    """Rows of length 1; a row of zeros stays one."""
    norms = graph("ReduceL2", rows, axes=[1], keepdims=1)
    some = graph("Greater", norms, graph.constant(np.finfo(np.float32).tiny))
    return str(graph("Div", rows, graph("Where", some, norms, graph.constant(1))))


def _linear(graph: Graph, head: Any, rows: str) -> str:
    """softmax(rows @ coef.T + intercept)."""
    # What all classes share cancels in the softmax; without it float32 keeps more of the rest.
    coef = head.coef_ - head.coef_.mean(axis=0, dtype=np.float64)
    intercept = head.intercept_ - head.intercept_.mean(dtype=np.float64)
    logits = graph("MatMul", rows, graph.constant(coef.T))
    return str(graph("Softmax", graph("Add", logits, graph.constant(intercept)), axis=1))


def _neighbours(graph: Graph, head: Any, rows: str) -> str:
    """The votes of `classify.knn.Knn`."""
    similarity = graph("MatMul", rows, graph.constant(head.bank_.T))
    k = graph.constant([head.k_], np.int64)
    near, neighbour = graph("TopK", similarity, k, outputs=2, axis=1)
    label = graph("Gather", graph.constant(head.bank_index_, np.int64), neighbour)
    gap = graph("Sub", near, graph("ReduceMax", near, axes=[1], keepdims=1))
    weight = graph("Exp", graph("Div", gap, graph.constant(head.temperature_)))
    votes = graph("Mul", weight, graph("Gather", graph.constant(head.vote_), label))
    n = graph("Shape", rows, start=0, end=1)
    shape = graph("Concat", n, graph.constant([len(head.classes_)], np.int64), axis=0)
    none = graph("Expand", graph.constant(0), shape)
    cast = graph("ScatterElements", none, label, votes, axis=1, reduction="add")
    axis = graph.constant([1], np.int64)
    share = graph("Div", cast, graph("ReduceSum", votes, axis, keepdims=1))
    floor = graph.constant(head.floor_ * head.prior_)
    return str(graph("Add", graph("Mul", share, graph.constant(1 - head.floor_)), floor))


def _pooled(graph: Graph, stack: Stack) -> str:
    """What `classify.pools.Pool` makes of the heads' probabilities."""
    pool, share = stack.pool, size_shares(stack.pool.sizes)
    smallest = graph.constant(SMALLEST)
    weighted = []
    for h, head in enumerate(parts(stack)):
        logs = graph("Log", graph("Max", _probabilities(graph, head), smallest))
        calibrated = graph("Div", logs, graph.constant(pool.temperatures[h]))
        weights = graph.constant((1 - share) * pool.small[h] + share * pool.large[h])
        weighted.append(graph("Mul", graph("LogSoftmax", calibrated, axis=1), weights))
    return str(graph("Softmax", graph("Sum", *weighted), axis=1))


Writer = Callable[[Graph, Any, str], str]
EXPORTABLE: dict[str, Writer] = {
    "logreg": _linear,
    "centroid": _linear,
    "lda": _linear,
    "knn": _neighbours,
}
