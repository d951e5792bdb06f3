"""`DynapcnnNetwork`: the class that scripts written for sinabs use, over this package."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from hwspec.catalog import load as load_chip
from mapper.api import solve
from mapper.boards import Board
from mapper.compat.arguments import (
    Ordering,
    fed,
    is_board,
    monitors,
    on_board,
    one_ordering,
    pins,
    samna_bridge,
    surrogates,
    with_states,
)
from mapper.compat.arguments import batch_size as stated_batch_size
from mapper.compat.forward import ForwardNetwork, along
from mapper.compat.sensor import sensor_view
from mapper.demand import layer_demands
from mapper.emit.shared.config import ChipConfig
from mapper.emit.write.build import build_config
from mapper.emit.write.options import EmitOptions
from mapper.errors import (
    ConfigError,
    Finding,
    InfeasibleError,
    NetworkError,
    OptionsError,
    UndecidedError,
)
from mapper.frontends import load_network
from mapper.passes import PrepareOptions, prepare
from mapper.references import LayerReference, as_index
from mapper.result import FeasibilityReport, Result

__all__ = ["DynapcnnCompatibleNetwork", "DynapcnnNetwork"]

Shape3 = tuple[int, int, int]


class DynapcnnNetwork(nn.Module):
    """A spiking network as a DYNAP-CNN or Speck chip runs it.

    Parameters
    ----------
    snn
        A torch `Sequential`, any traceable module, or a `sinabs.Network`.
    input_shape
        (features, height, width); None takes it from a DVS layer of the network.
    dvs_input
        True: the sensor feeds the network. False: the host does. None: the sensor, if the network has a
        DVS layer.
    discretize
        Make weights, biases and thresholds integers; False only to compare.
    batch_size
        Number of samples along the first axis of `forward`'s input; None takes what the IAFSqueeze layers
        say, else 1.
    weight_rescaling_fn
        From the factors of average pools of different size that add up, the one that is taken for all: an
        approximation, which `network.notes` tells. None refuses such sums; all others are exact without.
    relu_as_if, reading_check
        As in `mapper.frontends.TorchOptions`.

    Raises
    ------
    NetworkError
        It cannot be read, or holds what no chip of the family can run.
    """

    def __init__(
        self,
        snn: nn.Module,
        input_shape: Shape3 | None = None,
        dvs_input: bool | None = False,
        discretize: bool = True,
        *,
        batch_size: int | None = None,
        weight_rescaling_fn: Callable[[Sequence[float]], float] | None = None,
        relu_as_if: float | None = None,
        reading_check: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(dvs_input, int) and not isinstance(dvs_input, bool):
            problem = "is dvs_input here, and a number was given"
            step = "sinabs takes the batch size there: write batch_size=..."
            raise OptionsError(Finding("third argument", problem, dvs_input, next_step=step))
        from mapper.frontends import TorchOptions  # noqa: PLC0415

        read = load_network(snn, input_shape, None, TorchOptions(relu_as_if, reading_check=reading_check))
        self.dvs_input = dvs_input
        self.discretize = discretize
        asked = PrepareOptions(quantize=discretize, rescale=weight_rescaling_fn)
        self.network = prepare(fed(read, dvs_input), asked)
        shape = self.network.inputs[0].shape
        self.input_shape: Shape3 = (shape.features, shape.height, shape.width)
        self.batch_size = batch_size or stated_batch_size(snn)
        self.forward_network = ForwardNetwork(self.network, surrogates(snn, len(self.network.layers)))
        self.sensor_view = sensor_view(snn)
        self.result: Result | None = None
        self.config: ChipConfig | None = None
        self.samna_config: object | None = None
        self.samna_device: object | None = None
        self.board: Board | None = None

    def forward(self, x: Any, return_complete: bool = False) -> Any:
        """Run the network, in time steps or on the open board.

        Parameters
        ----------
        x
            (batch * time, features, height, width), one sample's steps after the other's; of the
            whole sensor if the network has a DVS layer. On a board events, or a list of samna's objects.
        return_complete
            Give every layer's output instead of the outputs alone.

        Returns
        -------
        Tensor or dict
            One output: a tensor (batch * time, ...). Several: by layer index, then by -1, a tensor. On a
            board events by the same rule, of all monitored layers, or the list of samna's objects.
        """
        if self.board is not None:
            return on_board(self.board, x, self.network)
        x = x if self.sensor_view is None else self.sensor_view(x)
        if x.ndim != 4 or tuple(x.shape[1:]) != tuple(self.input_shape):
            limit = f"(time, {self.input_shape})"
            raise NetworkError(Finding("input", "has another shape", tuple(x.shape), limit))
        if x.shape[0] % self.batch_size:
            problem = "is no multiple of the batch size"
            raise NetworkError(Finding("input", problem, x.shape[0], self.batch_size))
        frames = x.reshape(self.batch_size, -1, *x.shape[1:])
        spikes = self.forward_network.spikes({self.network.inputs[0].name: frames})
        if return_complete:
            return {self.network.index[layer]: {-1: value.flatten(0, 1)} for layer, value in spikes.items()}
        outputs = [(o.source, along(o.path, spikes[o.source]).flatten(0, 1)) for o in self.network.outputs]
        if len(outputs) == 1:
            return outputs[0][1]
        return {self.network.index[layer]: {-1 - n: value} for n, (layer, value) in enumerate(outputs)}

    def extra_repr(self) -> str:
        """What was taken for granted while reading."""
        return "\n".join(f"read: {reading}" for reading in self.network.readings)

    def reset_states(self, randomize: bool = False) -> None:
        """Set all potentials to their initial values, or to random ones; an open board's to the first."""
        if self.board is not None:
            self.board.reset()
        self.forward_network.reset(randomize)

    def detach_neuron_states(self) -> None:
        """Cut the potentials from the graph of gradients; here they never are in it between calls."""
        self.forward_network.detach()

    def init_weights(self, init_fn: Callable[[torch.Tensor], object] = nn.init.xavier_normal_) -> None:
        """Draw the weights of the simulation anew; the placed network keeps the ones it was made from."""
        self.forward_network.draw_weights(init_fn)

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set gradients to zero, or drop them."""
        super().zero_grad(set_to_none=set_to_none)

    def memory_summary(self) -> dict[str, list[int]]:
        """Words of kernel, neuron and bias memory, by layer in order."""
        works = [entry.work for entry in layer_demands(self.network)]
        return {
            "kernel": [work.kernel_words for work in works],
            "neuron": [work.neuron_words for work in works],
            "bias": [work.bias_words for work in works],
        }

    def is_compatible_with(self, device_type: str) -> bool:
        """Whether the network fits a chip or device; needs no samna.

        Raises
        ------
        SpecError
            No chip or device has this name.
        """
        return self.why_incompatible_with(device_type) is None

    def why_incompatible_with(self, device_type: str) -> FeasibilityReport | None:
        """Why the network does not fit, with repairs; None if it fits."""
        return solve(self.network, load_chip(device_type)).report

    def place(
        self,
        device: str = "speck2fmodule:0",
        chip_layers_ordering: Ordering = "auto",
        monitor_layers: Sequence[LayerReference] | str | None = None,
        *,
        initial_state: str = "built",
    ) -> Result:
        """Choose cores for a device; what `find_chip_layer` then answers for.

        `initial_state` as in `make_config`.

        Raises
        ------
        ValueError
            It does not fit, or the ordering does not suit the network; with the reason.
        """
        chip = load_chip(device)
        core_pins = pins(self.network, chip_layers_ordering)
        monitored, _ = monitors(self.network, monitor_layers)
        network = with_states(self.network, self.forward_network, initial_state)
        result = solve(network, chip, pins=core_pins, monitors=monitored)
        try:
            result.require()
        except (InfeasibleError, UndecidedError) as error:
            raise ValueError(f"{self.network.name} on {chip.name}: {error}") from error
        self.result = result
        return result

    def plain_config(
        self,
        device: str = "speck2fmodule:0",
        chip_layers_ordering: Ordering = "auto",
        monitor_layers: Sequence[LayerReference] | str | None = None,
        options: EmitOptions | None = None,
        *,
        initial_state: str = "built",
    ) -> ChipConfig:
        """The configuration as plain data, without samna; `make_config` gives samna's object.

        Raises
        ------
        ValueError
            The network was not made integer, or does not fit; with the reason.
        """
        if not self.discretize:
            raise ValueError("discretize is False: a chip holds integers, so there is no configuration")
        result = self.place(device, chip_layers_ordering, monitor_layers, initial_state=initial_state)
        _, monitors_sensor = monitors(self.network, monitor_layers)
        wishes = options or EmitOptions(sensor=self.dvs_input, monitor_sensor=monitors_sensor)
        self.config = build_config(result, wishes)
        return self.config

    def make_config(
        self,
        chip_layers_ordering: Ordering = "auto",
        device: str = "dynapcnndevkit:0",
        monitor_layers: Sequence[LayerReference] | str | None = None,
        config_modifier: Callable[[Any], Any] | None = None,
        *,
        layer2core_map: Ordering | None = None,
        initial_state: str = "built",
    ) -> Any:
        """The configuration as samna's object, checked by samna.

        Parameters
        ----------
        chip_layers_ordering
            "auto", cores in the order of the layers (a leading "dvs" does not count), or layer -> core.
        monitor_layers
            None: the outputs. Else indices, names, -1, "dvs", or "all".
        config_modifier
            Called with samna's object; its result is checked. Changes by hand survive `to` only here.
        layer2core_map
            Newer name of `chip_layers_ordering`.
        initial_state
            Potentials that the chip starts from: "built", those of the network as it was made, or
            "current", those that `forward` has left in the simulation.

        Raises
        ------
        ImportError
            samna is not there.
        ValueError
            `discretize` is False, the network does not fit, or samna calls the configuration invalid.
        """
        samna = samna_bridge("make_config")
        ordering = one_ordering(chip_layers_ordering, layer2core_map)
        config = self.plain_config(device, ordering, monitor_layers, initial_state=initial_state)
        chip = load_chip(device)
        samna_config = samna.to_samna(config, chip)
        if config_modifier is not None:
            samna_config = config_modifier(samna_config)
        valid, reason = samna.validate(samna_config, chip)
        if not valid:
            raise ValueError(f"samna refuses the configuration for {chip.name}: {reason}")
        self.samna_config = samna_config
        return samna_config

    def to(  # type: ignore[override]  # as sinabs
        self,
        device: Any = "cpu",
        chip_layers_ordering: Any = "auto",
        monitor_layers: Sequence[LayerReference] | str | None = None,
        config_modifier: Callable[[Any], Any] | None = None,
        slow_clk_frequency: float | None = None,
        *,
        layer2core_map: Ordering | None = None,
        initial_state: str = "built",
        **keywords: Any,
    ) -> Any:
        """Move the simulation to a torch device, or the network onto a board.

        A board is opened, configured and made ready; `forward` then takes events and gives events. It is
        closed by the next call of `to`, or by `close`. A change made to `samna_config` by hand is lost at
        the next `to`, unless it is made by `config_modifier`.

        Parameters
        ----------
        device
            Torch's name of a device, a dtype or tensor as torch takes them, or "speck2fmodule:0".
        slow_clk_frequency
            Of the slow clock, Hz: 1e6 / microseconds of a time step, for networks with biases.
        keywords
            Of torch's `to`.

        Raises
        ------
        ImportError
            samna is not there.
        ValueError
            As `make_config`; biases without a slow clock; layers to monitor in the ordering's place.
        BoardError
            No such board, in use, or it failed; it is left quiet and closed.
        """
        self.close()
        if not is_board(device):
            more = [] if chip_layers_ordering == "auto" else [chip_layers_ordering]
            return super().to(device, *more, **keywords)
        ordering = one_ordering(chip_layers_ordering, layer2core_map)
        pins(self.network, ordering)
        samna_bridge("to")
        from mapper.boards import open_board  # noqa: PLC0415  # only where there is a board

        config = self.plain_config(device, ordering, monitor_layers, initial_state=initial_state)
        try:
            self.board = open_board(
                device, config, config_modifier=config_modifier, slow_clock_hz=slow_clk_frequency
            )
        except ConfigError as error:
            raise ValueError(str(error)) from error
        self.samna_config, self.samna_device = self.board.samna_config, self.board.kit
        return self

    def close(self) -> None:
        """Make the board quiet and hand it back, if one is open."""
        if self.board is not None:
            self.board.close()
        self.board = self.samna_device = None

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

    def find_chip_layers(self, layer_idx: LayerReference) -> list[int]:
        """All cores that hold a layer or a part of it, ascending."""
        return self._placed().find_chip_layers(as_index(layer_idx))

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold the network, not the board and samna's objects."""
        return {**self.__dict__, "board": None, "samna_device": None, "samna_config": None}

    def _placed(self) -> Result:
        if self.result is None:
            raise ValueError("the network is not placed yet: call place, make_config or to first")
        return self.result

    @property
    def layer2core_map(self) -> dict[int, int | list[int]] | None:
        """Core by layer index, of a layer on several cores all; None before a placement exists."""
        if self.result is None:
            return None
        places = [self.find_chip_layers(n) for n in range(len(self.network.layers))]
        return {n: cores if len(cores) > 1 else cores[0] for n, cores in enumerate(places)}

    @property
    def chip_layers_ordering(self) -> list[int | list[int]] | None:
        """Cores in the order of the layers; None before a placement exists."""
        return None if self.layer2core_map is None else list(self.layer2core_map.values())


class DynapcnnCompatibleNetwork(DynapcnnNetwork):
    """The old name of `DynapcnnNetwork`; it warns."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        warnings.warn("DynapcnnCompatibleNetwork is now DynapcnnNetwork", DeprecationWarning, stacklevel=2)
        super().__init__(*arguments, **keywords)
