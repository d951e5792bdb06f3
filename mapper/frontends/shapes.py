"""Shape files: a network written by hand in YAML, JSON or TOML, without weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from hwspec.inert import as_text, quoted
from hwspec.toml_text import toml_of
from mapper.asking import CHIP, INPUT_FORM, INPUT_SHAPE
from mapper.errors import (
    Finding,
    MissingShapeError,
    NetworkError,
    UnsupportedLayerError,
    unreadable,
    warn_caller,
)
from mapper.files import own_file
from mapper.frontends.field_names import meant_by
from mapper.frontends.inference import LayerDraft, build_network
from mapper.frontends.shape_forms import (
    ConcatForm,
    ConvForm,
    DvsForm,
    LayerForm,
    NeuronForm,
    PoolEntry,
    PoolForm,
    Pools,
    ShapesForm,
    SourceForm,
)
from mapper.frontends.yaml_core import yaml_of
from mapper.network import DvsSettings, Edge, Input, Network, Output
from mapper.operations import (
    BatchNorm,
    Convolution,
    Dropout,
    Linear,
    Neuron,
    Pair,
    PathOperation,
    Pool,
    Shape,
    shape_after,
)
from mapper.texts import json_of, plain_text
from mapper.wording import channels_last, titled

__all__ = ["json_schema", "load_shapes", "parse_shapes"]

# A hundred times the longest that was ever written by hand; any of the languages is read in seconds.
_FILE_BYTES_MAX = 4 << 20
# A chip file has one of these, a network none.
_OF_CHIPS = {"extends", "core", "cores", "limits"}


def json_schema() -> dict[str, Any]:
    """JSON Schema of a shape file."""
    return ShapesForm.model_json_schema()


def load_shapes(path: Path, input_shape: tuple[int, int, int] | None = None) -> Network:
    """Read a shape file; the suffix tells the language.

    Raises
    ------
    NetworkError
        Unreadable text, unknown or missing fields, shapes that do not follow: everything at once.
    """
    try:
        text = plain_text(path, _FILE_BYTES_MAX)
    except OSError as error:
        raise NetworkError(Finding(str(path), unreadable(error))) from None
    except ValueError as error:
        raise NetworkError(Finding(str(path), str(error))) from None
    try:
        content = _parsed(text, path.suffix.lower())
    except ValueError as error:
        problem = " ".join(str(error).split())[:300]
        raise NetworkError(Finding(path.name, f"cannot be parsed: {problem}")) from None
    if _is_chip(content):
        step = f"Give it as one: {CHIP.to(as_text(str(path)))}"
        raise NetworkError(Finding(path.name, "is a chip", next_step=step))
    return parse_shapes(content, path.name, input_shape)


def _is_chip(content: object) -> bool:
    """Whether a file's content is a chip's: by what every chip file has, and no network."""
    return isinstance(content, dict) and "layers" not in content and bool(content.keys() & _OF_CHIPS)


def _parsed(text: str, suffix: str) -> object:
    if suffix == ".toml":
        return toml_of(text)
    return json_of(text) if suffix == ".json" else yaml_of(text)


def parse_shapes(content: object, where: str, input_shape: tuple[int, int, int] | None = None) -> Network:
    """The network of a shape file's content.

    Parameters
    ----------
    where
        Name of the file, for messages.

    Raises
    ------
    NetworkError
        As `load_shapes`.
    """
    if not isinstance(content, Mapping):
        raise NetworkError(Finding(where, "must be a table with the fields input and layers"))
    if (known := own_file(content)) is not None:
        raise NetworkError(Finding(where, known))
    try:
        form = ShapesForm.model_validate(content)
    except ValidationError as error:
        raise NetworkError(*_findings(error, where)) from None
    _refuse(form, where)
    inputs = _inputs(form, where, input_shape)
    edges, stated = _edges(form, inputs, where)
    read = {edge.source for edge in edges if edge.source != edge.target}
    output_entries = form.outputs or [layer.name for layer in form.layers if layer.name not in read]
    own = {layer.name: _pools(layer.pool) for layer in form.layers}
    outputs = []
    for entry in output_entries or [form.layers[-1].name]:
        layer, pools = (entry, None) if isinstance(entry, str) else (entry.layer, entry.pool)
        outputs.append(Output(layer, layer, (*own.get(layer, ()), *_pools(pools))))
    drafts = [_draft(layer) for layer in form.layers]
    name = form.name or as_text(Path(where).stem)
    return build_network(name, inputs, drafts, edges, outputs, delays_stated=stated)


def _findings(error: ValidationError, where: str) -> list[Finding]:
    findings: dict[str, Finding] = {}
    tables = set()
    for entry in error.errors(include_url=False, include_context=False):
        # Branches of a union add their type's name to the place; people look for the field alone.
        parts = [
            p for p in entry["loc"] if isinstance(p, int) or (p[:1].islower() and not set("[-") & set(p))
        ]
        parts = [p for p in parts if p not in ("int", "str", "bool", "float")]
        place = ".".join(str(part) for part in parts)
        value_text = None if isinstance(entry.get("input"), dict | list) else quoted(entry.get("input"))
        problem = entry["msg"].removeprefix("Value error, ")
        is_bare = entry["type"] == "string_type" and isinstance(entry["input"], int | float)
        typed = "" if isinstance(entry["input"], bool) else f': "{entry["input"]}"'
        step = f"Write it in quotes{typed}" if is_bare else ""
        if entry["type"] == "extra_forbidden":
            problem, step = "there is no such field", meant_by(ShapesForm, entry["loc"])
        findings.setdefault(place, Finding(f"{where}: {place}", problem, value_text, next_step=step))
        if isinstance(entry["input"], dict) and entry["type"].endswith("_type"):
            tables.add(place)
    # That a table is no plain value says nothing, where it is known what is wrong inside.
    idle = {place for place in tables if any(other.startswith(f"{place}.") for other in findings)}
    return [finding for place, finding in findings.items() if place not in idle]


def _refuse(form: ShapesForm, where: str) -> None:
    findings = []
    for layer in form.layers:
        if any(isinstance(pool, PoolForm) and pool.kind == "max" for pool in _all_pools(layer)):
            step = "Use sum or average pooling and train with it"
            problem = "max pooling behind or before it: no chip of the family has that"
            findings.append(Finding(f"layer {titled(layer.name)}", problem, next_step=step))
        if isinstance(layer.neuron, NeuronForm) and layer.neuron.kind.lower() not in ("if", "iaf"):
            step = "Use integrate-and-fire neurons without leak (if)"
            problem = f"{layer.neuron.kind} neurons: no chip of the family has them"
            findings.append(Finding(f"layer {titled(layer.name)}", problem, next_step=step))
    if (form.input is None) == (form.inputs is None):
        findings.append(Finding(where, "needs either input or inputs"))
    if findings:
        raise UnsupportedLayerError(*findings)


def _all_pools(layer: LayerForm) -> list[PoolEntry]:
    """Pools of a layer's output and of the signals it reads."""
    sources: Any = layer.from_.concat if isinstance(layer.from_, ConcatForm) else layer.from_
    entries = [layer.pool]
    entries += [
        source.pool
        for source in (sources if isinstance(sources, list) else [sources])
        if isinstance(source, SourceForm)
    ]
    return [pool for entry in entries if entry for pool in (entry if isinstance(entry, list) else [entry])]


def _inputs(form: ShapesForm, where: str, given: tuple[int, int, int] | None) -> list[Input]:
    forms = {"input": form.input} if form.input is not None else (form.inputs or {})
    inputs = []
    for name, entry in forms.items():
        shape = entry.shape if entry else None
        if shape is not None and given is not None and tuple(shape) != tuple(given):
            problem = f"states another input shape than {INPUT_SHAPE}"
            step = f"Leave {INPUT_SHAPE} out, or change the shape in the file"
            place = f"{where}: input {name}"
            raise NetworkError(Finding(place, problem, list(given), list(shape), "", step))
        shape = shape or given
        if shape is None or entry is None:
            step = f"Add it to the file, or give {INPUT_SHAPE.to(*INPUT_FORM)}"
            raise MissingShapeError(Finding(f"{where}: input {name}", "has no shape", next_step=step))
        dvs = None
        if entry.dvs is not False:
            dvs = DvsSettings(**entry.dvs.model_dump()) if isinstance(entry.dvs, DvsForm) else DvsSettings()
        if entry.shape is not None and (meant := channels_last(shape)) is not None:
            last = f"features come first; channels last would be {list(meant)}"
            warn_caller(f"{where}: input {name}: shape {list(shape)}: {last}")
        inputs.append(Input(name, Shape(*shape), dvs))
    return inputs


def _pair(value: int | tuple[int, int]) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _pools(entry: Pools | None) -> tuple[PathOperation, ...]:
    if entry is None:
        return ()
    pools = []
    for pool in entry if isinstance(entry, list) else [entry]:
        if isinstance(pool, PoolForm):
            kind: Literal["sum", "average"] = "average" if pool.kind == "average" else "sum"
            pools.append(Pool(kind, _pair(pool.size), _pair(pool.stride or pool.size)))
        else:
            pools.append(Pool("sum", _pair(pool), _pair(pool)))
    return tuple(pools)


def _draft(layer: LayerForm) -> LayerDraft:
    operation: Convolution | Linear
    if layer.linear is not None:
        operation = Linear(layer.linear.features, layer.linear.bias)
    else:
        conv = layer.conv or ConvForm(features=1, kernel=1)  # one of the two is there: checked on reading
        operation = Convolution(
            out_features=conv.features,
            kernel=_pair(conv.kernel),
            stride=_pair(conv.stride),
            padding=_pair(conv.padding),
            dilation=_pair(conv.dilation),
            groups=conv.groups,
            has_bias=conv.bias,
        )
    between: list[BatchNorm | Dropout] = [BatchNorm()] if layer.batch_norm else []
    if layer.dropout:
        between.append(Dropout())
    neuron: Neuron | None = Neuron() if layer.neuron is True else None
    if isinstance(layer.neuron, NeuronForm):
        form = layer.neuron
        neuron = Neuron(form.threshold, form.minimum, form.reset, form.spike_mode)
    return LayerDraft(layer.name, operation, tuple(between), neuron)


def _edges(form: ShapesForm, inputs: list[Input], where: str) -> tuple[list[Edge], frozenset[int]]:
    """Edges in the order of the file, and the indexes of those whose delay the file states."""
    own = {layer.name: _pools(layer.pool) for layer in form.layers}
    known = {*own, *(entry.name for entry in inputs)}
    edges: list[Edge] = []
    stated: set[int] = set()
    findings: list[Finding] = []
    previous = inputs[0].name
    widths = _widths(form, inputs)
    for layer in form.layers:
        entries: Any = layer.from_ if layer.from_ is not None else previous
        side_by_side = isinstance(entries, ConcatForm)
        offset = 0
        for entry in entries.concat if side_by_side else entries if isinstance(entries, list) else [entries]:
            source = SourceForm(source=entry) if isinstance(entry, str) else entry
            if source.source not in known:
                findings.append(
                    Finding(f"{where}: layer {titled(layer.name)}", "reads an unknown signal", source.source)
                )
                continue
            if source.delay is not None:
                stated.add(len(edges))
            path = (*own.get(source.source, ()), *_pools(source.pool))
            start = source.offset if source.offset is not None else offset
            edges.append(Edge(source.source, layer.name, path, start, source.delay or 0))
            offset += widths[source.source] if side_by_side else 0
        previous = layer.name
    if findings:
        raise NetworkError(*findings)
    return edges, frozenset(stated)


def _widths(form: ShapesForm, inputs: list[Input]) -> dict[str, int]:
    """Features of every signal: all that a concatenation needs to know."""
    widths = {entry.name: shape_after(entry.shape, ()).features for entry in inputs}
    for layer in form.layers:
        operation = layer.conv or layer.linear
        widths[layer.name] = operation.features if operation else 0
    return widths
