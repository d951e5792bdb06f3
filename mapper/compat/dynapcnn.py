"""`DynapcnnNetwork`: the class that scripts written for sinabs use, over this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from hwspec.catalog import load as load_chip
from hwspec.kinds import said
from mapper.arguments import checked
from mapper.boards import Board
from mapper.compat.arguments import (
    Ordering,
    is_board,
    on_board,
    one_ordering,
    pins,
    samna_bridge,
    surrogates,
    torch_to,
)
from mapper.compat.arrivals import Semantics, checked_semantics
from mapper.compat.checkpoints import translated, with_weights
from mapper.compat.constructor import (
    JUDGED,
    LEFT_OUT,
    Arguments,
    LeftOut,
    Shape3,
    samples_and_steps,
)
from mapper.compat.failures import as_sinabs_raises
from mapper.compat.forward import along
from mapper.compat.frames import checked_frames
from mapper.compat.placed import Monitors, PlacedNetwork
from mapper.compat.sensor import sensor_is_wanted, sensor_view, stage_as_set
from mapper.compat.viewer import sensor_alone
from mapper.emit.shared.config import ChipConfig
from mapper.errors import ConfigError, Finding, NetworkError, warn_caller
from mapper.frontends import TorchOptions, load_network
from mapper.frontends.inputs import fed
from mapper.frontends.target import weights_alone
from mapper.network import Network
from mapper.passes import PrepareOptions, prepare

__all__ = ["DynapcnnCompatibleNetwork", "DynapcnnNetwork"]

# One value: that the state dict is of this class, and since which change of its keys.
_STRUCTURE_VERSION = 1


class DynapcnnNetwork(PlacedNetwork):
    """A spiking network as a DYNAP-CNN or Speck chip runs it.

    Its parameters and buffers are the network: whatever is simulated, placed, summarised or emitted is made
    of them at the call. With `discretize` they are in the chip's units (the largest weight is 127), and
    rounded where they are used, so that training goes on behind the rounding.

    Parameters
    ----------
    snn
        A torch `Sequential`, any traceable module, a `sinabs.Network`, or a network that was read already.
    input_shape
        (features, height, width); None takes it from a DVS layer of the network.
    more
        By position: `dvs_input, discretize`, or as in sinabs 3.1
        `batch_size, dvs_input, discretize, weight_rescaling_fn`.
    dvs_input
        True: the sensor feeds the network. False: the host does; a DVS layer's stage stays, without its
        pixels. None: as the network's DVS layer says. Left out: False, with a warning where there is one.
    discretize
        Whether `forward` computes with integers, as the chip does.
    semantics
        "steps": `forward` adds up each time step. "events": it takes a step's spikes one after the other, in
        `parts`, a stand-in for what the chip does that can be trained through (`mapper.compat.arrivals` says
        what it takes for granted). It may be set later too; what is placed and emitted is the same.
    batch_size
        Number of samples along the first axis of `forward`'s input; None takes what the spiking layers
        say (`batch_size` or `num_timesteps`), else 1.
    weight_rescaling_fn
        From the factors of average pools of different size that add up, the one that is taken for all: an
        approximation, which `network.notes` tells. None: such sums are exact, over more input features.
    relu_as_if, reading_check
        As in `mapper.frontends.TorchOptions`.
    add_output_neuron
        As in `mapper.solve`.

    Raises
    ------
    NetworkError
        It cannot be read, or holds what no chip of the family can run.
    OptionsError
        Arguments that contradict each other.
    """

    structure_version: torch.Tensor

    @checked.but(*JUDGED)
    def __init__(
        self,
        snn: nn.Module | Network,
        input_shape: tuple[int, int, int] | None = None,
        *more: Any,
        dvs_input: bool | LeftOut | None = LEFT_OUT,
        discretize: bool = True,
        semantics: Semantics = "steps",
        batch_size: int | None = None,
        weight_rescaling_fn: Callable[[Sequence[float]], float] | None = None,
        relu_as_if: float | None = None,
        add_output_neuron: float | None = None,
        reading_check: bool = True,
    ) -> None:
        if not isinstance(snn, nn.Module | Network):
            step = weights_alone(snn) or "mapper.load_network reads files; what it returns may be given here"
            problem = "is no torch module"
            raise NetworkError(Finding("snn", problem, type(snn).__name__, next_step=step))
        checked_semantics(semantics)
        given = Arguments(dvs_input, discretize, batch_size, weight_rescaling_fn)
        given = given.with_positions(more).checked()
        module = snn if isinstance(snn, nn.Module) else nn.Module()
        stage = next((m for m in module.modules() if type(m).__name__ == "DVSLayer"), None)
        wants_sensor = sensor_is_wanted(given.dvs_input, stage)
        asked = PrepareOptions(
            add_output_neuron, quantize=given.discretize, rescale=given.weight_rescaling_fn
        )
        with as_sinabs_raises():
            options = TorchOptions(relu_as_if, reading_check=reading_check) if module is snn else None
            read = sensor_alone(module, stage, input_shape, wants_sensor=wants_sensor)
            read = read or load_network(snn, input_shape, None, options)
            read = _without_remark(read) if wants_sensor else read
            ready = prepare(fed(read, "sensor" if wants_sensor else None), asked)
        super().__init__(ready, surrogates(snn, ready, options) if module is snn else None, given.discretize)
        self.semantics = semantics
        self.dvs_input = None if isinstance(given.dvs_input, LeftOut) else given.dvs_input
        self.sensor_is_on = wants_sensor
        entry = ready.inputs[0].shape
        self.input_shape: Shape3 = (entry.features, entry.height, entry.width)
        samples, steps = samples_and_steps(module)
        self.batch_size = given.batch_size or samples or 1
        self.num_timesteps = None if given.batch_size else steps
        self.sensor_view = sensor_view(module)
        # No child: the stage has nothing to train or to save.
        object.__setattr__(self, "_sensor_stage", stage_as_set(stage, wants_sensor))
        more_given = {"relu_as_if": relu_as_if, "add_output_neuron": add_output_neuron}
        self._made_of = (snn, input_shape, {**asdict(given), **more_given, "reading_check": False})
        self.register_buffer("structure_version", torch.tensor(_STRUCTURE_VERSION))
        self.board: Board | None = None

    @checked.but("x")
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
            One output: a tensor (batch * time, ...). Several: by layer index, then by -1, a tensor. Complete:
            as `complete` says. On a board events by the same rule, of all monitored layers, or the list of
            samna's objects.
        """
        if self.board is not None:
            return on_board(self.board, x, self.structure)
        x, seen = checked_frames(x, self.input_shape, self.sensor_view)
        frames = seen.reshape(self._samples_in(seen.shape[0]), -1, *seen.shape[1:])
        if not self.structure.layers:
            return seen
        spikes = self.spikes({self.structure.inputs[0].name: frames})
        if return_complete:
            return self.complete(x, seen, spikes)
        outputs = [(o.source, along(o.path, spikes[o.source]).flatten(0, 1)) for o in self.structure.outputs]
        if len(outputs) == 1:
            return outputs[0][1]
        found: dict[int, dict[int, torch.Tensor]] = {}
        for source, value in outputs:
            ways = found.setdefault(self.structure.index[source], {})
            ways[-1 - len(ways)] = value
        return found

    @property
    def batch_size(self) -> int:
        """Samples along the first axis of the input; `sinabs.set_batch_size` sets it too."""
        return next((layer.spk.batch_size for layer in self.core_layers()), 1)

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        for layer in self.core_layers():
            layer.spk.batch_size = size

    def _samples_in(self, frames: int) -> int:
        name = "num_timesteps" if self.num_timesteps else "batch_size"
        size = self.num_timesteps or self.batch_size
        if frames % size:
            limit, step = f"multiples of {size}", f"network.{name} = ... changes it"
            raise NetworkError(Finding("input", f"does not suit {name}", frames, limit, next_step=step))
        return frames // size if self.num_timesteps else size

    def hw_forward(self, x: Any) -> Any:
        """Run the network on the open board.

        Raises
        ------
        ValueError
            No board is open.
        """
        if self.board is None:
            raise ValueError("no board is open: call to(device) first")
        return on_board(self.board, x, self.structure)

    def extra_repr(self) -> str:
        """Layers with their cores, and what was taken for granted while reading."""
        title, index = self.structure.title, self.structure.index
        lines = [f"#{n}: {title(name)}{self._core_of(n)}" for name, n in index.items()]
        return "\n".join([*lines, *(f"read: {reading}" for reading in self.structure.readings)])

    def _core_of(self, n: int) -> str:
        cores = [] if self.result is None else self.find_chip_layers(n)
        return f", core {', '.join(map(str, cores))}" if cores else ""

    @checked
    def reset_states(self, randomize: bool = False) -> None:
        """Set all potentials to their initial values, or to random ones; on an open board, the chip's."""
        if self.board is not None and randomize:
            raise ValueError("on a board potentials can be reset, not drawn: reset_states(randomize=False)")
        if self.board is not None:
            self.board.reset()
        self.reset(randomize)

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set gradients to zero, or drop them."""
        super().zero_grad(set_to_none=set_to_none)

    def detach_neuron_states(self) -> None:
        """Cut the potentials from the graph of gradients; here they never are in it between calls."""
        self.detach()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any) -> None:
        own = {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}
        # As torch has it, which then says whether that is an error.
        read_anew = partial(self._read_anew, missing=more[2], unexpected=more[3])
        found = translated(own, self.core_layers(), self.is_chain, read_anew)
        if found is not own:
            for key in own:
                del state_dict[prefix + key]
            state_dict.update({prefix + key: value for key, value in found.items()})
            state_dict.setdefault(f"{prefix}structure_version", self.structure_version)
        stated = state_dict.get(f"{prefix}structure_version")
        if stated is not None and int(stated) != _STRUCTURE_VERSION:
            text = f"the state dict is of version {int(stated)}, this program reads {_STRUCTURE_VERSION}"
            raise RuntimeError(text)
        super()._load_from_state_dict(state_dict, prefix, *more)

    def _read_anew(
        self, weights: Mapping[str, Any], missing: list[str], unexpected: list[str]
    ) -> Mapping[str, Any] | None:
        """State of this network, read from its own module with other weights; None if they are not its."""
        source, shape, arguments = self._made_of or (None, None, {})
        if not isinstance(source, nn.Module):
            return None
        module = with_weights(source, weights, missing, unexpected)
        return None if module is None else DynapcnnNetwork(module, shape, **arguments).state_dict()

    @partial(checked.by_name, rest=torch_to)
    def to(  # type: ignore[override]  # as sinabs
        self,
        device: Any = "cpu",
        chip_layers_ordering: Any = "auto",
        monitor_layers: Monitors = None,
        config_modifier: Callable[[Any], Any] | None = None,
        slow_clk_frequency: float | None = None,
        *,
        layer2core_map: Ordering | None = None,
        initial_state: str = "built",
        objective: str | None = None,
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
        objective
            As in `make_config`.
        keywords
            Of torch's `to`.

        Raises
        ------
        SpecError
            No board has this name.
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
        chip = load_chip(device)
        pins(self.structure, *one_ordering(chip_layers_ordering, layer2core_map))
        samna_bridge(f"to({said(device)})", chip)
        config = self.plain_config(
            device,
            chip_layers_ordering,
            monitor_layers,
            layer2core_map=layer2core_map,
            initial_state=initial_state,
            objective=objective,
        )
        self._open(device, config, config_modifier, slow_clk_frequency)
        return self

    def _open(self, device: str, config: ChipConfig, modifier: Any, slow_clock_hz: float | None) -> None:
        from mapper.boards import open_board  # noqa: PLC0415  # only where there is a board

        try:
            self.board = open_board(device, config, config_modifier=modifier, slow_clock_hz=slow_clock_hz)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        self.samna_config = self.board.samna_config

    @property
    def device(self) -> str:
        """The open board's name, else torch's name of where the weights are."""
        if self.board is not None and self.is_deployed_on_dynapcnn_device:
            return self.board.device
        return str(next(self.parameters(), self.structure_version).device)

    @property
    def is_deployed_on_dynapcnn_device(self) -> bool:
        """Whether a board is open."""
        return self.board is not None and self.board.kit is not None

    @property
    def samna_device(self) -> Any:
        """The open board as samna has it, or None."""
        return None if self.board is None else self.board.kit

    @property
    def samna_input_buffer(self) -> Any:
        """Node of samna that takes events for the open board, or None."""
        return None if self.board is None else self.board.input_buffer

    @property
    def samna_output_buffer(self) -> Any:
        """Node of samna that holds the events of the open board, or None."""
        return None if self.board is None else self.board.output_buffer

    def close(self) -> None:
        """Make the board quiet and hand it back, if one is open."""
        if self.board is not None:
            self.board.close()
        self.board = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles hold the network: no board, none of samna's objects, not the module it is of."""
        return {**self.__dict__, "board": None, "samna_config": None, "_made_of": None}


def _without_remark(network: Network) -> Network:
    """Without the reading that the layer's pixels are off, where the argument switches them on."""
    kept = tuple(r for r in network.readings if r.why != "disable_pixel_array is set")
    return network.replacing(readings=kept)


class DynapcnnCompatibleNetwork(DynapcnnNetwork):
    """The old name of `DynapcnnNetwork`; it warns."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        warn_caller("DynapcnnCompatibleNetwork is now DynapcnnNetwork", DeprecationWarning)
        super().__init__(*arguments, **keywords)
