"""Who wrote a NIR file, and what its neurons then do: the same IF node means different things to each.

No field of the format says which framework wrote it. What each takes an IF for was found by running it and
comparing spikes, with sinabs 3.1, SpikingJelly 2.0, norse 1.1, snnTorch 1.0, spyx 1.0 and rockpool 3.1
(tests/frameworks). "nir" is the text of the format itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hwspec.inert import quoted
from mapper.asking import DT, FIRES_AT, RESET, SOURCE, SPIKE_MODE, V_MIN, Option, names
from mapper.errors import Finding, OptionsError
from mapper.frontends import NirOptions
from mapper.reading import Reading

__all__ = ["ORIGINS", "Behaviour", "Origin", "behaviour_of", "origin_of"]

# Seconds of a step, where SpikingJelly's writer and NIR's leak are not told otherwise.
_DT_S = 1e-4
_RESETS = ("subtract", "zero")
_MODES = ("multi", "single")
_FIRES = ("reached", "above")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a framework's neurons do.

    Attributes
    ----------
    reset
        None: what the file states, and subtraction where it states nothing.
    has_bound
        Whether potentials have a lower bound that its files do not hold.
    r_per_step
        Whether r is 1 / step in seconds, so that r times the step is the gain.
    maps_last
        Whether Flatten reads (height, width, features), so that features run fastest.
    is_late
        Whether an output comes a step later for every layer of neurons before it.
    adds_whole
        Whether a LIF adds its input as it comes, whatever r and tau its files hold.
    """

    reset: Literal["subtract", "zero"] | None
    spike_mode: Literal["multi", "single"]
    fires_at: Literal["reached", "above"]
    has_bound: bool = False
    r_per_step: bool = False
    maps_last: bool = False
    is_late: bool = False
    adds_whole: bool = False


ORIGINS: Mapping[str, Origin] = {
    "sinabs": Origin("subtract", "multi", "reached", has_bound=True),
    "spikingjelly": Origin("zero", "single", "reached", r_per_step=True),
    "norse": Origin("zero", "single", "above"),
    "snntorch": Origin("subtract", "single", "above"),
    "spyx": Origin("subtract", "single", "above", maps_last=True, is_late=True, adds_whole=True),
    "rockpool": Origin("subtract", "multi", "reached"),
    "nir": Origin(None, "multi", "above"),
}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What one node's neurons do, and what of it was taken for granted.

    Attributes
    ----------
    bound
        Lower bound of potentials: a number, "threshold" for minus the threshold, None for none.
    step_s, is_step_given
        Seconds of a step, and whether the user gave them.
    gains
        Whether r is a gain: "as it stands", "per step" for r times the step, "open" where nobody says;
        "whole" for a LIF whose gain is 1 whatever stands there.
    """

    reset: Literal["subtract", "zero"]
    bound: float | Literal["threshold"] | None
    spike_mode: Literal["multi", "single"]
    fires_at: Literal["reached", "above"]
    step_s: float
    is_step_given: bool
    gains: Literal["as it stands", "per step", "open", "whole"]
    readings: tuple[Reading, ...]


def origin_of(options: NirOptions, metadata: Mapping[str, Any]) -> str | None:
    """The framework that the user names, else the file's metadata (`source`); None where neither does.

    Raises
    ------
    OptionsError
        The metadata name a framework that is not known.
    """
    if options.source is not None:
        return options.source
    stated = metadata.get("source")
    if stated is None or (isinstance(stated, str) and stated in ORIGINS):
        return stated
    step, known = f"Say it by {SOURCE.to(tuple(ORIGINS))}", ", ".join(ORIGINS)
    shown = " ".join(str(stated).split())[:60]
    raise OptionsError(Finding("metadata source", "is no framework that is known", shown, known, "", step))


def behaviour_of(
    node: str,
    source: str | None,
    fields: Mapping[str, Any],
    metadata: Mapping[str, Any],
    options: NirOptions,
) -> Behaviour:
    """What a node's neurons do: options first, then the node's metadata, then its framework.

    Raises
    ------
    ValueError
        A file that states something no core does.
    """
    origin = None if source is None else ORIGINS[source]
    if options.reset is None and fields.get("v_reset") is not None and _differs_from_zero(fields["v_reset"]):
        raise ValueError("v_reset other than 0: a core subtracts the threshold or returns to 0")
    reset = options.reset or _stated(metadata, "reset", _RESETS)
    mode = options.spike_mode or _stated(metadata, "spike_mode", _MODES)
    fires = options.fires_at or _stated(metadata, "fires_at", _FIRES)
    bound, is_bounded = _bound(metadata, options)
    readings: list[Reading] = []
    if origin is not None:
        reset = reset or origin.reset or _reset_in_file(node, fields, readings)
        mode, fires = mode or origin.spike_mode, fires or origin.fires_at
        is_bounded = is_bounded or not origin.has_bound
        why = f"as {source} runs it" if source != "nir" else "as the text of NIR has it"
        readings.append(Reading(node, _words(reset, mode, fires), why, names((RESET, SPIKE_MODE, FIRES_AT))))
    if (reset, mode, fires) == ("zero", "multi", "above"):
        taken = (
            "in integers, a second spike of a step comes at twice the threshold plus 2, not above twice it"
        )
        readings.append(
            Reading(node, taken, "the chip fires at a threshold, here plus 1", SPIKE_MODE.to("single"))
        )
    missing = [
        option for option, value in ((RESET, reset), (SPIKE_MODE, mode), (FIRES_AT, fires)) if value is None
    ]
    missing += [] if is_bounded else [V_MIN]
    if origin is None and not metadata and options.dt is None and _is_large(fields):
        missing.append(DT)
    if missing:
        readings.append(_open(node, source, missing, fields))
    gains = _gains(source, options, metadata, bool(missing))
    if options.dt is None and (step := _step_taken(node, gains, fields)) is not None:
        readings.append(step)
    return Behaviour(
        reset=reset or "subtract",  # type: ignore[arg-type]  # one of the known ones
        bound=bound,
        spike_mode=mode or "multi",  # type: ignore[arg-type]
        fires_at=fires or "reached",  # type: ignore[arg-type]
        step_s=options.dt or _DT_S,
        is_step_given=options.dt is not None,
        gains=gains,
        readings=tuple(readings),
    )


def _step_taken(node: str, gains: str, fields: Mapping[str, Any]) -> Reading | None:
    """That the default step was taken, where what neurons compute depends on it."""
    import numpy as np  # noqa: PLC0415

    why = f"the default step is {_DT_S:g} s"
    if gains == "per step" and fields.get("r") is not None:
        least, most = (float(end(fields["r"])) * _DT_S for end in (np.min, np.max))
        gain = f"{most:g}" if least == most else f"{least:g}..{most:g}"
        return Reading(
            node, f"r times the step is a gain of {gain}", why, f"{_seconds()}, which 1 / r mostly is"
        )
    tau = fields.get("tau", fields.get("tau_mem"))
    if gains not in ("whole", "open") and tau is not None and np.any(np.isfinite(tau)):
        return Reading(node, "its gain is r times the step over tau", why, _seconds())
    return None


def _seconds() -> str:
    return DT.to("SECONDS", "SECONDS")


def _gains(source: str | None, options: NirOptions, metadata: Mapping[str, Any], is_open: bool) -> Any:
    if source is not None:
        origin = ORIGINS[source]
        return "per step" if origin.r_per_step else "whole" if origin.adds_whole else "as it stands"
    if is_open:
        return "open"
    return "per step" if options.dt is not None and not metadata else "as it stands"


def _stated(metadata: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str | None:
    value = metadata.get(key)
    if value is not None and not (isinstance(value, str) and value in known):
        raise ValueError(f"metadata state {key} {quoted(value)}; {' and '.join(known)} are known")
    return value


def _bound(
    metadata: Mapping[str, Any], options: NirOptions
) -> tuple[float | Literal["threshold"] | None, bool]:
    """The lower bound, and whether anybody states it."""
    for value in (options.v_min, metadata.get("minimum")):
        if value is None:
            continue
        if isinstance(value, str):
            if value not in ("none", "threshold"):
                raise ValueError(
                    f'metadata state minimum {quoted(value)}; a number, "threshold" or "none" is known'
                )
            return ("threshold" if value == "threshold" else None), True
        return _number(value), True
    return None, False


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError):
        raise ValueError(f"metadata state minimum {quoted(value)}; one number is needed") from None


def _reset_in_file(node: str, fields: Mapping[str, Any], readings: list[Reading]) -> str:
    states = fields.get("v_reset") is not None
    why = "v_reset is 0, which newer nir packages also fill in" if states else "the file has no v_reset"
    taken = "a spike returns the potential to 0" if states else "a spike subtracts the threshold"
    other = "subtract" if states else "zero"
    readings.append(Reading(node, taken, why, RESET.to(other)))
    return "zero" if states else "subtract"


def _words(reset: str, mode: str, fires: str) -> str:
    return (
        f"a spike {'subtracts the threshold' if reset == 'subtract' else 'returns the potential to 0'}, "
        f"{'as many spikes a step as fit' if mode == 'multi' else 'one spike a step at most'}, "
        f"fired {'at' if fires == 'reached' else 'above'} the threshold"
    )


def _open(node: str, source: str | None, missing: list[Option], fields: Mapping[str, Any]) -> Reading:
    if source is not None:
        return Reading(
            node,
            "no lower bound of potentials",
            f"{source} writes none into its files, whether its neurons have one or not",
            V_MIN.to("threshold|none|NUMBER", '"threshold"|"none"|NUMBER'),
            is_open=True,
        )
    otherwise = SOURCE.to(tuple(ORIGINS))
    if RESET not in missing:
        otherwise += f", or {names(missing)}"
    why = f"the file does not say which framework wrote it{_suggestion(fields)}"
    return Reading(node, "it is not known what they do", why, otherwise, is_open=True)


def _suggestion(fields: Mapping[str, Any]) -> str:
    """What hints at a framework; no answer."""
    import numpy as np  # noqa: PLC0415  # the light paths need the table alone

    if (tau := fields.get("tau")) is not None and np.all(np.isinf(tau)):
        return "; tau is infinite, as snntorch and rockpool write it"
    if _is_large(fields):
        return f"; r is {np.ravel(fields['r'])[0]:g} everywhere, as spikingjelly writes it"
    return ""


def _is_large(fields: Mapping[str, Any]) -> bool:
    """Whether r looks like 1 / step: large, and the same everywhere."""
    import numpy as np  # noqa: PLC0415

    r = np.ravel(fields.get("r", ()))
    return bool(r.dtype.kind in "fiu" and r.size and np.isfinite(r[0]) and r[0] >= 100 and np.all(r == r[0]))


def _differs_from_zero(value: Any) -> bool:
    import numpy as np  # noqa: PLC0415

    return bool(np.any(np.asarray(value) != 0))
