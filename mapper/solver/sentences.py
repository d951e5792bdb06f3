"""Requirements in words: one by one, and as the sentence of a conflict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mapper.options import moves_of
from mapper.reasons import Requirement
from mapper.references import signal_title
from mapper.rules import Rule
from mapper.solver.divided.explain import astray
from mapper.solver.requirements import Part, Requirements
from mapper.wording import counted, join_names, join_numbers

__all__ = ["Sentences"]

_RULES = {
    "layer": Rule.PLACED,
    "pin": Rule.PIN,
    "forbidden": Rule.FORBIDDEN_CORE,
    "cores": Rule.ONE_LAYER_PER_CORE,
    "monitors": Rule.MONITOR,
}


def _core_words(cores: Sequence[int]) -> str:
    """Cores by number: "core 3", "cores 0..4"."""
    return f"core{'s' * (len(cores) > 1)} {join_numbers(cores)}"


class Sentences:
    """What some requirements of a problem say.

    Attributes
    ----------
    parts
        In canonical order.
    """

    def __init__(self, asked: Requirements, parts: Sequence[Part]) -> None:
        self.asked, self.parts = asked, parts
        self.moves = moves_of(asked.problem.options)
        self.cuts = "pieces" in self.moves

    def requirement(self, part: Part) -> Requirement:
        """One of them as a record."""
        layers: tuple[str, ...] = ()
        cores: Sequence[int] = ()
        rule = _RULES.get(part.kind, part.rule)
        if part.kind == "slots":
            layers, rule = (self._signal_name(part.index),), self._binding(part.index)[0]
        elif part.kind in ("layer", "limit", "pin"):
            layers = (self.asked.problem.name(part.index),)
        if part.kind == "limit":
            cores = self._cores([k for rows in self._short(part).values() for k in rows])
        elif part.kind in ("pin", "forbidden", "cores"):
            cores = self.asked.cores_of(part)
        kinds = {"limit": "rule", "slots": "rule", "monitors": "chip"}
        return Requirement(
            sentence="; ".join(self._clauses([part], [])) or f"{self._names([part.index])} is placed",
            kind=kinds.get(part.kind, part.kind),  # type: ignore[arg-type]  # pydantic checks it
            code=rule.code,
            layers=layers,
            cores=tuple(cores),
        )

    def conflict(self) -> str:
        """That they exclude one another: who, kept off which cores by what, and what is left."""
        placed = [part.index for part in self.parts if part.kind == "layer"]
        verb = "cannot be placed" if len(placed) == 1 else "cannot all be placed"
        clauses = "; ".join(self._clauses(self.parts, placed))
        if self.moves:
            return f"With {join_names(self.moves)}, {self._names(placed)} {verb} either: {clauses}."
        return f"{self._names(placed)} {verb}: {clauses}."

    def _names(self, layers: Sequence[int]) -> str:
        return join_names([self.asked.problem.title(layer) for layer in layers])

    def _who(self, layers: list[int], placed: list[int], verb: str) -> str:
        name = self._names(layers) if layers != placed else "them" if len(layers) > 1 else "it"
        return f"{name} each" if verb == "allows" and len(layers) > 1 else name

    def _where(self, classes: Sequence[int]) -> str:
        return "every core" if len(classes) == len(self.asked.classes) else _core_words(self._cores(classes))

    def _cores(self, classes: Sequence[int]) -> list[int]:
        return sorted(core for k in classes for core in self.asked.classes[k].core_ids)

    def _clauses(self, parts: Sequence[Part], placed: list[int]) -> Iterator[str]:
        """Requirements by kind; those of layers speak of "them" where they are all that is placed."""
        by_rule: dict[tuple[Rule, str], dict[str, list[int]]] = {}
        for part in parts:
            if part.kind == "limit":
                verb, text = self._limit(part)
                by_rule.setdefault((part.rule, verb), {}).setdefault(text, []).append(part.index)
        for rule in Rule:
            for verb in ("keeps", "allows"):
                if texts := by_rule.get((rule, verb)):
                    objects = [text.format(self._who(layers, placed, verb)) for text, layers in texts.items()]
                    yield f"{rule.value.title} ({rule.code}) {verb} {join_names(objects)}"
        signals: dict[tuple[Rule, str], list[str]] = {}
        for part in parts:
            if part.kind == "slots":
                signals.setdefault(self._binding(part.index), []).append(self._signal_title(part.index))
            elif part.kind == "pin":
                whole = ", and so stays whole" if self._may_cut(part.index) else ""
                yield f"{self._names([part.index])} is pinned to core {self.asked.pins[part.index]}{whole}"
        for (rule, text), names in signals.items():
            have = "have" if len(names) > 1 else "has"
            yield f"{text.format(join_names(names), have=have)} ({rule.code})"
        if any(part.kind == "monitors" for part in parts):
            most = self.asked.problem.chip.monitor.cores_max
            yield f"at most {counted(most or 0, 'core is', 'cores are')} watched ({Rule.MONITOR.code})"
        if banned := [part.index for part in parts if part.kind == "forbidden"]:
            yield f"{_core_words(banned)} {'are' if len(banned) > 1 else 'is'} forbidden"
        if cores := sorted(c for part in parts if part.kind == "cores" for c in self.asked.cores_of(part)):
            further = [move[:-1] for move in self.moves if move != "copies"]
            occupant = ", ".join(["layer", *further[:-1]]) + "".join(f" or {name}" for name in further[-1:])
            few = f"hold one {occupant} each, {len(cores)} in all"
            yield f"{_core_words(cores)} {few if len(cores) > 1 else f'holds one {occupant}'}"

    def _may_cut(self, layer: int) -> bool:
        """Whether a layer may be cut, but for a pin."""
        return self.cuts and layer not in self.asked.tables.whole

    def _short(self, part: Part) -> dict[str, list[int]]:
        """Classes whose cores do not hold a layer whole under a limit, by what helps there."""
        features = self.asked.features(part.index)
        short: dict[str, list[int]] = {}
        for k, bound in enumerate(self.asked.tables.limits(part.index, part.rule)):
            if bound < features:
                helps = " unless cut" if bound and self._may_cut(part.index) else ""
                short.setdefault(helps, []).append(k)
        return short

    def _limit(self, part: Part) -> tuple[str, str]:
        """What a rule does to a layer, with a place for its name."""
        features, most = self.asked.features(part.index), max(self.asked.tables.limits(part.index, part.rule))
        if 0 < most < features and self._may_cut(part.index):
            return "allows", f"{{}} at most {most} of {counted(features, 'feature')} on a core"
        places = [f"off {self._where(classes)}{helps}" for helps, classes in self._short(part).items()]
        return "keeps", f"{{}} {' and '.join(places)}"

    def _signal_name(self, number: int) -> str:
        signal = self.asked.tables.signals[number]
        return "the sensor" if signal.network is None else self.asked.problem.key(signal.network, signal.name)

    def _signal_title(self, number: int) -> str:
        signal, networks = self.asked.tables.signals[number], self.asked.problem.networks
        return "the sensor" if signal.network is None else signal_title(networks, signal.network, signal.name)

    def _binding(self, number: int) -> tuple[Rule, str]:
        """The rule that binds the destinations of a signal, and what it says, with a place for its name."""
        tables, chip = self.asked.tables, self.asked.problem.chip
        signal = tables.signals[number]
        if signal.kind == "host":
            return Rule.INPUT_POOLING, "events of {} reach a core unpooled"
        lost = dict.fromkeys(c.layer for c in astray(tables, signal) if Part("layer", c.layer) in self.parts)
        if lost:
            return Rule.POOLING, f"no destination of {{}} pools or shifts as {self._names([*lost])} reads it"
        levels = tables.levels(signal)
        missing = [p for p in signal.shown if p not in levels or not tables.relay_limits(signal, p)]
        if missing:
            return Rule.MONITOR, f"no core shows {{}} pooled by {missing[0]}"
        if signal.kind == "sensor":
            most = chip.input.fan_out if chip.input else 0
            text = f"{{}} {{have}} {counted(most, 'destination')}"
            largest = max(core.limits.output_height_max for core in chip.cores)
            if "relays" in self.moves and max(signal.shape.height, signal.shape.width) > largest:
                size = f"{signal.shape.height}x{signal.shape.width}"
                text += f", and no relay has a map of {size} as it is"
            return Rule.DVS_FAN_OUT, text
        most = max(core.fan_out for core in chip.cores)
        return Rule.FAN_OUT, f"{{}} {{have}} {counted(most, 'destination')} a core"
