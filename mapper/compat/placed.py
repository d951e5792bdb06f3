"""Placement and configuration of a torch network: made at the call, of what its tensors are then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from hwspec.catalog import load as load_chip
from mapper.api import solve
from mapper.arguments import checked
from mapper.asking import spoken_to
from mapper.by_value import same
from mapper.compat.arguments import (
    OLDER,
    Ordering,
    default_device,
    listed,
    monitors,
    one_ordering,
    pins,
    samna_bridge,
    warn_of_numbers,
    warn_of_pools,
    with_states,
)
from mapper.compat.views import LayerViews
from mapper.emit.shared.config import ChipConfig
from mapper.emit.write.build import build_config
from mapper.emit.write.options import EmitOptions
from mapper.errors import InfeasibleError, UndecidedError, warn_caller
from mapper.normal_form import NormalNetwork
from mapper.options import SolveOptions
from mapper.question import Question, fits
from mapper.reasons import FeasibilityReport
from mapper.references import LayerReference, as_index
from mapper.result import Result

__all__ = ["Monitors", "PlacedNetwork"]

ChipDevice: TypeAlias = str | Path
Monitors = Sequence[LayerReference] | LayerReference | None


class PlacedNetwork(LayerViews):
    """A network that is placed and configured.

    Attributes
    ----------
    result
        The last placement, or None.
    config
        The last configuration as plain data, or None.
    samna_config
        The last configuration as samna's object, or None.
    """

    result: Result | None = None
    config: ChipConfig | None = None
    samna_config: Any = None
    sensor_is_on = False

    @checked
    def is_compatible_with(self, device_type: str | Path) -> bool:
        """Whether the network fits a chip or device; needs no samna.

        Raises
        ------
        SpecError
            No chip or device has this name.
        """
        return bool(fits(Question((self._integers(),), load_chip(device_type), SolveOptions())))

    @checked
    def why_incompatible_with(self, device_type: str | Path) -> FeasibilityReport | None:
        """Why the network does not fit, with repairs; None if it fits."""
        return solve(self._integers(), load_chip(device_type)).report

    @checked.but("chip_layers_ordering", "monitor_layers", "layer2core_map")
    def place(
        self,
        device: ChipDevice = "speck2fmodule:0",
        chip_layers_ordering: Ordering | None = "auto",
        monitor_layers: Monitors = None,
        *,
        layer2core_map: Ordering | None = None,
        initial_state: str = "built",
        objective: str | None = None,
    ) -> Result:
        """Choose cores for a device; what `find_chip_layer` then answers for.

        Parameters
        ----------
        layer2core_map, initial_state
            As in `make_config`.
        objective
            As in `mapper.SolveOptions`; None takes its default.

        Raises
        ------
        ValueError
            It does not fit, or the ordering does not suit the network; with the reason.
        """
        chip, monitor_layers = load_chip(device), listed(monitor_layers)
        ordering, name = one_ordering(chip_layers_ordering, layer2core_map)
        warn_of_numbers(ordering, monitor_layers, has_stage=self.has_dvs_layer(), is_chain=self.is_chain)
        core_pins = pins(self.structure, ordering, name)
        monitored, _ = monitors(self.structure, monitor_layers)
        if initial_state == "current" and not self.discretize:
            raise ValueError(
                "initial_state: the potentials are floats: make the network with discretize=True"
            )
        if initial_state == "current" and any(bool(trace.any()) for trace in self.history.values()):
            raise ValueError(
                "initial_state: spikes are on their way around a cycle, which no chip can be given"
            )
        network = with_states(self._integers(), self.potentials(), initial_state)
        wishes: dict[str, Any] = {} if objective is None else {"objective": objective}
        alone = SolveOptions(pins=tuple(core_pins.items()), monitors=monitored, fusion=False, **wishes)
        # Siblings on one core share a scale: nothing that scripts expect where they fit apart.
        with spoken_to("sinabs", {OLDER: name}):
            fusion = not fits(Question((network,), chip, alone))
            result = solve(network, chip, options=replace(alone, fusion=fusion))
        try:
            result.require()
        except InfeasibleError as error:
            step = "network.why_incompatible_with(device) gives the numbers, and changes that mend it"
            raise ValueError(str(InfeasibleError(error.report, step, error.who))) from error
        except UndecidedError as error:
            raise ValueError(str(error)) from error
        if result.given != result.networks and not same(result.given[0].layers, network.layers):
            text = "layers share a core, and with it one scale: forward has the scales of their own"
            warn_caller(f"{text}. {' '.join(result.networks[0].notes)}", UserWarning)
        self.result = result
        return result

    def _integers(self) -> NormalNetwork:
        """The network of integers: what a chip gets."""
        network = self.network
        return network if self.discretize else self.integer(network)

    @checked.but("chip_layers_ordering", "monitor_layers", "layer2core_map")
    def plain_config(
        self,
        device: ChipDevice = "speck2fmodule:0",
        chip_layers_ordering: Ordering | None = "auto",
        monitor_layers: Monitors = None,
        options: EmitOptions | None = None,
        *,
        layer2core_map: Ordering | None = None,
        initial_state: str = "built",
        objective: str | None = None,
    ) -> ChipConfig:
        """The configuration as plain data, without samna; `mapper.write_config` writes it to a file.

        Raises
        ------
        ValueError
            The network does not fit; with the reason.
        """
        if not self.discretize:
            text = "discretize is False: forward computes with floats, the configuration is of integers"
            warn_caller(text, UserWarning)
        monitor_layers = listed(monitor_layers)
        result = self.place(
            device,
            chip_layers_ordering,
            monitor_layers,
            layer2core_map=layer2core_map,
            initial_state=initial_state,
            objective=objective,
        )
        warn_of_pools(self.structure, monitor_layers)
        _, monitors_sensor = monitors(self.structure, monitor_layers)
        wishes = options or EmitOptions(sensor=self.sensor_is_on, monitor_sensor=monitors_sensor)
        self.config = build_config(result, wishes)
        return self.config

    @checked.but("chip_layers_ordering", "monitor_layers", "layer2core_map")
    def make_config(
        self,
        chip_layers_ordering: Ordering | None = "auto",
        device: ChipDevice | None = None,
        monitor_layers: Monitors = None,
        config_modifier: Callable[[Any], Any] | None = None,
        *,
        layer2core_map: Ordering | None = None,
        initial_state: str = "built",
        objective: str | None = None,
    ) -> Any:
        """The configuration as samna's object, checked by samna.

        Parameters
        ----------
        chip_layers_ordering
            "auto", cores in the order of the layers (a leading "dvs" does not count), or layer -> core.
        device
            None: "dynapcnndevkit:0", or "speck2fdevkit:0" where samna no longer has the former's chip; then a
            warning says so.
        monitor_layers
            None: the outputs. Else an index, a name, -1, "dvs", several of them, or "all".
        config_modifier
            Called with samna's object; its result is checked. Changes by hand survive `to` only here.
        layer2core_map
            Newer name of `chip_layers_ordering`.
        initial_state
            Potentials that the chip starts from: "built", those of the network as it was made, or
            "current", those that `forward` has left in the simulation.
        objective
            "index" puts layer n on core n wherever that is possible, before all else but the number of cores.

        Raises
        ------
        SpecError
            No device has this name.
        ImportError
            samna is not there, or has not this chip.
        ValueError
            The network does not fit, or samna calls the configuration invalid.
        """
        if device is None:
            samna_bridge("make_config(...)")
            device = default_device()
        # Whatever is wrong with what was asked is said before samna is missed.
        config = self.plain_config(
            device, chip_layers_ordering, monitor_layers,
            layer2core_map=layer2core_map, initial_state=initial_state, objective=objective,
        )  # fmt: skip
        chip = load_chip(device)
        samna = samna_bridge("make_config(...)", chip)
        samna_config = samna.to_samna(config, chip)
        if config_modifier is not None:
            samna_config = config_modifier(samna_config)
        valid, reason = samna.validate(samna_config, chip)
        if not valid:
            raise ValueError(f"samna refuses the configuration for {chip.name}: {reason}")
        self.samna_config = samna_config
        return samna_config

    @checked.by_name
    def find_chip_layer(self, layer_idx: LayerReference) -> int:
        """The core where a layer lives; the index does not count the sensor stage, and may be negative.

        Raises
        ------
        ValueError
            There is no placement yet.
        OptionsError
            There is no such layer, or it lives on several cores.
        """
        return self._placed().find_chip_layer(as_index(layer_idx))

    @checked.by_name
    def find_chip_layers(self, layer_idx: LayerReference) -> list[int]:
        """All cores that hold a layer or a part of it, ascending."""
        return self._placed().find_chip_layers(as_index(layer_idx))

    def _placed(self) -> Result:
        if self.result is None:
            raise ValueError(
                "the network is not placed yet: call place, plain_config, make_config or to first"
            )
        return self.result

    @property
    def layer2core_map(self) -> dict[int, int | list[int]] | None:
        """Core by layer index, of a layer on several cores all; None before a placement exists."""
        if self.result is None:
            return None
        places = [self.find_chip_layers(n) for n in range(len(self.structure.layers))]
        return {n: cores if len(cores) > 1 else cores[0] for n, cores in enumerate(places)}

    @property
    def chip_layers_ordering(self) -> list[int | list[int]] | None:
        """Cores in the order of the layers; None before a placement exists."""
        return None if self.layer2core_map is None else list(self.layer2core_map.values())
