"""The form that the passes guarantee: what is refused, and that the type is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mapper.by_value import same
from mapper.edits import Edit, apply_edits
from mapper.errors import NetworkError, ShapeError
from mapper.network import Edge, Input, Layer, Network, Output
from mapper.normal_form import NormalLayer, NormalNetwork, normal_form
from mapper.operations import (
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Linear,
    Neuron,
    PathOperation,
    Pool,
    Scale,
    Shape,
)
from mapper.passes import prepare
from mapper.passes.quantize import quantize
from tests.builders import as_read, chain, conv, weighted

DENSE = Convolution(4, (1, 1))
SUM = Pool("sum", (1, 1), (1, 1))


def one(layer: Layer, path: tuple[PathOperation, ...] = ()) -> Network:
    """A layer named "a" behind an input "in"."""
    return Network(
        "one", (Input("in", layer.input_shape),), (layer,), (Edge("in", "a", path),), (Output("out", "a"),)
    )


def layer(operation: Convolution | Linear = DENSE, *between: BatchNorm | Dropout | Scale) -> Layer:
    return Layer("a", Shape(4, 1, 1), operation, between)


OTHERS: dict[str, tuple[Network, str]] = {
    "linear": (one(layer(Linear(4))), "layer a: a linear layer must become a convolution first"),
    "groups": (one(layer(replace(DENSE, groups=2))), "layer a: groups and dilation must be made dense"),
    "dilation": (
        one(layer(replace(DENSE, dilation=(1, 2)))),
        "layer a: groups and dilation must be made dense",
    ),
    "batch norm": (one(layer(DENSE, BatchNorm())), "layer a: BatchNorm must be folded"),
    "dropout": (one(layer(DENSE, Dropout(), Scale(1.0))), "layer a: Dropout, Scale must be folded"),
    "no neurons": (one(replace(layer(), neuron=None)), "layer a: a weight layer without spiking neurons"),
    "average": (
        one(layer(), (Pool("average", (1, 1), (1, 1)),)),
        "edge in -> a: more than one sum pool: Pool",
    ),
    "two pools": (one(layer(), (SUM, SUM)), "edge in -> a: more than one sum pool: Pool, Pool"),
    "scale": (one(layer(), (Scale(0.5),)), "edge in -> a: more than one sum pool: Scale"),
    "pool and scale": (one(layer(), (SUM, Scale(1.0))), "edge in -> a: more than one sum pool: Pool, Scale"),
    "flatten": (one(layer(), (Flatten(),)), "edge in -> a: more than one sum pool: Flatten"),
    "dropout on an edge": (one(layer(), (Dropout(),)), "edge in -> a: more than one sum pool: Dropout"),
}


@pytest.mark.parametrize(("network", "text"), OTHERS.values(), ids=OTHERS)
def test_every_other_form_is_refused(network: Network, text: str) -> None:
    with pytest.raises(NetworkError, match=text) as caught:
        normal_form(network)
    assert len(caught.value.findings) == 1
    assert caught.value.findings[0].next_step
    form = normal_form(one(layer()))
    with pytest.raises(NetworkError, match=text):
        form.replacing(layers=network.layers, edges=network.edges)


def test_everything_is_refused_at_once() -> None:
    broken = replace(layer(replace(DENSE, groups=2), BatchNorm()), neuron=None)
    with pytest.raises(NetworkError) as caught:
        normal_form(one(broken, (Pool("average", (1, 1), (1, 1)),)))
    assert [finding.where for finding in caught.value.findings] == ["layer a"] * 3 + ["edge in -> a"]


def test_what_is_of_this_form_by_value_becomes_of_this_type() -> None:
    network = as_read(chain([conv(4), conv(3)], pools=(2,)))
    layers = tuple(Layer(e.name, e.input_shape, e.operation, e.between, e.neuron) for e in network.layers)
    plain = network.replacing(layers=layers)
    form = normal_form(plain)
    assert [type(entry) for entry in form.layers] == [NormalLayer] * 2
    assert form.by_name["conv1"] is form.layers[1]
    assert normal_form(form) is form
    for name in ("name", "inputs", "edges", "outputs", "notes"):
        assert getattr(form, name) is getattr(plain, name)
    for typed, entry in zip(form.layers, plain.layers, strict=True):
        assert all(
            getattr(typed, name) is getattr(entry, name)
            for name in ("name", "input_shape", "operation", "between", "neuron")
        )


def test_shapes_and_names_are_checked_as_of_any_network() -> None:
    form = chain([conv(4), conv(3)])
    with pytest.raises(ShapeError, match="conv1"):
        form.replacing(edges=(form.edges[0], replace(form.edges[1], path=(Pool("sum", (2, 2), (2, 2)),))))
    with pytest.raises(NetworkError, match="nothing feeds"):
        form.replacing(edges=form.edges[:1])


def test_changes_keep_the_type() -> None:
    form = chain([conv(4), conv(3)], pools=(2,))
    assert type(form.replacing(name="other")) is NormalNetwork
    wider = form.replacing(layers=(replace(form.layers[0], neuron=Neuron(3)), form.layers[1]))
    assert [type(entry) for entry in wider.layers] == [NormalLayer] * 2
    assert wider.layers[1] is form.layers[1]
    edited = apply_edits(form, [Edit("conv0", "features", 2), Edit("conv0", "pooling", (4, 4))])
    assert type(edited) is NormalNetwork
    assert edited.edges[1].pool == Pool("sum", (4, 4), (4, 4))
    assert type(quantize(weighted(form, np.random.default_rng(0)))) is NormalNetwork


def test_the_passes_give_it() -> None:
    fc = Layer("fc", Shape(4, 1, 1), Linear(2), (Dropout(), Scale(2.0)))
    ready = prepare(
        Network(
            "n",
            (Input("in", Shape(1, 2, 2)),),
            (fc,),
            (Edge("in", "fc", (Flatten(),)),),
            (Output("o", "fc"),),
        )
    )
    assert type(ready) is NormalNetwork
    assert ready.layers[0].operation.kernel == (2, 2)
    assert same(prepare(ready), ready)


def test_the_passes_refuse_what_they_cannot_bring_into_it() -> None:
    overlapping = (Pool("sum", (2, 2), (1, 1)), Pool("sum", (2, 2), (1, 1)))
    network = Network(
        "n",
        (Input("in", Shape(4, 3, 3)),),
        (layer(),),
        (Edge("in", "a", overlapping),),
        (Output("o", "a"),),
    )
    with pytest.raises(NetworkError, match="more than one sum pool: Pool, Pool"):
        prepare(network)
