"""What more would have to be on offer so that there is a chip at all: tried on the largest one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hwspec.schema import ChipSpec
from mapper.asking import BIAS_WORDS, CORES, FAN_OUT, KERNEL_WORDS, NEURON_WORDS, together
from mapper.explore.request import CORES_MAX, WORDS_MAX, Request
from mapper.normal_form import NormalNetwork
from mapper.question import Question, fits
from mapper.solver.budget import Budget
from mapper.solver.smallest.sizes import CoreType, chip_of

__all__ = ["larger_offer", "largest_chip"]

# Of every dimension, how many times the most on offer may be doubled.
_DOUBLINGS = 6
_FAN_OUT_MAX = 8
# Deterministic time of all that is tried: a few seconds.
_EFFORT = 2.0
# What is raised, in the order in which it is left as it is where it can be.
_OPTIONS = {
    "fan_out": FAN_OUT,
    "bias_words": BIAS_WORDS,
    "cores": CORES,
    "neuron_words": NEURON_WORDS,
    "kernel_words": KERNEL_WORDS,
}

Offer = dict[str, int]
"""The most on offer, by dimension."""


def largest_chip(request: Request) -> ChipSpec:
    """As many cores as may be, each with the largest memories on offer."""
    return _chip(request, _most(request))


def larger_offer(groups: Sequence[tuple[NormalNetwork, ...]], request: Request, budget: Budget) -> str:
    """Options under which the largest chip carries every group by itself, as a sentence; else "".

    Each holds as little more as helps, and without any of them nothing would.
    """
    aside, now = budget.aside(_EFFORT), _most(request)

    def holds(offer: Offer) -> bool:
        chip = _chip(request, offer)
        return not aside.is_spent and all(
            bool(fits(Question(group, chip, request.options), aside.aside())) for group in groups
        )

    larger = next((offer for k in range(1, _DOUBLINGS + 1) if holds(offer := _doubled(now, k))), None)
    if larger is None:
        return ""
    least = _lessened(now, larger, holds)
    options = [
        (_OPTIONS[name], _value(request, name, most)) for name, most in least.items() if most != now[name]
    ]
    return f"There is one with {together(*options)} (tried)."


def _lessened(now: Offer, larger: Offer, holds: Callable[[Offer], bool]) -> Offer:
    """Each dimension as it was where that holds, else halved as often as holds."""
    least = dict(larger)
    for name in _OPTIONS:
        if least[name] != now[name] and holds({**least, name: now[name]}):
            least[name] = now[name]
        while least[name] // 2 > now[name] and holds({**least, name: least[name] // 2}):
            least[name] //= 2
    return least


def _most(request: Request) -> Offer:
    sizes = request.sizes
    return {
        "fan_out": request.fan_out[1],
        "bias_words": sizes.bias_words[-1],
        "cores": request.cores[1],
        "neuron_words": sizes.neuron_words[-1],
        "kernel_words": sizes.kernel_words[-1],
    }


def _doubled(offer: Offer, times: int) -> Offer:
    bounds = {"fan_out": _FAN_OUT_MAX, "cores": CORES_MAX}
    ready = {**offer, "bias_words": max(offer["bias_words"], 512)}
    return {name: max(most, min(most << times, bounds.get(name, WORDS_MAX))) for name, most in ready.items()}


def _chip(request: Request, offer: Offer) -> ChipSpec:
    largest = CoreType(offer["neuron_words"], offer["kernel_words"], offer["bias_words"])
    cores = [largest] * offer["cores"]
    name = f"largest-{len(cores)}-core-chip"
    return chip_of(request.base, cores, offer["fan_out"], name, "the largest chip on offer")


def _value(request: Request, name: str, most: int) -> str:
    """What is given to an option: what is on offer now, and more."""
    if name == "bias_words":
        return ",".join(map(str, (*request.sizes.bias_words, most)))
    ranges = {"cores": request.cores, "fan_out": request.fan_out}
    least = ranges[name][0] if name in ranges else getattr(request.sizes, name)[0]
    return f"{_words(least)}..{_words(most)}"


def _words(number: int) -> str:
    return f"{number >> 10}Ki" if number >= 1024 and number % 1024 == 0 else str(number)
