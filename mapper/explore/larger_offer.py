"""What more would have to be on offer so that there is a chip at all: tried on the largest one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from hwspec.schema import ChipSpec
from mapper.asking import BIAS_WORDS, CORES, FAN_OUT, KERNEL_WORDS, NEURON_WORDS, together
from mapper.explore.request import CORES_MAX, WORDS_MAX, Request
from mapper.normal_form import NormalNetwork
from mapper.options import PLAIN
from mapper.question import Question, fits
from mapper.repairs.search import smallest
from mapper.solver.budget import Budget
from mapper.solver.smallest.sizes import CoreType, chip_of

__all__ = ["larger_offer", "largest_chip"]

# Of every dimension, how many times the most on offer may be doubled.
_DOUBLINGS = 6
_FAN_OUT_MAX = 8
# Deterministic time of all that is tried: a few seconds.
_EFFORT = 2.0
# What is raised: of as many dimensions the first of these.
_OPTIONS = {
    "kernel_words": KERNEL_WORDS,
    "neuron_words": NEURON_WORDS,
    "cores": CORES,
    "bias_words": BIAS_WORDS,
    "fan_out": FAN_OUT,
}
# Of these any number can be had, of memories powers of two.
_COUNTS = ("cores", "fan_out")

Offer = dict[str, int]
"""The most on offer, by dimension."""


def largest_chip(request: Request) -> ChipSpec:
    """As many cores as may be, each with the largest memories on offer."""
    return _chip(request, _most(request))


def larger_offer(groups: Sequence[tuple[NormalNetwork, ...]], request: Request, budget: Budget) -> str:
    """Options under which the largest chip carries every group by itself, as a sentence; else "".

    As few dimensions are raised as can be, and as little as holds: where layers can stand whole with these,
    as little as holds them whole.
    """
    aside, now = budget.aside(_EFFORT), _most(request)

    def holds(offer: Offer, *, whole: bool = False) -> bool:
        chip = _chip(request, offer)
        options = replace(request.options, **PLAIN) if whole else request.options
        return not aside.is_spent and all(
            bool(fits(Question(group, chip, options), aside.aside())) for group in groups
        )

    larger = next((offer for k in range(1, _DOUBLINGS + 1) if holds(offer := _doubled(now, k))), None)
    if larger is None:
        return ""
    largest = _doubled(now, _DOUBLINGS)
    layers = max(sum(len(network.layers) for network in group) for group in groups)
    largest["cores"] = min(max(larger["cores"], 2 * now["cores"], layers), CORES_MAX)
    raised = (
        {**now, **{name: largest[name] for name in names}}
        for count in range(1, len(_OPTIONS))
        for names in combinations(_OPTIONS, count)
    )
    enough = next((offer for offer in raised if holds(offer)), larger)
    least = _lessened(now, enough, partial(holds, whole=holds(enough, whole=True)))
    options = [
        (_OPTIONS[name], _value(request, name, least[name])) for name in now if least[name] != now[name]
    ]
    return f"There is one with {together(*options)} (tried)."


def _lessened(now: Offer, larger: Offer, holds: Callable[[Offer], bool]) -> Offer:
    """As little of each dimension as holds; memories are as they were, or halved."""
    least = dict(larger)

    def holds_with(name: str, most: int) -> bool:
        return holds({**least, name: most})

    for name in reversed(_OPTIONS):
        if least[name] != now[name] and holds_with(name, now[name]):
            least[name] = now[name]
        elif name in _COUNTS:
            found = smallest(now[name] + 1, least[name] - 1, partial(holds_with, name))
            least[name] = found or least[name]
        while name not in _COUNTS and least[name] // 2 > now[name] and holds_with(name, least[name] // 2):
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
