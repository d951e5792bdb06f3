"""Pieces, copies and relays: emitted, read back, compared; and every injected fault is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

import mapper
from mapper.emit.read.diff import diff
from mapper.emit.read.extract import extract
from mapper.emit.shared.config import ChipConfig, CnnLayer
from mapper.emit.shared.file import config_text
from mapper.emit.shared.interface import LayerPlace
from mapper.emit.shared.joined import joined
from mapper.emit.shared.tensor import Tensor
from mapper.emit.write.build import build_config
from mapper.emit.write.options import EmitOptions
from mapper.errors import ConfigError, NetworkError, OptionsError
from mapper.integers import widened
from mapper.network import Edge, Network, Output
from mapper.operations import Pool
from mapper.result import Result
from tests.builders import chain, conv, pool, weighted
from tests.divided import Moves, big_chip, divided
from tests.sim.test_config_frame import random_network
from tests.sim.test_divided import several, some_network

CASES = int(os.environ.get("MAPPER_INSTANCES", "80"))
CHIP = big_chip()


def placed(network: Network, seed: int, **more: Any) -> Result:
    return divided([network], CHIP, np.random.default_rng(seed), **more)


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(2))
@pytest.mark.parametrize("name", ["speck2f", "speck2b"])
def test_divided_networks_come_back(name: str, block: int) -> None:
    chip, roles = big_chip(name), set()
    for seed in range(block * CASES // 4, (block + 1) * CASES // 4):
        result = divided([some_network(seed)], chip, np.random.default_rng(seed))
        config = build_config(result)
        assert diff(result.networks[0], config) == (), seed
        assert ChipConfig.model_validate_json(config_text(config)) == config
        roles |= {place.role for place in places(config)}
    assert roles == {"layer", "piece", "copy", "relay"}


@pytest.mark.parametrize("seed", range(8))
def test_several_networks_come_back(seed: int) -> None:
    networks = several(seed)
    if len({network.inputs[0].shape for network in networks}) > 1:
        networks = [networks[0], networks[0].replacing(name="second")]
    result = divided(networks, CHIP, np.random.default_rng(seed))
    config = build_config(result)
    assert config.interface is not None
    assert config.interface.network == "first+second"
    assert diff(result.networks, config) == ()
    for network in result.networks:
        assert diff(network, extract(config, network=network.name)) == ()
    with pytest.raises(ConfigError, match="third"):
        extract(config, network="third")
    assert joined(result.networks).name == "first+second"


def places(config: ChipConfig) -> list[LayerPlace]:
    assert config.interface is not None
    return [place for _, place in config.interface.places]


def core_with(config: ChipConfig, role: str, fits: Callable[[CnnLayer], bool] = lambda core: True) -> int:
    """A core of a role; LookupError if there is none."""
    found = [p.core for p in places(config) if p.role == role and fits(config.hardware.cnn_layers[p.core])]
    if not found:
        raise LookupError(role)
    return found[len(found) // 2]


def with_core(config: ChipConfig, core: int, **changes: Any) -> ChipConfig:
    cores = list(config.hardware.cnn_layers)
    cores[core] = cores[core].model_copy(update=changes)
    hardware = config.hardware.model_copy(update={"cnn_layers": tuple(cores)})
    return config.model_copy(update={"hardware": hardware})


def entry_changed(tensor: Tensor | None, place: int = 0, by: int = 1) -> Tensor:
    assert tensor is not None
    array = widened(tensor.array).copy()
    array.ravel()[place] += by
    return Tensor.of(array)


Fault = Callable[[ChipConfig], ChipConfig]


def field(role: str, name: str, how: Callable[[Any], Any]) -> Fault:
    def made(config: ChipConfig) -> ChipConfig:
        core = core_with(config, role)
        return with_core(config, core, **{name: how(getattr(config.hardware.cnn_layers[core], name))})

    return made


def slot(role: str, **changes: Any) -> Fault:
    """A change of a destination in use."""

    def made(config: ChipConfig) -> ChipConfig:
        core = core_with(config, role, lambda layer: layer.destinations[0].enable)
        first, *rest = config.hardware.cnn_layers[core].destinations
        fields = {name: how(getattr(first, name)) for name, how in changes.items()}
        return with_core(config, core, destinations=(first.model_copy(update=fields), *rest))

    return made


def twice(role: str) -> Fault:
    def made(config: ChipConfig) -> ChipConfig:
        core = core_with(config, role, lambda layer: layer.destinations[0].enable)
        entries = list(config.hardware.cnn_layers[core].destinations)
        free = next(n for n, entry in enumerate(entries) if not entry.enable)
        entries[free] = entries[0]
        return with_core(config, core, destinations=tuple(entries))

    return made


def gone(role: str) -> Fault:
    return lambda config: with_core(config, core_with(config, role), dimensions=None)


def relay_off_diagonal(config: ChipConfig) -> ChipConfig:
    core = core_with(config, "relay", lambda layer: layer.biases is not None and layer.biases.array.size > 1)
    return with_core(config, core, weights=entry_changed(config.hardware.cnn_layers[core].weights, 1))


def relay_bias(config: ChipConfig) -> ChipConfig:
    core = core_with(config, "relay")
    biases = entry_changed(config.hardware.cnn_layers[core].biases)
    return with_core(config, core, biases=biases, leak_enable=True)


def delay_lost(config: ChipConfig) -> ChipConfig:
    assert config.interface is not None
    layers = list(config.interface.layers)
    number = next((n for n, layer in enumerate(layers) if layer.delays), None)
    if number is None:
        raise LookupError("delay")
    (core, slot_of, steps), *rest = layers[number].delays
    layers[number] = layers[number].model_copy(update={"delays": ((core, slot_of, steps + 1), *rest)})
    return config.model_copy(
        update={"interface": config.interface.model_copy(update={"layers": tuple(layers)})}
    )


def role_changed(config: ChipConfig) -> ChipConfig:
    """A piece that the interface takes for features further up."""
    assert config.interface is not None
    core = core_with(config, "piece")
    layers = tuple(
        layer.model_copy(
            update={
                "places": tuple(
                    p.model_copy(update={"start": p.start + 1, "stop": p.stop + 1}) if p.core == core else p
                    for p in layer.places
                )
            }
        )
        for layer in config.interface.layers
    )
    return config.model_copy(update={"interface": config.interface.model_copy(update={"layers": layers})})


FAULTS: dict[str, tuple[Fault, str]] = {
    "weight of a piece": (field("piece", "weights", entry_changed), "weight["),
    "threshold of a piece": (field("piece", "threshold_high", lambda n: n + 1), "threshold_high is not that of"),
    "minimum of a piece": (field("piece", "threshold_low", lambda n: n - 1), "threshold_low is not that of"),
    "reset of a piece": (field("piece", "return_to_zero", lambda on: not on), "return_to_zero is not that of"),
    "state of a piece": (field("piece", "neurons_initial_value", entry_changed), "initial"),
    "shift of a piece": (slot("piece", feature_shift=lambda n: n + 1), "core"),
    "pool of a piece": (slot("piece", pooling=lambda n: 3 - n if n < 3 else 1), "core"),
    "destination of a piece": (slot("piece", enable=lambda _: False), "core"),
    "destination of a piece twice": (twice("piece"), "core"),
    "piece gone": (gone("piece"), "not configured"),
    "piece elsewhere": (role_changed, "core"),
    "weight of a copy": (field("copy", "weights", entry_changed), "is not equal: weight["),
    "threshold of a copy": (field("copy", "threshold_high", lambda n: n + 1), "thresh"),
    "state of a copy": (field("copy", "neurons_initial_value", entry_changed), "initial"),
    "destination of a copy": (slot("copy", enable=lambda _: False), ""),
    "copy gone": (gone("copy"), "not configured"),
    "weight of a relay": (field("relay", "weights", entry_changed), "is no true relay"),
    "weight between features of a relay": (relay_off_diagonal, "is no true relay"),
    "threshold of a relay": (field("relay", "threshold_high", lambda n: n + 1), "is no true relay"),
    "minimum of a relay": (field("relay", "threshold_low", lambda n: 0), "is no true relay"),
    "reset of a relay": (field("relay", "return_to_zero", lambda _: True), "is no true relay"),
    "state of a relay": (field("relay", "neurons_initial_value", entry_changed), "is no true relay"),
    "bias of a relay": (relay_bias, "is no true relay"),
    "decimator of a relay": (field("relay", "output_decimator_enable", lambda _: True), "is no true relay"),
    "shift of a relay": (slot("relay", feature_shift=lambda n: n + 1), ""),
    "destination of a relay": (slot("relay", enable=lambda _: False), ""),
    "destination of a relay twice": (twice("relay"), ""),
    "relay gone": (gone("relay"), "not configured"),
    "delay": (delay_lost, "delay"),
}  # fmt: skip


@cache
def sound_at(seed: int) -> tuple[Result, ChipConfig]:
    """A placement and its configuration, which every fault changes anew."""
    result = placed(some_network(seed), seed)
    return result, build_config(result)


def first_with(fault: Fault, seed: int) -> tuple[Result, ChipConfig, ChipConfig]:
    """A placement from `seed` on that has what the fault concerns, its configuration, and the faulty one."""
    while True:
        result, config = sound_at(seed)
        try:
            return result, config, fault(config)
        except LookupError:
            seed += 1


@pytest.mark.no_cover
@pytest.mark.parametrize("seed", [1, 20, 40, 60])
@pytest.mark.parametrize(("fault", "word"), FAULTS.values(), ids=FAULTS)
def test_faults_are_found(fault: Fault, word: str, seed: int) -> None:
    result, config, faulty = first_with(fault, seed)
    assert faulty != config
    assert diff(faulty, config)
    try:
        told = "; ".join(map(str, diff(result.networks[0], faulty)))
        assert told
    except (ConfigError, NetworkError) as error:
        told = str(error)
    assert word in told or "edge" in told or "not that of core" in told


def test_equal_edges_with_different_delays() -> None:
    """A layer that reads itself of one and of two steps before, in pieces."""
    base = weighted(chain([conv(4), conv(4)], (2, 6, 6)), np.random.default_rng(0), integer=True)
    back = [Edge("conv1", "conv1", delay_steps=n) for n in (1, 2)]
    network = base.replacing(edges=(*base.edges, *back))
    for seed in range(6):
        result = placed(network, seed)
        assert diff(result.networks[0], build_config(result)) == ()
    less = network.replacing(edges=network.edges[:-1])
    assert any("delay 2" in str(entry) for entry in diff(less, build_config(result)))


def test_an_edge_that_is_there_twice() -> None:
    base = weighted(chain([conv(4), conv(4)], (2, 6, 6)), np.random.default_rng(0), integer=True)
    network = base.replacing(edges=(*base.edges, base.edges[-1]))
    result = placed(network, 0)
    assert diff(result.networks[0], build_config(result)) == ()
    (told,) = diff(result.networks[0], base)
    assert "2 times" in str(told)


def test_pools_are_composed_and_pooled_outputs_are_shown() -> None:
    average = Pool("average", (4, 4), (4, 4))
    base = weighted(chain([conv(3), conv(4)], (2, 16, 16), (4,)), np.random.default_rng(1), integer=True)
    outputs = (Output("mean", "conv1", (average,)), Output("sum", "conv0", pool(2)))
    network, shown = base.replacing(outputs=outputs), 0
    for seed in range(12):
        result = placed(network, seed)
        config = build_config(result)
        assert diff(result.networks[0], config) == ()
        assert config.interface is not None
        mean, total = config.interface.outputs
        assert mean.divisor == 16.0
        wanted = ((1, 1), (1, 1)) if result.options.pooled_outputs == "relay" else ((4, 4), (2, 2))
        assert (mean.host_pool, total.host_pool) == wanted
        monitored = [n for n, core in enumerate(config.hardware.cnn_layers) if core.monitor_enable]
        assert sorted(part.core for output in (mean, total) for part in output.parts) == monitored
        shown += mean.host_pool == (1, 1)
    assert 0 < shown < 12


def test_wishes_for_a_core_refuse_a_layer_on_several() -> None:
    network = weighted(chain([conv(4), conv(4), conv(4)], (2, 6, 6)), np.random.default_rng(0), integer=True)
    found: set[str] = set()
    for seed in range(12):
        result = placed(network, seed)
        config = build_config(result)
        assert config.interface is not None
        for layer in config.interface.layers:
            relays = {p.core for p in places(config) if p.role == "relay"}
            (own, *more) = layer.places
            before = [
                n
                for n in relays
                for d in config.hardware.cnn_layers[n].destinations
                if d.enable and d.layer == own.core
            ]
            if not more and not before:
                wishes = EmitOptions(decimators={layer.name: 1}, balancers=(layer.name,))
                assert build_config(result, wishes).hardware.cnn_layers[own.core].output_decimator_enable
                found.add("whole")
                continue
            for wishes in (EmitOptions(decimators={layer.name: 1}), EmitOptions(balancers=(layer.name,))):
                with pytest.raises(OptionsError, match=f"of {layer.name}.*one core"):
                    build_config(result, wishes)
            found |= {place.role for place in more} | ({"behind"} if before else set())
    assert found == {"whole", "piece", "copy", "relay", "behind"}


def test_notes_name_what_is_divided() -> None:
    result = next(
        made
        for made in (placed(random_network(1), seed) for seed in range(50))
        if {"piece", "copy", "relay"} <= {place.role for place in places(build_config(made))}
    )
    config = build_config(result)
    assert config.interface is not None
    told = "\n".join(config.interface.notes)
    for word in ("cut over core", "stands once more, on core", "passed on by a relay on core"):
        assert word in told
    owners = config.interface.owners
    assert len(owners) == sum(core.dimensions is not None for core in config.hardware.cnn_layers)
    assert any(text.startswith("relay of") for text in owners.values())
    single = [
        layer for layer in result.networks[0].layers if layer.neuron and layer.neuron.spike_mode == "single"
    ]
    assert ("single-spike mode" in told) == bool(single)


def test_what_a_chip_cannot_say() -> None:
    network = weighted(chain([conv(4)], (2, 6, 6)), np.random.default_rng(0), integer=True)
    late = network.replacing(edges=(replace(network.edges[0], delay_steps=1),))
    with pytest.raises(NetworkError, match="cannot be delayed"):
        build_config(mapper.solve(late, "speck2f"))
    result = placed(network, 0, moves=Moves(copies=False, relays=False))
    bare = result.networks[0].replacing(outputs=(Output("out", "input"),))
    with pytest.raises(NetworkError, match="is an input"):
        build_config(replace(result, networks=(bare,)))
