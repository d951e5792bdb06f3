"""What forward returns as outputs of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mapper.errors import Finding
from mapper.frontends.from_torch.sums import layers_of
from mapper.frontends.from_torch.values import NO_MARGINS, Current, Opaque, Part, Signal, entries, flattened
from mapper.network import Output

if TYPE_CHECKING:
    from mapper.frontends.from_torch.reader import Reader

__all__ = ["returned"]


def returned(reader: Reader, result: Any) -> None:
    """Make outputs of what forward returns; what no core sends is a finding."""
    used: set[str] = set()
    for key, entry in entries(result, ""):
        if isinstance(entry, Opaque) and not entry.reported:
            _refused(reader, key, f"the tensor {entry.name} does not come from the input")
        if not isinstance(entry, Signal | Current):
            continue
        value = _last(reader, key, entry) if isinstance(entry, Current) else entry
        if value.margins != NO_MARGINS:
            _refused(reader, key, "pads a map with zeros, which no core sends")
        if len(value.parts) > 1:
            names = ", ".join(part.source for part in value.parts)
            taken = f"joining {names} is left to the host"
            reader.take(f"output {key or 'of the module'}", taken, "a core sends what one layer gives")
        signal = flattened(value) if len(value.dims) == 1 else value
        for part in signal.parts:
            if part.source in reader.inputs:
                _refused(reader, key, f"holds the input {part.source} itself, which no core sends")
                continue
            name = key or part.source
            name = f"{name}.{part.source}" if key and len(signal.parts) > 1 else name
            while name in used:
                name += "_again"
            used.add(name)
            reader.outputs.append(Output(name, part.source, part.path))


def _refused(reader: Reader, key: str, problem: str) -> None:
    step = "Return what layers give"
    reader.unsupported.append(Finding(f"output {key}".strip(), problem, next_step=step))


def _last(reader: Reader, key: str, current: Current) -> Signal:
    """A weight layer without neurons at the end; `--add-output-neuron` gives it some."""
    before = reader.bare.get(current.layer)
    same = before is not None and (before.between, before.addends) == (current.between, current.addends)
    taken = [layer for layer in layers_of(current) if layer in reader.fired]
    if current.sure and taken and not same:
        _refused(reader, key, f"holds the currents of layer {taken[0]}, which no core sends")
    elif not taken:
        reader.bare[current.layer] = current
        reader.finish(current, None)
    return Signal((Part(current.layer),), current.shape, current.dims, current.leads, current.sure)
