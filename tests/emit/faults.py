"""A configuration with something of everything, and one fault for every kind of field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import mapper
from mapper.emit.shared.config import ChipConfig, DvsDestination
from mapper.emit.shared.tensor import Tensor
from mapper.integers import widened
from mapper.network import DvsSettings
from mapper.operations import Neuron
from tests.builders import chain, conv, weighted


def sample() -> ChipConfig:
    """A configuration with a sensor, biases, initial potentials, a pool and a way back on speck2b's relatives."""
    draw = np.random.default_rng(5)
    base = chain([conv(3, has_bias=True), conv(4), conv(5)], (2, 12, 14), (2, 1), dvs=True)
    layers = []
    for layer in weighted(base, draw, integer=True).layers:
        state = draw.integers(1, 9, layer.output_shape)
        layers.append(replace(layer, neuron=Neuron(9, -20, "subtract", "multi", state)))
    entry = replace(base.inputs[0], dvs=DvsSettings(origin=(1, 2), mirror=(True, False)))
    network = base.replacing(layers=tuple(layers), inputs=(entry,))
    return mapper.build_config(mapper.solve(network, kill_chip()))


def kill_chip() -> Any:
    return mapper.load_chip("speck2b")


def core_number(config: ChipConfig, name: str) -> int:
    assert config.interface is not None
    return next(layer.places[0].core for layer in config.interface.layers if layer.name == name)


def with_core(config: ChipConfig, name: str, **changes: Any) -> ChipConfig:
    cores = list(config.hardware.cnn_layers)
    number = core_number(config, name)
    cores[number] = cores[number].model_copy(update=changes)
    return config.model_copy(
        update={"hardware": config.hardware.model_copy(update={"cnn_layers": tuple(cores)})}
    )


def with_stage(config: ChipConfig, **changes: Any) -> ChipConfig:
    stage = config.hardware.dvs_layer
    assert stage is not None
    return config.model_copy(
        update={
            "hardware": config.hardware.model_copy(update={"dvs_layer": stage.model_copy(update=changes)})
        }
    )


def one_more(tensor: Tensor | None, place: int = 7) -> Tensor:
    assert tensor is not None
    array = widened(tensor.array).copy()
    array.ravel()[place] += 1
    return Tensor.of(array)


Mutation = Callable[[ChipConfig], ChipConfig]


def core_field(name: str, field: str) -> Any:
    return lambda config: getattr(config.hardware.cnn_layers[core_number(config, name)], field)


def change(name: str, field: str, how: Callable[[Any], Any]) -> Mutation:
    return lambda config: with_core(config, name, **{field: how(core_field(name, field)(config))})


def destination(**changes: Any) -> Callable[[Any], Any]:
    return lambda entries: (entries[0].model_copy(update=changes), *entries[1:])


def dimension(path: str, value: Any) -> Callable[[Any], Any]:
    head, _, tail = path.partition(".")

    def how(shape: Any) -> Any:
        inner = value if not tail else getattr(shape, head).model_copy(update={tail: value})
        return shape.model_copy(update={head: inner})

    return how


def swapped(tensor: Any) -> Tensor:
    return Tensor.of(tensor.array.swapaxes(-1, -2))


# By name: how the fault is injected, and the word by which the comparison with the network must name it.
IN_NETWORK: dict[str, tuple[Mutation, str]] = {
    "one weight": (change("conv1", "weights", one_more), "layer conv1: weight["),
    "axes of weights": (change("conv1", "weights", swapped), "layer conv1: weight["),
    "one bias": (change("conv0", "biases", lambda t: one_more(t, 1)), "layer conv0: bias[1]"),
    "leak off": (change("conv0", "leak_enable", lambda _: False), "layer conv0: bias"),
    "one initial value": (change("conv2", "neurons_initial_value", one_more), "layer conv2: initial potential["),
    "threshold high": (change("conv1", "threshold_high", lambda n: n + 1), "layer conv1: threshold"),
    "threshold low": (change("conv1", "threshold_low", lambda n: n - 1), "layer conv1: minimum"),
    "reset mode": (change("conv1", "return_to_zero", lambda _: True), "layer conv1: reset"),
    "destination off": (change("conv0", "destinations", destination(enable=False)), "edge conv0 -> conv1"),
    "destination": (change("conv1", "destinations", destination(layer=-1)), "conv1"),
    "pooling": (change("conv0", "destinations", destination(pooling=1)), "conv"),
    "shift": (change("conv0", "destinations", destination(feature_shift=1)), "conv"),
    "kernel size": (change("conv1", "dimensions", dimension("kernel_size", 1)), "conv"),
    "killed weight": (change("conv1", "weights_kill_bit", lambda t: Tensor.of(np.ones(t.shape, int))), "layer conv1: weight["),
    "killed state": (change("conv1", "neurons_value_kill_bit", lambda t: Tensor.of(np.ones(t.shape, int))), "layer conv1: initial"),
    "mirror": (lambda c: with_stage(c, mirror=type(c.hardware.dvs_layer.mirror)(x=1, y=1)), "input input: dvs.mirror"),  # type: ignore[union-attr]
    "swap": (lambda c: with_stage(c, mirror_diagonal=True), "input"),
    "gate": (lambda c: with_stage(c, on_channel=False), "input input: dvs.on_channel"),
    "merge": (lambda c: with_stage(c, merge=True), "input"),
    "origin": (lambda c: with_stage(c, origin=type(c.hardware.dvs_layer.origin)(x=0, y=0)), "input"),  # type: ignore[union-attr]
    "stage destination": (lambda c: with_stage(c, destinations=(DvsDestination(), DvsDestination())), "input"),
}  # fmt: skip


ONLY_IN_CONFIG: dict[str, tuple[Mutation, str]] = {
    "monitor": (change("conv2", "monitor_enable", lambda on: not on), "monitor_enable"),
    "a kill bit": (change("conv1", "biases_kill_bit", lambda t: Tensor.of(1 - t.array)), "biases_kill_bit"),
    "stride": (change("conv1", "dimensions", dimension("stride.x", 2)), "stride"),
    "padding": (change("conv1", "dimensions", dimension("padding.y", 2)), "padding"),
    "input features": (change("conv1", "dimensions", dimension("input_shape.feature_count", 9)), "feature_count"),
    "output features": (change("conv1", "dimensions", dimension("output_shape.feature_count", 9)), "feature_count"),
    "sensor": (lambda c: with_stage(c, pass_sensor_events=False), "pass_sensor_events"),
    "sensor monitor": (lambda c: with_stage(c, monitor_enable=True), "monitor_enable"),
    "cut": (lambda c: with_stage(c, cut=type(c.hardware.dvs_layer.cut)(x=3, y=3)), "cut"),  # type: ignore[union-attr]
    "stage pooling": (lambda c: with_stage(c, pooling=type(c.hardware.dvs_layer.pooling)(x=2, y=2)), "pooling"),  # type: ignore[union-attr]
}  # fmt: skip
