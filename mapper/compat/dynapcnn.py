"""`DynapcnnNetwork`: the class that scripts written for sinabs use, over this package."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from hwspec.catalog import load as load_chip
from mapper.api import solve
from mapper.compat.forward import ForwardNetwork, Surrogate, along, default_surrogate
from mapper.demand import layer_demands
from mapper.emit.build import build_config
from mapper.emit.config import ChipConfig
from mapper.emit.options import EmitOptions
from mapper.errors import (
    BackendMissingError,
    Finding,
    InfeasibleError,
    NetworkError,
    OptionsError,
    UndecidedError,
)
from mapper.frontends import load_network
from mapper.network import DvsSettings, Network
from mapper.options import LayerReference, resolve_layer
from mapper.passes import PrepareOptions, prepare
from mapper.result import FeasibilityReport, Result
from mapper.solution import LayerPart

__all__ = ["DynapcnnCompatibleNetwork", "DynapcnnNetwork"]

Ordering = str | Sequence[int | str] | Mapping[LayerReference, int]
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
        Accepted for scripts of sinabs; average pools of one size are rescaled exactly without it, others
        are refused by name.
    relu_as_if
        Threshold of the neurons that ReLUs become; None refuses ReLUs.

    Raises
    ------
    NetworkError
        The network cannot be read, or holds what no chip of the family can run.
    """

    def __init__(
        self,
        snn: nn.Module,
        input_shape: Shape3 | None = None,
        dvs_input: bool | None = False,
        discretize: bool = True,
        *,
        batch_size: int | None = None,
        weight_rescaling_fn: Callable[..., object] | None = None,
        relu_as_if: float | None = None,
    ) -> None:
        super().__init__()
        if isinstance(dvs_input, int) and not isinstance(dvs_input, bool):
            problem = "is dvs_input here, and a number was given"
            step = "sinabs takes the batch size there: write batch_size=..."
            raise OptionsError(Finding("third argument", problem, dvs_input, next_step=step))
        from mapper.frontends import TorchOptions  # noqa: PLC0415

        read = load_network(snn, input_shape, None, TorchOptions(relu_as_if=relu_as_if))
        self.dvs_input = dvs_input
        self.discretize = discretize
        self.network: Network = prepare(_fed(read, dvs_input), PrepareOptions(quantize=discretize))
        features, height, width = self.network.inputs[0].shape
        self.input_shape: Shape3 = (features, height, width)
        self.batch_size = batch_size or _batch_size(snn)
        self.forward_network = ForwardNetwork(self.network, _surrogates(snn, len(self.network.layers)))
        self.weight_rescaling_fn = weight_rescaling_fn
        self.result: Result | None = None
        self.config: ChipConfig | None = None
        self.samna_config: object | None = None
        self.samna_device: object | None = None

    def forward(self, x: torch.Tensor, return_complete: bool = False) -> Any:
        """Run the network in time steps.

        Parameters
        ----------
        x
            (batch * time, features, height, width), one sample's steps after the other's.
        return_complete
            Give every layer's output instead of the outputs alone.

        Returns
        -------
        Tensor or dict
            One output: a tensor (batch * time, ...). Several: by layer index, then by -1, a tensor.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != tuple(self.input_shape):
            raise NetworkError(
                Finding("input", "has another shape", tuple(x.shape), f"(time, {self.input_shape})")
            )
        if x.shape[0] % self.batch_size:
            raise NetworkError(
                Finding("input", "is no multiple of the batch size", x.shape[0], self.batch_size)
            )
        frames = x.reshape(self.batch_size, -1, *x.shape[1:])
        name = self.network.inputs[0].name
        spikes = self.forward_network.spikes({name: frames})
        if return_complete:
            index = self.network.index
            return {index[layer]: {-1: value.flatten(0, 1)} for layer, value in spikes.items()}
        outputs = [(o.source, along(o.path, spikes[o.source]).flatten(0, 1)) for o in self.network.outputs]
        if len(outputs) == 1:
            return outputs[0][1]
        return {self.network.index[layer]: {-1 - n: value} for n, (layer, value) in enumerate(outputs)}

    def reset_states(self, randomize: bool = False) -> None:
        """Set all potentials to their initial values, or to random ones."""
        self.forward_network.reset(randomize)

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set gradients to zero, or drop them."""
        super().zero_grad(set_to_none=set_to_none)

    def memory_summary(self) -> dict[str, list[int]]:
        """Words of kernel, neuron and bias memory, by layer in order."""
        demands = [entry.core for entry in layer_demands(self.network, 0, None)]
        return {
            "kernel": [demand.kernel_words for demand in demands],
            "neuron": [demand.neuron_words for demand in demands],
            "bias": [demand.bias_words for demand in demands],
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
    ) -> Result:
        """Choose cores for a device; what `find_chip_layer` then answers for.

        Raises
        ------
        ValueError
            It does not fit, or the ordering does not suit the network; with the reason.
        """
        chip = load_chip(device)
        pins = _pins(self.network, chip_layers_ordering)
        monitors, _ = _monitors(self.network, monitor_layers)
        result = solve(self.network, chip, pins=pins, monitors=monitors)
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
    ) -> ChipConfig:
        """The configuration as plain data, without samna; `make_config` gives samna's object.

        Raises
        ------
        ValueError
            The network was not made integer, or does not fit; with the reason.
        """
        if not self.discretize:
            raise ValueError("discretize is False: a chip holds integers, so there is no configuration")
        result = self.place(device, chip_layers_ordering, monitor_layers)
        _, sensor = _monitors(self.network, monitor_layers)
        wishes = options or EmitOptions(monitor_sensor=sensor)
        self.config = build_config(result, wishes)
        return self.config

    def make_config(
        self,
        chip_layers_ordering: Ordering = "auto",
        device: str = "dynapcnndevkit:0",
        monitor_layers: Sequence[LayerReference] | str | None = None,
        config_modifier: Callable[[Any], Any] | None = None,
    ) -> Any:
        """The configuration as samna's object, checked by samna.

        Parameters
        ----------
        chip_layers_ordering
            "auto", cores in the order of the layers (a leading "dvs" does not count), or layer -> core.
        monitor_layers
            None: the outputs. Else indices, names, -1, "dvs", or "all".
        config_modifier
            Called with samna's object; what it returns is checked and returned. A change made by hand
            survives a later `to` only if it is given here.

        Raises
        ------
        ImportError
            samna is not there.
        ValueError
            `discretize` is False, the network does not fit, or samna calls the configuration invalid.
        """
        samna = _samna("make_config")
        config = self.plain_config(device, chip_layers_ordering, monitor_layers)
        chip = load_chip(device)
        made = samna.to_samna(config, chip)
        if config_modifier is not None:
            made = config_modifier(made)
        valid, reason = samna.validate(made, chip)
        if not valid:
            raise ValueError(f"samna refuses the configuration for {chip.name}: {reason}")
        self.samna_config = made
        return made

    def to(self, device: Any = "cpu", *arguments: Any, **keywords: Any) -> Any:  # type: ignore[override]  # as sinabs
        """Move the simulation to a torch device, or make the configuration for a chip.

        Boards are not opened here: for a chip the configuration is made, then this raises.

        Raises
        ------
        ImportError
            samna is not there.
        ValueError
            As `make_config`; or a list of layers to monitor stands where the ordering is expected.
        RuntimeError
            This version opens no boards; the configuration is in `samna_config`.
        """
        if not isinstance(device, str) or device.split(":")[0] in ("cpu", "cuda", "mps", "meta", "xpu"):
            return super().to(device, *arguments, **keywords)
        ordering = arguments[0] if arguments else keywords.get("chip_layers_ordering", "auto")
        _pins(self.network, ordering)
        monitors, modifier = keywords.get("monitor_layers"), keywords.get("config_modifier")
        self.make_config(ordering, device, monitors, modifier)
        raise RuntimeError("this version opens no boards: apply samna_config with samna itself")

    def find_chip_layer(self, layer_idx: LayerReference) -> int:
        """The core where a layer lives; the index does not count the sensor stage, and may be negative.

        Raises
        ------
        ValueError
            There is no placement yet.
        OptionsError
            There is no such layer, or it lives on several cores.
        """
        return self._placed().find_chip_layer(layer_idx)

    def find_chip_layers(self, layer_idx: LayerReference) -> list[int]:
        """All cores that hold a layer or a part of it, ascending."""
        result = self._placed()
        name = resolve_layer(self.network, layer_idx)
        placements = result.require().placements
        return [p.core for p in placements if isinstance(p.body, LayerPart) and p.body.layer == name]

    def _placed(self) -> Result:
        if self.result is None:
            raise ValueError(
                "the network is not placed yet: call place(device), make_config or to(device) first"
            )
        return self.result

    @property
    def layer2core_map(self) -> dict[int, int] | None:
        """Core by layer index; None before a placement exists."""
        if self.result is None:
            return None
        return {n: self.result.find_chip_layer(n) for n in range(len(self.network.layers))}

    @property
    def chip_layers_ordering(self) -> list[int] | None:
        """Cores in the order of the layers; None before a placement exists."""
        cores = self.layer2core_map
        return None if cores is None else list(cores.values())


def _samna(needed_for: str) -> Any:
    """The bridge to samna, once samna is known to be there."""
    from mapper.emit import samna  # noqa: PLC0415

    try:
        samna.require_samna(needed_for)
    except BackendMissingError as error:
        raise ImportError(str(error)) from error
    return samna


def _fed(network: Network, dvs_input: bool | None) -> Network:
    """The network with its input from the sensor or the host, as `dvs_input` says."""
    if dvs_input is None:
        return network
    inputs = tuple(
        type(entry)(entry.name, entry.shape, (entry.dvs or DvsSettings()) if dvs_input else entry.dvs)
        for entry in network.inputs
    )
    return network.replacing(inputs=inputs)


def _batch_size(snn: nn.Module) -> int:
    stated = [getattr(module, "batch_size", None) for module in snn.modules()]
    sizes = {size for size in stated if isinstance(size, int) and size > 0}
    return sizes.pop() if len(sizes) == 1 else 1


def _surrogates(snn: nn.Module, count: int) -> list[Surrogate]:
    """The surrogate gradients of the user's spiking layers, in order, where every layer has one."""
    found: list[Any] = [m.surrogate_grad_fn for m in snn.modules() if hasattr(m, "surrogate_grad_fn")]
    return found if len(found) == count else [default_surrogate] * count


def _pins(network: Network, ordering: Ordering) -> dict[LayerReference, int]:
    if isinstance(ordering, str):
        if ordering != "auto":
            raise ValueError(f'chip_layers_ordering: "auto", a list or a dict, got {ordering!r}')
        return {}
    if isinstance(ordering, Mapping):
        return dict(ordering)
    cores = [core for core in ordering if core != "dvs"]
    if len(cores) != len(network.layers) or not all(isinstance(core, int) for core in cores):
        raise ValueError(
            f"chip_layers_ordering: {list(ordering)} are not core ids for {len(network.layers)} layers; "
            "to name the layers to monitor, write monitor_layers=..."
        )
    return {layer.name: int(core) for layer, core in zip(network.layers, cores, strict=True)}


def _monitors(
    network: Network, wanted: Sequence[LayerReference] | str | None
) -> tuple[tuple[LayerReference, ...] | None, bool]:
    """Layers to monitor, None for the outputs, and whether the sensor stage is among them."""
    if wanted is None:
        return None, False
    if isinstance(wanted, str) and wanted == "all":
        return tuple(layer.name for layer in network.layers), False
    entries: Iterable[LayerReference] = [wanted] if isinstance(wanted, str) else wanted
    layers = tuple(entry for entry in entries if entry != "dvs")
    return layers, len(layers) < len(list(entries))


class DynapcnnCompatibleNetwork(DynapcnnNetwork):
    """The old name of `DynapcnnNetwork`; it warns."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        warnings.warn("DynapcnnCompatibleNetwork is now DynapcnnNetwork", DeprecationWarning, stacklevel=2)
        super().__init__(*arguments, **keywords)
