"""What chip is sought: by limits and sizes, and as texts say it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from hwspec.document import number
from hwspec.schema import ChipSpec
from mapper.asking import BIAS_WORDS, CORES, FAN_OUT, KERNEL_WORDS, NAME, NEURON_WORDS, Option
from mapper.errors import Finding, OptionsError
from mapper.options import SolveOptions
from mapper.solver.smallest.search import Minimise
from mapper.solver.smallest.sizes import MemorySizes

__all__ = ["CORES_MAX", "WORDS_MAX", "Request", "default_sizes", "read_request", "require_sound"]

CORES_MAX = 64
WORDS_MAX = 1 << 24
_NUMBER = r"\s*([0-9]{1,9}(?:\s*[KkM](?:iB?)?)?)\s*"


@dataclass(frozen=True, slots=True)
class Request:
    """What chip is sought.

    Attributes
    ----------
    base
        Limits, stages and routing are as on this chip; its cores must agree in all but their memories.
    cores
        (least, most) cores, 1 <= least <= most <= 64.
    sizes
        Words on offer for each memory.
    fan_out
        (least, most) destinations of a core: the least under which memory is as small as under the most.
    together
        Whether all networks share the chip; else they take turns on it.
    options
        `max_pieces`, `relays`, `max_copies` and limits count; a limit holds for every chip sought.
    """

    base: ChipSpec
    cores: tuple[int, int]
    sizes: MemorySizes
    fan_out: tuple[int, int]
    minimise: Minimise = "sram"
    together: bool = False
    name: str = "synthesized"
    options: SolveOptions = field(default_factory=lambda: SolveOptions(repairs=0))


def default_sizes(base: ChipSpec) -> MemorySizes:
    """Powers of two from 1 Ki words to the base's largest memory; bias memory as large as there, or none."""
    fields = ("kernel_words", "neuron_words", "bias_words")
    kernel, neuron, bias = (max(getattr(core, name) for core in base.cores) for name in fields)
    row, column = (_powers(min(1024, most), most) or (most,) for most in (kernel, neuron))
    return MemorySizes(row, column, (0, bias) if bias else (0,))


def _powers(least: int, most: int) -> tuple[int, ...]:
    return tuple(1 << n for n in range((least - 1).bit_length(), most.bit_length()))


def read_request(
    base: ChipSpec,
    options: SolveOptions,
    *,
    cores: str,
    fan_out: str | None,
    kernel_words: str | None,
    neuron_words: str | None,
    bias_words: str | None,
    minimise: Minimise,
    together: bool,
    name: str,
) -> Request:
    """A request as texts say it: ranges as "5" or "1Ki..64Ki", bias memory as "0,1Ki"; None: as on the base.

    Raises
    ------
    OptionsError
        With everything that is wrong.
    """
    findings: list[Finding] = []
    sizes = default_sizes(base)
    kernel = _read_powers(KERNEL_WORDS, kernel_words, sizes.kernel_words, findings)
    neuron = _read_powers(NEURON_WORDS, neuron_words, sizes.neuron_words, findings)
    bias = sizes.bias_words if bias_words is None else _read_sizes(BIAS_WORDS, bias_words, findings)
    few_many = _read_range(CORES, cores, "5..9", findings)
    fan_out = str(base.routing.fan_out) if fan_out is None else fan_out
    destinations = _read_range(FAN_OUT, fan_out, "2..4", findings)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,49}", name):
        limit = "at most 50 letters, digits and _.+-"
        findings.append(Finding(str(NAME), "cannot be a chip's name", name, limit))
    if findings:
        raise OptionsError(*findings)
    sizes = MemorySizes(kernel, neuron, bias)
    return Request(base, few_many, sizes, destinations, minimise, together, name, options)


def _read_range(option: Option, text: str, example: str, findings: list[Finding]) -> tuple[int, int]:
    match = re.fullmatch(rf"{_NUMBER}(?:\.\.{_NUMBER})?", text)
    low, high = (_whole(match[1]), _whole(match[2] or match[1])) if match else (0, 0)
    if 1 <= low <= high:
        return low, high
    problem, step = "wants a number or least..most, from 1", f"Example: {option.to(example)}"
    if low > high >= 1 and match is not None:
        problem = "is the wrong way round: the least comes first"
        step = f"Write {option.to(f'{match[2].strip()}..{match[1].strip()}')}"
    findings.append(Finding(str(option), problem, text, next_step=step))
    return 1, 1


def _read_powers(
    option: Option, text: str | None, known: tuple[int, ...], findings: list[Finding]
) -> tuple[int, ...]:
    if text is None:
        return known
    low, high = _read_range(option, text, "1Ki..64Ki", findings)
    powers = _powers(low, high)
    if high > WORDS_MAX:
        findings.append(Finding(str(option), "larger than any core's memory", high, WORDS_MAX, "words"))
    elif not powers:
        below = 1 << low.bit_length() - 1 if low else 1
        step = f"Write {option.to(f'{below}..{2 * below}')}"
        findings.append(Finding(str(option), "no power of two lies in this range", text, next_step=step))
    return powers


def _read_sizes(option: Option, text: str, findings: list[Finding]) -> tuple[int, ...]:
    matches = [re.fullmatch(_NUMBER, part) for part in text.split(",")]
    sizes = {_whole(match[1]) for match in matches if match}
    problem, step = "wants sizes separated by commas", f"Example: {option.to('0,1Ki')}"
    if not all(matches) or max(sizes) > WORDS_MAX:
        findings.append(Finding(str(option), problem, text, WORDS_MAX, "words", step))
    return tuple(sorted(sizes))


def _whole(text: str) -> int:
    return int(str(number(text)))


def require_sound(request: Request, networks: Sequence[object]) -> None:
    """Refuse a request that contradicts itself.

    Raises
    ------
    OptionsError
        With everything that is wrong.
    """
    findings = [
        Finding(str(option), problem, f"{low}..{high}", f"1..{CORES_MAX}")
        for option, problem, (low, high) in (
            (str(CORES), "a range of numbers of cores", request.cores),
            (str(FAN_OUT), "a range of destinations a core", request.fan_out),
        )
        if not 1 <= low <= high <= CORES_MAX
    ]
    if not networks:
        findings.append(Finding("networks", "at least one is needed", 0, ">= 1"))
    sought = {"kernel_words": 0, "neuron_words": 0, "bias_words": 0, "fan_out": 0, "parallel": False}
    alike = {core.model_copy(update=sought) for core in request.base.cores}
    if len(alike) > 1:
        where, step = f"chip {request.base.name}", "Name a chip whose cores agree, as speck2f"
        findings.append(Finding(where, "its cores differ in limits", len(alike), 1, next_step=step))
    if findings:
        raise OptionsError(*findings)
