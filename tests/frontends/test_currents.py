"""Sums of currents as one layer: the very numbers that the branches give on their own, or a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from mapper.errors import NetworkError, ShapeError, UnsupportedLayerError
from mapper.folding import feature_scale, fitted, folded, linear_part, zero_padded
from mapper.frontends.currents import Branch, JointDraft, joined, settle
from mapper.frontends.inference import LayerDraft, build_network
from mapper.network import Edge, Input, Network, Output
from mapper.operations import BatchNorm, Convolution, Flatten, Linear, Neuron, Pool, Scale, Shape
from mapper.passes import PrepareOptions, prepare
from mapper.sim.network import simulate

# Neurons that never fire hold the current they got.
HOLDING = Neuron(1e9)
FLOAT = PrepareOptions(quantize=False)


def eighths(generator: np.random.Generator, *shape: int) -> Any:
    return (generator.integers(-8, 9, shape) / 8).astype(np.float32)


def conv(
    generator: np.random.Generator,
    reads: int,
    makes: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Convolution:
    return Convolution(
        makes,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        has_bias=True,
        weight=eighths(generator, makes, reads // groups, *kernel),
        bias=eighths(generator, makes),
    )


def alone(branch: Branch, frames: dict[str, Any], features: int) -> Any:
    """The current of a branch, computed step by step by torch."""
    arriving: Any = None
    for edge in branch.edges:
        value = torch.from_numpy(frames[edge.source]).double()[None]
        for step in edge.path:
            value = after(step, value)
        if arriving is None:
            arriving = torch.zeros(1, features, *value.shape[2:], dtype=torch.float64)
        arriving[:, edge.feature_offset : edge.feature_offset + value.shape[1]] += value
    operation: Any = branch.operation
    if isinstance(operation, Linear):
        current = F.linear(arriving.flatten(1), torch.tensor(operation.weight).double())[:, :, None, None]
    elif operation is not None:
        weight = torch.tensor(operation.weight).double()
        settings = (operation.stride, operation.padding, operation.dilation, operation.groups)
        current = F.conv2d(arriving, weight, None, *settings)
    else:
        current = arriving
    if operation is not None and operation.bias is not None:
        current = current + torch.tensor(operation.bias).double()[None, :, None, None]
    for behind in branch.between:
        current = after(behind, current)
    return current[0].numpy()


def after(step: Any, value: Any) -> Any:
    if isinstance(step, Pool):
        pooled = F.avg_pool2d(value, step.size, step.stride, divisor_override=1)
        return pooled if step.kind == "sum" else pooled / (step.divisor or step.size[0] * step.size[1])
    if isinstance(step, Scale):
        return value * step.factor
    if isinstance(step, Flatten):
        return value.reshape(1, -1, 1, 1)
    mean, variance, scale, shift = (
        torch.tensor(np.asarray(a, np.float64))[:, None, None]
        for a in (step.mean, step.variance, step.scale, step.shift)
    )
    return (value - mean) / torch.sqrt(variance + step.epsilon) * scale + shift


def network_of(branches: list[Branch], shapes: dict[str, Shape], neuron: Neuron = HOLDING) -> Network:
    result = joined("sum", branches, neuron, shapes)
    inputs = [Input(name, shape) for name, shape in shapes.items()]
    return build_network("net", inputs, result.layers, result.edges, [Output("o", "sum")], result.notes)


def check(
    branches: list[Branch], shapes: dict[str, Shape], features: dict[str, int], seed: int = 0
) -> Network:
    generator = np.random.default_rng(seed)
    network = network_of(branches, shapes)
    frames = {name: generator.integers(0, 4, shape) for name, shape in shapes.items()}
    expected = sum(alone(branch, frames, features[branch.name]) for branch in branches)
    for version in (network, prepare(network, FLOAT)):
        run = simulate(version, {name: frame[None] for name, frame in frames.items()})
        assert np.array_equal(run.state.potentials["sum"], expected)
    return network


def norm(generator: np.random.Generator, features: int) -> BatchNorm:
    variance = generator.integers(1, 3, features).astype(np.float32) ** 2
    mean, scale, shift = (eighths(generator, features) for _ in range(3))
    return BatchNorm(mean, variance, scale, shift, 0.0)


def length(size: int, kernel: int, stride: int, padding: int = 0) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def random_branch(
    generator: np.random.Generator,
    name: str,
    size: tuple[int, int],
    outputs: tuple[int, int] | None,
    pace: tuple[int, int],
) -> tuple[Branch, tuple[int, int], int] | None:
    """A branch that gives the outputs (any if None), those, and the features it reads; None if there is none.

    More often than not its stride is `pace`, pool included.
    """
    makes = 4
    reads = int(generator.choice([2, 4]))
    pool = None
    if generator.random() < 0.4:
        area = tuple(int(n) for n in generator.choice([1, 2, 4], 2))
        steps = area if generator.random() < 0.6 else tuple(int(n) for n in generator.choice([1, 2], 2))
        kind = "sum" if generator.random() < 0.5 else "average"
        pool = Pool(kind, area, steps)  # type: ignore[arg-type]
    axes = []
    for axis in (0, 1):
        seen = length(size[axis], pool.size[axis], pool.stride[axis]) if pool else size[axis]
        found = [
            (kernel, stride, padding, dilation, made)
            for kernel in (1, 2, 3, 4)
            for stride in (1, 2, 3)
            for padding in (0, 1, 2)
            for dilation in (1, 2)
            if (made := length(seen, (kernel - 1) * dilation + 1, stride, padding)) > 0
            and (outputs is None or made == outputs[axis])
        ]
        if not found:
            return None
        paced = [entry for entry in found if entry[1] * (pool.stride[axis] if pool else 1) == pace[axis]]
        found = paced if paced and generator.random() < 0.9 else found
        axes.append(found[generator.integers(len(found))])
    kernel, stride, padding, dilation, found_outputs = (
        (rows, columns) for rows, columns in zip(*axes, strict=True)
    )
    operation = conv(
        generator, reads, makes, kernel, stride, padding, dilation, int(generator.choice([1, 2]))
    )
    between: list[Any] = [norm(generator, makes)] if generator.random() < 0.3 else []
    if generator.random() < 0.3:
        between.append(Scale(0.5))
    path = (pool,) if pool else ()
    return Branch(name, operation, (Edge(name, "", path),), tuple(between)), found_outputs, reads


@pytest.mark.parametrize("seed", range(300))
def test_random_branches_add_exactly_or_are_refused(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = (int(generator.integers(5, 10)), int(generator.integers(5, 10)))
    pace = (int(generator.integers(1, 3)), int(generator.integers(1, 3)))
    made = random_branch(generator, "a", size, None, pace)
    if made is None:
        return
    first, outputs, reads = made
    shapes, features = {"a": Shape(reads, *size)}, {"a": reads}
    branches = [first]
    for name in "bc"[: generator.integers(1, 3)]:
        other = (size[0] * 2, size[1] * 2) if generator.random() < 0.2 else size
        made = random_branch(generator, name, other, outputs, pace)
        if made is not None:
            branches.append(made[0])
            shapes[name], features[name] = Shape(made[2], *other), made[2]
    try:
        check(branches, shapes, features, seed)
    except UnsupportedLayerError:
        # One map and one stride, unpooled: there is no reason to refuse.
        plain = all(not branch.edges[0].path for branch in branches)
        strides = {branch.operation.stride for branch in branches}  # type: ignore[union-attr]
        assert not (plain and len(strides) == 1 and len({s[1:] for s in shapes.values()}) == 1)


@pytest.mark.parametrize("seed", range(60))
def test_one_map_and_one_stride_are_never_refused(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size, kernel, padding = (
        int(n) for n in (generator.integers(4, 9), generator.integers(1, 5), generator.integers(0, 3))
    )
    stride = int(generator.integers(1, 4))
    outputs = length(size, kernel, stride, padding)
    others = [
        (k, p)
        for k in range(1, 7)
        for p in range(4)
        if size + 2 * p >= k and length(size, k, stride, p) == outputs
    ]
    branches = [
        Branch(name, conv(generator, 2, 3, (k, k), (stride, stride), (p, p)), (Edge(name, ""),))
        for name, (k, p) in zip(
            "abc",
            [(kernel, padding), *(others[i] for i in generator.integers(len(others), size=2))],
            strict=True,
        )
    ]
    check(branches, dict.fromkeys("abc", Shape(2, size, size)), dict.fromkeys("abc", 2), seed)


def test_the_textbook_block_keeps_its_kernel() -> None:
    generator = np.random.default_rng(0)
    shapes = {"x": Shape(4, 6, 6), "h": Shape(3, 6, 6)}
    weights = conv(generator, 3, 4, (3, 3), padding=(1, 1))
    block = [Branch("c", weights, (Edge("h", ""),)), Branch("x", None, (Edge("x", ""),))]
    network = check(block, shapes, {"c": 3, "x": 4})
    operation = network.by_name["sum"].operation
    assert isinstance(operation, Convolution)
    assert (operation.kernel, operation.padding, network.by_name["sum"].input_shape) == (
        (3, 3),
        (1, 1),
        Shape(7, 6, 6),
    )
    assert [(e.source, e.feature_offset) for e in network.edges] == [("h", 0), ("x", 3)]
    assert network.notes == (
        "sum: c and the spikes of x add before its neurons, as one kernel 3x3 over 7 features",
    )


def test_what_reads_one_signal_shares_its_features() -> None:
    generator = np.random.default_rng(1)
    shapes = {"x": Shape(4, 6, 6), "y": Shape(2, 6, 6)}
    both = (Edge("x", "", (), 0), Edge("y", "", (), 4))
    wide = Branch("c", conv(generator, 6, 4, (3, 3), padding=(1, 1)), both)
    network = check([wide, Branch("x", None, (Edge("x", ""),))], shapes, {"c": 6, "x": 4})
    assert network.by_name["sum"].input_shape.features == 6
    assert len(network.edges) == 2
    summed = (Edge("x", "", (), 0), Edge("y", "", (), 1))
    other = Branch("d", conv(generator, 4, 4, (1, 1)), summed)
    network = check([wide, other], shapes, {"c": 6, "d": 4})
    assert network.by_name["sum"].input_shape.features == 10


def test_an_averaged_skip_beside_a_stride_shares_the_signal() -> None:
    generator = np.random.default_rng(2)
    shapes = {"x": Shape(4, 8, 8)}
    strided = Branch("c", conv(generator, 4, 4, (3, 3), (2, 2), (1, 1)), (Edge("x", ""),))
    skip = Branch("x", None, (Edge("x", "", (Pool("average", (2, 2), (2, 2)),)),))
    network = check([strided, skip], shapes, {"c": 4, "x": 4})
    assert network.by_name["sum"].input_shape == Shape(4, 8, 8)
    assert [edge.path for edge in network.edges] == [()]


def test_pools_of_one_size_stay_on_the_edges() -> None:
    generator = np.random.default_rng(3)
    pool = Pool("average", (2, 2), (2, 2))
    shapes = {"x": Shape(4, 9, 9), "y": Shape(4, 4, 4)}
    branches = [
        Branch("c", conv(generator, 4, 4, (3, 3), padding=(1, 1)), (Edge("y", ""),)),
        Branch("x", None, (Edge("x", "", (pool,)),)),
    ]
    network = check(branches, shapes, {"c": 4, "x": 4})
    assert [edge.path for edge in network.edges] == [(), (pool,)]


def test_a_strided_skip_from_a_larger_map_is_passed_on() -> None:
    generator = np.random.default_rng(4)
    shapes = {"x": Shape(2, 9, 8), "h": Shape(3, 5, 4)}
    block = [
        Branch("c", conv(generator, 3, 4, (3, 3), padding=(1, 1)), (Edge("h", ""),)),
        Branch(
            "down",
            conv(generator, 2, 4, (1, 1), (2, 2)),
            (Edge("x", "", (Scale(0.5),)),),
            (norm(generator, 4),),
        ),
    ]
    network = check(block, shapes, {"c": 3, "down": 2})
    assert [layer.name for layer in network.layers] == ["down.strided", "sum"]
    assert "passes on each spike of x at every 2x2 step" in network.notes[0]


def test_linear_layers_and_flat_skips() -> None:
    generator = np.random.default_rng(5)
    flat = (Flatten(),)
    shapes = {"x": Shape(3, 4, 2), "y": Shape(2, 4, 2), "z": Shape(5, 1, 1)}
    first = Linear(24, True, eighths(generator, 24, 40), eighths(generator, 24))
    joint = (Edge("x", "", flat), Edge("y", "", flat, 24))
    branches = [
        Branch("l", first, joint),
        Branch("m", Linear(24, weight=eighths(generator, 24, 16)), (Edge("y", "", flat),)),
        Branch("x", None, (Edge("x", "", flat),)),
    ]
    network = check(branches, shapes, {"l": 40, "m": 16, "x": 24})
    assert network.by_name["sum"].input_shape == Shape(5, 4, 2)
    tall = Branch("t", conv(generator, 3, 24, (4, 2)), (Edge("x", ""),))
    check([branches[0], tall], shapes, {"l": 40, "t": 3})
    small = Branch("z", Linear(24, weight=eighths(generator, 24, 5)), (Edge("z", "", flat),))
    with pytest.raises(UnsupportedLayerError, match=r"different geometry.*Put neurons before the sum"):
        network_of([branches[0], small], shapes)
    mixed = Branch(
        "w", Linear(24, weight=eighths(generator, 24, 29)), (Edge("x", "", flat), Edge("z", "", flat, 24))
    )
    with pytest.raises(UnsupportedLayerError, match=r"signals of different maps meet in w.*x 4x2, z 1x1"):
        network_of([mixed, branches[2]], shapes)


def test_what_an_identity_costs_the_others_is_told() -> None:
    generator = np.random.default_rng(6)
    shapes = {"x": Shape(4, 6, 6), "h": Shape(3, 6, 6)}
    fine = conv(generator, 3, 4, (3, 3), padding=(1, 1))
    block = [Branch("c", fine, (Edge("h", ""),), (Scale(0.125),)), Branch("x", None, (Edge("x", ""),))]
    [note, scale] = network_of(block, shapes, Neuron(0.5)).notes
    assert note.endswith(
        "a weight exceeds the threshold: exact per time step, but single events may act differently"
    )
    assert scale == (
        "sum: a spike of x adds 1, 8 times the largest weight of what it is added to; both share one scale: "
        "these are rounded to 16 steps of 127"
    )
    assert len(network_of([block[0], Branch("x", None, block[1].edges, (Scale(0.1),))], shapes).notes) == 1


@pytest.mark.parametrize(
    ("operation", "size", "text"),
    [
        (((3, 3), (1, 1), (0, 0)), (8, 8), "different shapes.*a 4x8x8, b 4x6x6"),
        (((9, 9), (1, 1), (0, 0)), (8, 8), "leave nothing of its map"),
        (
            ((5, 5), (2, 2), (2, 2)),
            (16, 16),
            "a a map of 8x8 with stride 1x1 and b a map of 16x16 with stride 2x2",
        ),
        (((2, 2), (2, 2), (0, 0)), (16, 16), "different geometry"),
    ],
)
def test_branches_that_do_not_fit(operation: Any, size: tuple[int, int], text: str) -> None:
    generator = np.random.default_rng(7)
    shapes = {"a": Shape(2, 8, 8), "b": Shape(2, *size)}
    branches = [
        Branch("a", conv(generator, 2, 4, (3, 3), padding=(1, 1)), (Edge("a", ""),)),
        Branch("b", conv(generator, 2, 4, *operation), (Edge("b", ""),)),
    ]
    with pytest.raises(NetworkError, match=text):
        network_of(branches, shapes)


def test_malformed_branches() -> None:
    generator = np.random.default_rng(8)
    shapes = {"a": Shape(2, 8, 8)}
    reads = conv(generator, 2, 2, (3, 3))
    pool = Pool("sum", (2, 2), (2, 2))
    cases: list[tuple[Branch, type[NetworkError], str]] = [
        (Branch("b", reads, ()), ShapeError, "nothing feeds b"),
        (Branch("b", conv(generator, 1, 2, (3, 3)), (Edge("a", ""),)), ShapeError, "another number of values"),
        (Branch("b", reads, (Edge("a", "", (Flatten(), pool)),)), UnsupportedLayerError, "flattened signal of a is pooled"),
        (Branch("b", reads, (Edge("a", "", (Flatten(),)),)), UnsupportedLayerError, "convolves a flattened map"),
        (Branch("b", reads, (Edge("a", "", (Pool("sum", (9, 9), (9, 9)),)),)), ShapeError, "leaves nothing"),
        (Branch("b", Linear(2, weight=np.zeros((2, 7))), (Edge("a", "", (Flatten(),)),)), ShapeError, "another number"),
        (Branch("b", Linear(2), (Edge("a", "", (Flatten(),)),), (pool,)), UnsupportedLayerError, "no map"),
    ]  # fmt: skip
    for branch, kind, text in cases:
        with pytest.raises(kind, match=text):
            network_of([branch], shapes)


def test_shapes_alone_give_shapes_alone() -> None:
    shapes = {"x": Shape(4, 8, 8), "h": Shape(3, 4, 4)}
    block = [
        Branch("c", Convolution(4, (3, 3), padding=(1, 1), has_bias=True), (Edge("h", ""),), (BatchNorm(),)),
        Branch("x", None, (Edge("x", "", (Pool("average", (2, 2), (2, 2)),)),)),
        Branch("d", Convolution(4, (1, 1), (2, 2)), (Edge("x", ""),)),
    ]
    network = network_of(block, shapes)
    assert not any(layer.operation.weight is not None for layer in network.layers)
    assert [layer.input_shape for layer in network.layers] == [Shape(4, 8, 8), Shape(11, 4, 4)]


@pytest.mark.parametrize("seed", range(40))
def test_a_pool_before_the_neurons_is_a_larger_kernel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    kernel, stride, padding, dilation = (
        tuple(int(n) for n in generator.integers(*r, 2)) for r in ((1, 4), (1, 3), (0, 3), (1, 3))
    )
    operation = conv(generator, 4, 4, kernel, stride, padding, dilation, int(generator.choice([1, 2])))  # type: ignore[arg-type]
    area = tuple(int(n) for n in generator.integers(1, 4, 2))
    steps = area if generator.random() < 0.5 else tuple(int(n) for n in generator.integers(1, 4, 2))
    pools = [Pool("sum", area, steps), Pool("average", area, steps, 4.0), Pool("average", (2, 2), (2, 2))]  # type: ignore[arg-type]
    between: tuple[Any, ...] = (
        norm(generator, 4),
        pools[seed % 2],
        Scale(0.5),
        *pools[2:][: seed % 3],
        norm(generator, 4),
    )
    branch = Branch("a", operation, (Edge("a", ""),), between)
    shapes = {"a": Shape(4, 13, 17)}
    network = check([branch], shapes, {"a": 4}, seed)
    alone_too = folded(operation, between)
    draft = [LayerDraft("sum", alone_too, (), HOLDING, 4)]
    other = build_network("n", network.inputs, draft, [Edge("a", "sum")], network.outputs)
    frame = {"a": np.random.default_rng(seed).integers(0, 4, (1, 4, 13, 17))}
    assert np.array_equal(
        simulate(other, frame).state.potentials["sum"], simulate(network, frame).state.potentials["sum"]
    )


@pytest.mark.parametrize("seed", range(60))
def test_zeros_around_a_map_go_into_padding_and_kernel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    kernel, stride, padding, dilation = (
        tuple(int(n) for n in generator.integers(*r, 2)) for r in ((1, 5), (1, 4), (0, 3), (1, 3))
    )
    operation = conv(generator, 2, 3, kernel, stride, padding, dilation)  # type: ignore[arg-type]
    top, bottom, left, right = (int(n) for n in generator.integers(0, 4, 4))
    frame = generator.integers(0, 4, (2, 9, 10))
    padded = np.pad(frame, ((0, 0), (top, bottom), (left, right)))
    expected = alone(Branch("a", operation, (Edge("a", ""),)), {"a": padded}, 2)
    taken = zero_padded(operation, (9, 10), ((top, bottom), (left, right)))
    assert np.array_equal(alone(Branch("a", taken, (Edge("a", ""),)), {"a": frame}, 2), expected)
    if (top, left) == (bottom, right):
        assert taken.kernel == operation.kernel


def test_least_frames() -> None:
    assert fitted([(3, 1)], 8, 1, 8) == (1, 3)
    assert fitted([(3, 1), (1, 0)], 8, 2, 4) == (1, 3)
    assert fitted([(3, 0)], 8, 2, 4) == (1, 4)  # zeros behind the map alone, as TensorFlow pads
    assert fitted([(1, 0)], 8, 8, 1) == (0, 1)


def test_factors_by_feature() -> None:
    assert feature_scale(0.5) == Scale(0.5)
    assert feature_scale(np.full((4, 3, 3), 2.0)) == Scale(2.0)
    step = feature_scale(np.arange(3.0)[:, None, None] * np.ones((3, 2, 2)))
    assert isinstance(step, BatchNorm)
    weights = folded(Convolution(3, (1, 1), weight=np.ones((3, 1, 1, 1), np.float32)), [step]).weight
    assert np.asarray(weights).ravel().tolist() == [0, 1, 2]
    for factors, text in [
        (0.0, "all weights zero"),
        ([np.nan, 1], "not finite"),
        (np.arange(8.0).reshape(2, 2, 2), "of one feature"),
    ]:
        with pytest.raises(ValueError, match=text):
            feature_scale(factors)
    plain = linear_part(norm(np.random.default_rng(0), 3))
    assert isinstance(plain, BatchNorm)
    assert not np.any(plain.mean) and not np.any(plain.shift)  # noqa: PT018
    assert linear_part(Scale(2.0)) == Scale(2.0)


def test_drafts_settle_without_shapes() -> None:
    """What a reader of graphs does: drafts in order, sums among them, shapes from the inputs alone."""
    generator = np.random.default_rng(9)
    weights = [
        conv(generator, 2 if n == 0 else 4, 4, (3, 3), (2, 2) if n == 1 else (1, 1), (1, 1)) for n in range(3)
    ]
    down = conv(generator, 4, 4, (1, 1), (2, 2))
    drafts: list[LayerDraft | JointDraft] = [
        LayerDraft("stem", weights[0], (), Neuron(), 2),
        LayerDraft("c1", weights[1], (), Neuron(), 4),
        JointDraft("c2", (Branch("c2", weights[2], (Edge("c1", ""),)), Branch("down", down, (Edge("stem", ""),))), Neuron()),
        JointDraft("loop", (Branch("l", conv(generator, 4, 4, (1, 1)), (Edge("c2", ""),)), Branch("loop", None, (Edge("loop", ""),)))),
    ]  # fmt: skip
    result = settle([Input("i", Shape(2, 8, 8))], drafts, [Edge("i", "stem"), Edge("stem", "c1")])
    network = build_network(
        "n", [Input("i", Shape(2, 8, 8))], result.layers, result.edges, [Output("o", "loop")]
    )
    assert [layer.name for layer in network.layers] == ["stem", "c1", "down.strided", "c2", "loop"]
    assert network.by_name["loop"].input_shape == Shape(8, 4, 4)
    assert [e.delay_steps for e in network.incoming["loop"]] == [0, 1]
    wrong = [
        JointDraft(
            "p", (Branch("a", weights[0], (Edge("i", ""),)), Branch("b", weights[0], (Edge("q", ""),)))
        ),
        JointDraft(
            "r", (Branch("a", weights[0], (Edge("i", ""),)), Branch("b", weights[1], (Edge("p", ""),)))
        ),
    ]
    with pytest.raises(
        ShapeError, match=r"(?s)2 problems.*layer p.*does not follow.*layer r.*different shapes"
    ):
        settle([Input("i", Shape(2, 8, 8))], wrong, [])
