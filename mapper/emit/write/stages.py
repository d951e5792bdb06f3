"""The stages around the cores: sensor, noise filter, readout, and the one slow clock they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mapper.asking import (
    EMITTED_STEP_US,
    FUSION,
    INPUT_FROM,
    READOUT_THRESHOLD,
    READOUT_WINDOW,
    SENSOR,
)
from mapper.emit.shared.config import DvsDestination, DvsFilter, DvsLayer, Readout, Vector
from mapper.emit.shared.slow_clock import slow_clock_findings
from mapper.emit.write.options import EmitOptions
from mapper.errors import Finding
from mapper.references import layer_key
from mapper.result import Result
from mapper.solution import DVS, READOUT, LayerPart, Relay, Solution

__all__ = ["dvs_filter", "dvs_layer", "option_findings", "readout", "slow_clock_hz"]

# The readout's addressing mode 3: 1x1x16.
_READOUT_MODE = 3


def dvs_layer(result: Result, wishes: EmitOptions) -> DvsLayer | None:
    """The sensor stage; switched off explicitly where no network reads it."""
    stage, solution = result.chip.input, result.require()
    if stage is None:
        return None
    entries = [DvsDestination()] * stage.fan_out
    is_monitored = wishes.monitor_sensor or any(monitor.source == DVS for monitor in solution.monitors)
    for route in solution.routes:
        if route.source == DVS:
            entries[route.slot] = DvsDestination(layer=int(route.target), enable=True)
    setting = solution.dvs_stage
    if setting is None:
        return DvsLayer(
            destinations=tuple(entries),
            pass_sensor_events=bool(wishes.sensor),
            pooling=Vector(x=1, y=1),
            origin=Vector(x=0, y=0),
            cut=Vector(x=stage.width - 1, y=stage.height - 1),
            mirror=Vector(x=0, y=0),
            monitor_enable=is_monitored,
        )
    (oy, ox), (cy, cx), (py, px) = setting.origin, setting.cut, setting.pooling
    return DvsLayer(
        destinations=tuple(entries),
        pass_sensor_events=wishes.sensor is not False,
        merge=setting.merge,
        on_channel=setting.gates[0],
        off_channel=setting.gates[1],
        pooling=Vector(x=px, y=py),
        origin=Vector(x=ox, y=oy),
        cut=Vector(x=cx, y=cy),
        mirror=Vector(x=int(setting.mirror[1]), y=int(setting.mirror[0])),
        mirror_diagonal=setting.swap,
        monitor_enable=is_monitored,
    )


def dvs_filter(result: Result, wishes: EmitOptions) -> DvsFilter | None:
    """The noise filter, off unless asked for."""
    if result.chip.input is None:
        return None
    clock = _internal_clock(result)
    noise_filter = wishes.noise_filter
    if noise_filter is None:
        return DvsFilter(internal_slow_clk=clock)
    low_pass = noise_filter.mode == "low-pass"
    height, width = (0, 0) if low_pass else noise_filter.size
    return DvsFilter(
        enable=True,
        filter_size=Vector(x=width, y=height),
        threshold=noise_filter.threshold,
        hot_pixel_filter_enable=noise_filter.mode == "noise-and-hot-pixels",
        low_pass_mode_enable=low_pass,
        internal_slow_clk=clock,
    )


def readout(result: Result, wishes: EmitOptions) -> Readout | None:
    """The readout stage, off unless a layer feeds it."""
    if result.chip.readout is None:
        return None
    if not any(route.target == READOUT for route in result.require().routes):
        return Readout(internal_slow_clk=_internal_clock(result))
    return Readout(
        enable=True,
        readout_configuration_sel=_READOUT_MODE,
        threshold=wishes.readout_threshold,
        low_pass_filter_disable=wishes.readout_window_ticks == 1,
        low_pass_filter32_not16=wishes.readout_window_ticks == max(result.chip.readout.windows_ticks),
        monitor_enable=result.options.readout_monitor,
        internal_slow_clk=_internal_clock(result),
    )


def _internal_clock(result: Result) -> bool | None:
    emission = result.chip.emission
    return False if emission and "internal_slow_clock" in emission.core_extras else None


def _clock_wishes(result: Result, wishes: EmitOptions) -> dict[str, float]:
    """Rates of the slow clock by who asks for them."""
    rates = {}
    # A step that is none has a finding of its own.
    if wishes.dt_us is not None and 0 < wishes.dt_us < float("inf") and _has_biases(result):
        rates["biases, once per time step"] = 1e6 / wishes.dt_us
    if wishes.noise_filter is not None and wishes.noise_filter.rate_hz is not None:
        rates["noise filter"] = wishes.noise_filter.rate_hz
    if wishes.readout_rate_hz is not None:
        rates["readout"] = wishes.readout_rate_hz
    return rates


def _has_biases(result: Result) -> bool:
    biases: list[Any] = [layer.operation.bias for net in result.networks for layer in net.layers]
    return any(bias is not None and np.any(bias) for bias in biases)


def slow_clock_hz(result: Result, wishes: EmitOptions) -> float | None:
    """The rate that biases, filter or readout ask for; None where nothing does."""
    return next(iter(_clock_wishes(result, wishes).values()), None)


def option_findings(result: Result, wishes: EmitOptions) -> Iterator[Finding]:
    """Everything the chip cannot do, or that contradicts itself."""
    rates = _clock_wishes(result, wishes)
    if len(set(rates.values())) > 1:
        rates_text = ", ".join(f"{who}: {rate:g} Hz" for who, rate in rates.items())
        yield Finding(
            "slow clock", "there is one clock, and the wishes differ", rates_text, next_step="Choose one"
        )
    for who, rate in rates.items():
        yield from slow_clock_findings(rate, f"slow clock ({who})")
    if wishes.dt_us is not None and not 0 < wishes.dt_us < float("inf"):
        yield Finding(
            str(EMITTED_STEP_US), "a time step must be positive", wishes.dt_us, "> 0", "microseconds"
        )
    yield from _sensor_findings(result, wishes)
    yield from _readout_findings(result, wishes)
    yield from _core_findings(result, wishes)


def _sensor_findings(result: Result, wishes: EmitOptions) -> Iterator[Finding]:
    noise_filter = wishes.noise_filter
    uses_sensor = wishes.sensor or wishes.monitor_sensor or noise_filter is not None
    if uses_sensor and result.chip.input is None:
        yield Finding("sensor", f"{result.chip.name} has no sensor stage")
    elif wishes.sensor and not wishes.monitor_sensor and not _is_read(result.require()):
        inputs = [entry for network in result.networks for entry in network.inputs]
        step = f"Leave {SENSOR} out"
        if all(entry.shape.features <= 2 for entry in inputs):
            step += f", or let the network read the sensor: {INPUT_FROM.to('sensor')}"
        yield Finding("sensor", "would be switched on, and nothing reads it", next_step=step)
    if noise_filter is None:
        return
    if noise_filter.mode != "low-pass" and not all(1 <= side <= 15 for side in noise_filter.size):
        yield Finding(
            "noise filter", "the neighbourhood is out of range", noise_filter.size, "1..15 per axis"
        )
    if not 0 <= noise_filter.threshold < 1 << 15:
        yield Finding("noise filter", "the threshold is out of range", noise_filter.threshold, "0..32767")


def _is_read(solution: Solution) -> bool:
    """Whether a core, or who monitors, gets the sensor's events."""
    sources = {route.source for route in solution.routes} | {entry.source for entry in solution.monitors}
    return DVS in sources


def _readout_findings(result: Result, wishes: EmitOptions) -> Iterator[Finding]:
    spec = result.chip.readout
    fed = any(route.target == READOUT for route in result.require().routes)
    if not fed or spec is None:
        return
    if wishes.readout_window_ticks not in spec.windows_ticks:
        allowed = ", ".join(map(str, spec.windows_ticks))
        yield Finding(str(READOUT_WINDOW), "no such window", wishes.readout_window_ticks, allowed, "ticks")
    if wishes.readout_threshold < 0:
        yield Finding(
            str(READOUT_THRESHOLD), "a threshold must not be negative", wishes.readout_threshold, ">= 0"
        )


def _core_findings(result: Result, wishes: EmitOptions) -> Iterator[Finding]:
    extras = result.chip.emission.core_extras if result.chip.emission else ()
    networks, chip = result.networks, result.chip.name
    layers = {layer_key(networks, n, name): (n, name) for n, net in enumerate(networks) for name in net.index}
    extra_wishes = [("decimator", "decimator", "decimators", name) for name in wishes.decimators]
    extra_wishes += [
        ("congestion_balancer", "congestion balancer", "balancers", name) for name in wishes.balancers
    ]
    for extra, kind, kinds, name in extra_wishes:
        where = f"{kind} of {name}"
        if extra not in extras:
            yield Finding(where, f"{chip} has no {kinds}")
        if name not in layers:
            yield Finding(where, "no layer has this name", limit=", ".join(sorted(layers)))
        elif other := _on_the_same_core(result, *layers[name]):
            step = f"Solve with {FUSION.to(False)}, or leave this out"
            yield Finding(
                where, "counts the spikes of a whole core, which another layer shares", other, next_step=step
            )
        elif cores := _sharing_cores(result.require(), *layers[name]):
            step = "Place the layer whole, once and without relays, or leave this out"
            problem = "counts the spikes of one core, and more of them share the layer's"
            yield Finding(where, problem, f"cores {', '.join(map(str, cores))}", "one core", next_step=step)
    for name, interval in wishes.decimators.items():
        if not 0 <= interval <= 7:
            yield Finding(f"decimator of {name}", "no such interval", interval, "0..7")


def _on_the_same_core(result: Result, network: int, layer: str) -> str:
    """Another layer that is fused with this one; empty without."""
    origins = result.networks[network].origins
    holder = result.networks[network].origin_of(layer).layer
    return next((o.name for o in origins if o.layer == holder and o.name != layer), "")


def _sharing_cores(solution: Solution, network: int, layer: str) -> tuple[int, ...]:
    """Pieces and copies of a layer, and relays before and behind it; empty if it is whole, once, without."""
    bodies = {placement.core: placement.body for placement in solution.placements}
    relays = {core for core, body in bodies.items() if isinstance(body, Relay)}
    own = {
        core
        for core, body in bodies.items()
        if isinstance(body, LayerPart) and (body.network, body.layer) == (network, layer)
    }
    sharing = {core for core in relays if _relays(bodies[core], network, layer)}
    sharing |= {int(r.source) for r in solution.routes if r.target in own and r.source in relays}
    sharing |= own if len(own) > 1 or sharing else set()
    return tuple(sorted(sharing))


def _relays(body: LayerPart | Relay, network: int, layer: str) -> bool:
    return isinstance(body, Relay) and (body.network, body.signal) == (network, layer)
