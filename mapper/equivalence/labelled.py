"""Labelled data: rasters with classes from files, folders of recordings, images, and data sets of Python.

A sample's raster is made when it is asked for, so that a folder or a data set may be larger than memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from hwspec.inert import quoted
from mapper.arguments import checked
from mapper.arrays import plain_array
from mapper.by_value import ByValue
from mapper.equivalence.pixels import check_image
from mapper.errors import EventError, Finding, OptionsError
from mapper.events import raster_from_events, read_events
from mapper.events.numpy_files import arrays_of
from mapper.references import natural_key
from mapper.sim.network import NO_COUNTS, are_spike_counts
from mapper.texts import unreachable
from mapper.wording import join_names, other_shape

__all__ = [
    "STEPS", "DataOptions", "Encoding", "LabelledData", "Rasters", "encoded", "labelled_data",
    "read_labelled",
]  # fmt: skip

Encoding = Literal["accumulate", "poisson"]
Shape3 = tuple[int, int, int]

DIGITS = {"digits": "digits_test.npz", "digits-train": "digits_train.npz"}
# A pixel of value v in 0..16 enters as v spikes, spread evenly over so many steps.
STEPS, _DIGITS_STEPS = 50, 16
"""Of an image where none are asked for."""
# Every one of them is an event of its own; of a sample so many take a GiB.
_SPIKES_MAX = 10_000_000
_STEPS_MAX = 1 << 20
_WRITTEN = "Write it by numpy.savez(path, rasters=..., labels=...), or images=... in 0..1, or name digits"
_SUFFIXES = (".npy", ".npz", ".csv", ".aedat4")


class Rasters(Protocol):
    """Samples by index, each (time, features, height, width) of spike counts."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[Any]: ...


@checked.but("encode")
@dataclass(frozen=True, slots=True)
class DataOptions:
    """How data becomes rasters.

    Attributes
    ----------
    steps
        Time steps of an image, >= 1; None is `STEPS`, and 16 for the digits that ship with the package.
    encode
        "accumulate": a pixel of value v adds v a step, and each whole is a spike. "poisson": a spike with
        probability v in each step, independent of all others (a Bernoulli draw, as rate coding has it).
    seed
        Of "poisson"; sample n draws from (seed, n), whoever draws the others.
    dt_us
        Microseconds of a step, for recordings.
    drop_outside
        Leave out events of recordings outside the input's map.
    """

    steps: int | None = None
    encode: Encoding = "accumulate"
    seed: int = 0
    dt_us: int = 1000
    drop_outside: bool = False

    def __post_init__(self) -> None:
        findings = []
        if not isinstance(self.encode, str) or self.encode not in get_args(Encoding):
            findings.append(Finding("encode", "is unknown", self.encode, ", ".join(get_args(Encoding))))
        if self.steps is not None and not 1 <= self.steps <= _STEPS_MAX:
            findings.append(Finding("steps", "must be a number of steps", self.steps, f"1..{_STEPS_MAX}"))
        if self.seed < 0:
            findings.append(Finding("seed", "must not be negative", self.seed, ">= 0"))
        if findings:
            raise OptionsError(*findings)


@checked
@dataclass(frozen=True, eq=False)
class LabelledData(ByValue):
    """Samples and their classes.

    Attributes
    ----------
    rasters
        By sample, (time, features, height, width).
    classes
        Names of the classes, where they have some.
    images
        By sample, what its raster was made of, (features, height, width), 0..1; None where there is none.
    is_labelled
        Whether the labels are known; where they are not, all of them are 0.
    source
        The file that they are from, as messages call it; empty where there is none.
    """

    name: str
    rasters: Rasters
    labels: NDArray[np.int64]
    classes: tuple[str, ...] = ()
    images: Rasters | None = field(default=None, repr=False)
    is_labelled: bool = True
    source: str = field(default="", repr=False)

    def misfit(self, shape: Shape3) -> Finding | None:
        """What is wrong with samples of another shape; of many that are made, the first tells."""
        kind, samples = ("rasters", self.rasters) if self.images is None else ("images", self.images)
        front: tuple[str, ...] = ("samples",) if kind == "images" else ("samples", "time")
        where = f"{self.source or self.name}: {kind}"
        if not isinstance(samples, np.ndarray):
            if not len(samples):
                return None
            where, kind, front = f"{self.source or self.name}, sample 0", kind[:-1], front[1:]
            samples = samples[0]
        given = np.shape(samples)
        return None if given[len(front) :] == tuple(shape) else other_shape(where, kind, given, shape, front)

    def __post_init__(self) -> None:
        given, name = self.rasters, self.name
        if isinstance(given, list | tuple):
            read: Rasters = [_as_counts(f"{name}, sample {n}", raster) for n, raster in enumerate(given)]
        elif isinstance(given, _Made):
            read = given
        elif hasattr(given, "__array__"):
            read = _as_counts(name, given)
        else:
            read = _Made(len(given), lambda index: _as_counts(f"{name}, sample {index}", given[index]))
        object.__setattr__(self, "rasters", read)

    def frame(self, index: int) -> NDArray[Any]:
        """What a network without time is shown: a sample's image, else the mean of its steps."""
        return self.rasters[index].mean(axis=0) if self.images is None else self.images[index]


@dataclass(frozen=True)
class _Made:
    """Rasters that are made one by one."""

    count: int
    make: Callable[[int], NDArray[Any]]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int, /) -> NDArray[Any]:
        return self.make(index)


def encoded(image: NDArray[Any], options: DataOptions, index: int = 0) -> NDArray[np.uint8]:
    """An image (features, height, width), 0..1, as spikes (time, features, height, width)."""
    draw, values = np.random.default_rng((options.seed, index)), np.asarray(image, np.float64)
    raster = np.empty((options.steps or STEPS, *values.shape), np.uint8)
    for step, frame in enumerate(raster):
        if options.encode == "poisson":
            frame[...] = draw.random(values.shape) < values
        else:
            frame[...] = np.floor((step + 1) * values) - np.floor(step * values)
    return raster


@checked
def read_labelled(
    source: str | Path,
    shape: Shape3 | None = None,
    options: DataOptions | None = None,
    *,
    needs_labels: bool = True,
) -> LabelledData:
    """Half of the digits that ship with the package, a .npz file, or a folder of recordings.

    Parameters
    ----------
    source
        "digits" is the half that the network "digits" was not trained on, "digits-train" the other one. A
        .npz file holds `labels` and either `rasters` (samples, time, features, height, width) or `images`
        (samples, features, height, width) of values 0..1. A folder holds one sub-folder a class, in natural
        order of their names, with recordings.
    shape
        (features, height, width) that recordings are put into.
    needs_labels
        Refuse a .npz file without labels.

    Raises
    ------
    EventError
        It cannot be read or holds something else.
    """
    chosen, path = options or DataOptions(), Path(source)
    # A path is one, whatever it is called.
    if isinstance(source, str) and source in DIGITS:
        return _digits(source, chosen)
    source = str(source)
    if os.path.isdir(path):
        return _folder(path, shape, chosen)
    _require_file(path, source)
    arrays = arrays_of(path, "images=x.numpy(), labels=y.numpy()")
    kind = "images" if "images" in arrays and "rasters" not in arrays else "rasters"
    is_labelled = needs_labels or "labels" in arrays
    if lacking := {kind, *(["labels"] if is_labelled else [])} - arrays.keys():
        problem = f"is no labelled data: it lacks {' and '.join(sorted(lacking))}"
        problem += f", and holds {join_names(sorted(arrays))}" if arrays else ""
        raise EventError(Finding(source, problem, next_step=_WRITTEN))
    given = arrays[kind]
    labels = arrays["labels"] if is_labelled else np.zeros(given.shape[:1], np.int64)
    if given.ndim and not len(given):
        raise EventError(Finding(source, "holds no samples", f"{kind} of shape {given.shape}", "1 or more"))
    axes = "features, height, width" if kind == "images" else "time, features, height, width"
    if given.ndim != axes.count(",") + 2 and shape is not None:
        front = ("samples",) if kind == "images" else ("samples", "time")
        raise EventError(other_shape(f"{source}: {kind}", kind, given.shape, shape, front))
    if given.ndim != axes.count(",") + 2 or labels.shape != given.shape[:1] or not given.size:
        limit = f"{kind} (samples, {axes}), one label each"
        is_one_hot = labels.ndim == 2 and len(labels) == len(given) and given.size
        step = "Write labels=labels.argmax(1)" if is_one_hot else ""
        raise EventError(Finding(source, "has other shapes", (given.shape, labels.shape), limit, "", step))
    labels = _whole_labels(source, labels)
    if kind == "rasters":
        return LabelledData(path.stem, _counts(source, given), labels, is_labelled=is_labelled, source=source)
    check_image(source, given)
    made = _Made(len(labels), lambda index: encoded(given[index], chosen, index))
    return LabelledData(path.stem, made, labels, images=given, is_labelled=is_labelled, source=source)


def _whole_labels(source: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu":
        is_whole = labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())
        step = "Write labels=labels.astype(int)" if is_whole else ""
        problem = "has labels that are no whole numbers"
        raise EventError(Finding(source, problem, str(labels.dtype), next_step=step))
    return labels.astype(np.int64)


def _require_file(path: Path, source: str) -> None:
    """Refuse a path at which nothing is, and a recording, which is one sample without a label."""
    problem = unreachable(path)
    if problem is not None:
        if "?" not in problem and (close := get_close_matches(source, DIGITS, n=1, cutoff=0.75)):
            problem += f". Did you mean {close[0]}?"
        raise EventError(Finding(source, f"is no labelled data: {problem}", next_step=_WRITTEN))
    if path.suffix.lower() in (".csv", ".aedat4", ".aedat"):
        step = "Put recordings into a folder, in one sub-folder a class"
        raise EventError(Finding(source, "is a recording without a label", next_step=step))


def _digits(name: str, options: DataOptions) -> LabelledData:
    with np.load(str(files("mapper") / "data" / DIGITS[name]), allow_pickle=False) as data:
        images, labels = data["images"][:, None] / 16.0, data["labels"].astype(np.int64)
    how = replace(options, steps=options.steps or _DIGITS_STEPS)
    rasters: Rasters = _Made(len(labels), lambda index: encoded(images[index], how, index))
    # Of any number of steps memory would have no bound.
    rasters = rasters if options.steps else np.stack([rasters[n] for n in range(len(labels))])
    return LabelledData(name, rasters, labels, images=images)


def _counts(where: str, raster: NDArray[Any]) -> NDArray[Any]:
    """Spike counts as whole numbers, whatever type they came in."""
    if not raster.size or not are_spike_counts(raster):
        raise EventError(Finding(where, f"rasters {NO_COUNTS}"))
    samples = raster if raster.ndim > 4 else raster[None]
    if (most := max(int(sample.sum(dtype=np.float64)) for sample in samples)) > _SPIKES_MAX:
        raise EventError(Finding(where, "has a sample of too many spikes", most, _SPIKES_MAX))
    # In the order of this machine's bytes.
    return raster.astype(np.int64 if raster.dtype.kind == "f" else raster.dtype.newbyteorder("="))


def _array(where: str, given: Any) -> NDArray[Any]:
    try:
        return plain_array(given)
    except ValueError as error:
        raise EventError(Finding(where, str(error))) from None


def _as_counts(where: str, raster: Any) -> NDArray[Any]:
    """A raster that somebody made, as an array; integers stay what they are, and are looked at on use."""
    array = _array(where, raster)
    return array if array.dtype.kind in "biu" else _counts(where, array)


def _folder(path: Path, shape: Shape3 | None, options: DataOptions) -> LabelledData:
    classes = sorted((entry.name for entry in path.iterdir() if entry.is_dir()), key=natural_key)
    samples = [
        (file, number)
        for number, name in enumerate(classes)
        for file in sorted((path / name).iterdir(), key=lambda file: natural_key(file.name))
        if file.suffix.lower() in _SUFFIXES
    ]
    if not samples or shape is None:
        step = f"One sub-folder a class, with recordings that end in {', '.join(_SUFFIXES)}"
        raise EventError(Finding(str(path), "holds no recordings in folders of classes", next_step=step))

    def make(index: int) -> NDArray[Any]:
        file = samples[index][0]
        try:
            return _raster(read_events(file), shape, options)
        except EventError as error:
            raise error.of(str(file)) from None

    labels = np.array([number for _, number in samples], np.int64)
    return LabelledData(path.name, _Made(len(samples), make), labels, tuple(classes))


def _raster(events: Any, shape: Shape3, options: DataOptions) -> NDArray[Any]:
    """Events in steps from the first one on."""
    if not len(events):
        raise EventError(Finding("events", "there are none"))
    shifted = events.copy()
    shifted["t"] -= events["t"][0]
    return raster_from_events(shifted, shape, options.dt_us, drop_outside=options.drop_outside).counts


@checked
def labelled_data(
    dataset: Any, shape: Shape3, options: DataOptions | None = None, name: str = "data set"
) -> LabelledData:
    """Labelled data of what tonic, torch and torchvision call a data set.

    Parameters
    ----------
    dataset
        Has a length, and gives (sample, label) by index. A sample is events (an array with fields), a raster
        (time, features, height, width) of spike counts, or an image (features, height, width) of 0..1; a
        label is a whole number. It is asked for every sample twice, once for the labels.
    shape
        (features, height, width) of the network's input.

    Raises
    ------
    EventError
        A sample or a label is something else; on use, where it is a sample.
    """
    from mapper.events import events_from  # noqa: PLC0415

    chosen = options or DataOptions()

    def make(index: int) -> NDArray[Any]:
        sample, where = dataset[index][0], f"{name}, sample {index}"
        array = _array(where, sample)
        if array.dtype.names is not None:
            return _raster(events_from(sample, source=where), shape, chosen)
        axes = ("time",) if array.ndim == 4 else ()
        if array.ndim in (3, 4) and array.shape[len(axes) :] != tuple(shape):
            raise EventError(other_shape(where, "raster" if axes else "image", array.shape, shape, axes))
        if array.ndim == 3:
            check_image(where, array)
            return encoded(array, chosen, index)
        if array.ndim != 4:
            limit = "events, (time, features, height, width) or (features, height, width)"
            raise EventError(Finding(where, "is no sample", array.shape, limit))
        return _counts(where, array)

    labels = np.array(list(_labels(dataset, name)), np.int64)
    if not len(labels):
        raise EventError(Finding(name, "holds no samples"))
    return LabelledData(name, _Made(len(labels), make), labels)


def _labels(dataset: Any, name: str) -> Iterator[int]:
    if (
        isinstance(dataset, str | bytes)
        or not hasattr(dataset, "__getitem__")
        or not hasattr(dataset, "__len__")
    ):
        step = "mapper.equivalence.read_labelled(path) reads files and folders"
        problem = "must have a length, and give (sample, label) by index"
        raise EventError(Finding("dataset", problem, quoted(dataset), next_step=step))
    for index in range(len(dataset)):
        try:
            label = _array(f"{name}, label {index}", dataset[index][1])
        except (TypeError, IndexError, KeyError):
            problem = "is no pair of a sample and its label"
            raise EventError(Finding(f"dataset: {name}, sample {index}", problem)) from None
        if label.size != 1 or label.dtype.kind not in "iu":
            raise EventError(Finding(f"{name}, label {index}", "is no whole number", str(label)))
        yield int(label.reshape(()))
