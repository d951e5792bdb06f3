"""The table of accuracies: every number of it once more, by a few lines of its own."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mapper
from mapper.cli.entry import run
from mapper.emit.write.build import build_config
from mapper.emit.write.options import EmitOptions
from mapper.equivalence import (
    DataOptions,
    Difference,
    EquivalenceReport,
    LabelledData,
    labelled_data,
    read_labelled,
)
from mapper.equivalence.exchange import lost_by_rounding, lost_spike_by_spike
from mapper.equivalence.judge import answers_after
from mapper.errors import EventError, OptionsError
from mapper.events import events_from_raster, write_events
from mapper.frontends.from_torch.as_trained import AsTrained
from mapper.passes import PrepareOptions, prepare
from tests.sim.event_oracle import Oracle

WORDS: dict[str, Any] = {"torch": mapper.TorchOptions(relu_as_if=1.0), "input_shape": (1, 4, 4)}
Capture = pytest.CaptureFixture[str]
STEPS, CLASSES, SAMPLES = 8, 3, 24


def module() -> nn.Sequential:
    torch.manual_seed(19)
    made = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(48, CLASSES, bias=False),
        nn.ReLU(),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4.0)
    return made.eval()


def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).random((SAMPLES, 1, 4, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[EquivalenceReport, Path]:
    """A network of ReLUs on images whose classes are what it answers as it was trained."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    with torch.no_grad():
        # Before the last rectifier: where that leaves nothing, there is no answer.
        labels = module()[:-1](torch.from_numpy(images())).argmax(1).numpy()
    np.savez(path, images=images(), labels=labels)
    return mapper.verify_equivalence(module(), data=str(path), steps=STEPS, workers=0, **WORDS), path


def spikes_in_steps(kernel: Any, dense: Any, thresholds: Any, bounds: Any, image: Any) -> Any:
    """Output counts by step, by torch, of two layers; potentials stay on."""
    states = [torch.zeros(1, 3, 4, 4, dtype=torch.float64), torch.zeros(1, CLASSES, dtype=torch.float64)]
    trace = []
    for step in range(STEPS):
        frame = np.floor((step + 1) * image.astype(np.float64)) - np.floor(step * image.astype(np.float64))
        given = torch.from_numpy(frame)[None]
        for n, threshold in enumerate(thresholds):
            if n == 0:
                states[0] += nn.functional.conv2d(given, kernel, padding=1)
            else:
                states[1] += given.flatten(1) @ dense.T
            given = torch.where(states[n] > 0, torch.trunc(states[n] / threshold), 0.0)
            states[n] = torch.clamp(states[n] - given * threshold, min=bounds[n])
        trace.append(given[0].numpy())
    return np.array(trace)


def weights() -> tuple[Any, Any]:
    kernel, dense = (parameter.detach().double() for parameter in module().parameters())
    return kernel, dense


def integers() -> tuple[Any, Any, list[float], list[float]]:
    """127 of the largest weight, and thresholds of 1 on the same scale."""
    whole, scales = [], []
    for weight in weights():
        scale = min(127 / float(weight.max()), 128 / float(-weight.min()), 127 / float(weight.abs().max()))
        if float(-weight.min()) <= float(weight.max()) * 128 / 127:
            scale = 127 / float(weight.max())
        else:
            scale = 128 / float(-weight.min())
        whole.append(torch.round(weight * scale))
        scales.append(scale)
    return whole[0], whole[1], [round(s) for s in scales], [-round(s) for s in scales]


@cache
def traces(kind: str) -> list[Any]:
    kernel, dense = weights()
    if kind == "float":
        return [spikes_in_steps(kernel, dense, (1.0, 1.0), (-1.0, -1.0), image) for image in images()]
    first, second, thresholds, bounds = integers()
    if kind in ("integer", "steps"):
        return [spikes_in_steps(first, second, thresholds, bounds, image) for image in images()]
    return [trace for trace, _ in one_by_one()]


@cache
def one_by_one() -> list[tuple[Any, Oracle]]:
    result = mapper.solve(module(), **WORDS)
    config = build_config(result, EmitOptions(dt_us=1000.0))
    first, last = (result.find_chip_layer(name) for name in ("0", "3"))
    runs = []
    for image in images().astype(np.float64):
        oracle = Oracle(config)
        for step in range(STEPS):
            for f, y, x in np.argwhere(np.floor((step + 1) * image) - np.floor(step * image)):
                oracle.arrive(step, first, int(f), int(y), int(x))
        trace = np.zeros((STEPS, CLASSES))
        for step, feature, _, _ in oracle.spikes[last]:
            trace[step, feature] += 1
        runs.append((trace, oracle))
    return runs


def final(kind: str) -> Any:
    sums = np.array([trace.sum(0) for trace in traces(kind)])
    return np.where(sums.any(1), sums.argmax(1), -1)


def as_trained() -> Any:
    with torch.no_grad():
        values = module()(torch.from_numpy(images())).numpy()
    return np.where(values.any(1), values.argmax(1), -1)


def labels(path: Path) -> Any:
    with np.load(path) as data:
        return data["labels"]


def test_every_row(judged: tuple[EquivalenceReport, Path]) -> None:
    report, path = judged
    right = {kind: final(kind) == labels(path) for kind in ("float", "integer", "steps", "spikes")}
    right = {"source": as_trained() == labels(path), **right}
    assert 0.5 < right["source"].mean() < 1
    assert [row.kind for row in report.accuracies] == [*right]
    assert 0.5 < right["float"].mean() < 1
    above: Any = None
    for row in report.accuracies:
        mine = right[row.kind]
        assert (row.samples, row.correct, row.share) == (SAMPLES, mine.sum(), mine.mean())
        # Wilson: the shares whose test by a normal does not refute what was seen.
        for bound in row.interval:
            assert (bound - mine.mean()) ** 2 == pytest.approx(
                1.959964**2 * bound * (1 - bound) / SAMPLES, abs=1e-7
            )
        if above is None:
            assert row.difference is None
        else:
            assert row.difference is not None
            gained, lost, n = int((mine & ~above).sum()), int((above & ~mine).sum()), SAMPLES
            assert row.difference.value == pytest.approx(mine.mean() - above.mean())
            middle = (gained - lost) / (n + 2)
            spread = math.sqrt((gained + lost + 1) - (gained - lost) ** 2 / (n + 2)) / (n + 2)
            assert row.difference.interval == pytest.approx(
                (middle - 1.959964 * spread, middle + 1.959964 * spread)
            )
        above = mine


def test_what_stands_beside_the_table(judged: tuple[EquivalenceReport, Path]) -> None:
    report, path = judged
    found, truth = report.judgement, labels(path)
    assert found is not None
    runs = one_by_one()
    answers = final("spikes")
    confusion = [[int(((truth == a) & (answers == b)).sum()) for b in (0, 1, 2, -1)] for a in range(CLASSES)]
    assert [list(row) for row in found.confusion] == confusion
    for kind in ("float", "spikes"):
        sums = np.array([np.cumsum(trace, 0) for trace in traces(kind)])
        after = np.where(sums.any(2), sums.argmax(2), -1)
        assert found.by_step[kind] == pytest.approx((after == truth[:, None]).mean(0))
    assert found.unanswered["spikes"] == int((answers == -1).sum())
    spikes = np.mean([sum(map(len, oracle.spikes.values())) for _, oracle in runs])
    assert sum(entry.spikes for entry in found.effort) == pytest.approx(spikes)
    # A spike of the input reaches 3 features of all places it is within one of; one of the first layer 3 neurons.
    reach = np.array([2, 3, 3, 2])[:, None] * np.array([2, 3, 3, 2]) * 3
    counts = np.floor(STEPS * images().astype(np.float64)).sum((0, 1))
    synops = {entry.layer: entry.synops for entry in found.effort}
    assert synops["0"] == pytest.approx((counts * reach).sum() / SAMPLES)
    first = next(entry.spikes for entry in found.effort if entry.layer == "0")
    assert synops["3"] == pytest.approx(3 * first)
    (_, rates) = found.rates
    assert rates.float_rate == pytest.approx(np.mean([trace.mean() for trace in traces("float")]))
    ones, others = (np.array([t.sum(0) for t in traces(kind)]) for kind in ("float", "integer"))
    assert rates.correlation == pytest.approx(np.corrcoef(ones.ravel(), others.ravel())[0, 1])
    assert found.enough_steps("spikes", 2.0) == 1


def test_the_layer_that_loses_most(judged: tuple[EquivalenceReport, Path]) -> None:
    """The loss from values to spikes is beyond chance here: each layer alone, by hand, on what was lost."""
    report, path = judged
    row = next(row for row in report.accuracies if row.kind == "float")
    assert row.difference is not None
    assert row.difference.is_loss
    assert row.lost_in is not None
    assert all(other.lost_in is None for other in report.accuracies if other is not row)
    kernel, dense = weights()
    lost = {"0": 0, "3": 0}
    wrong = np.flatnonzero((as_trained() == labels(path)) & (final("float") != labels(path)))
    for n in wrong:
        current = nn.functional.conv2d(
            torch.from_numpy(images()[n].astype(np.float64))[None], kernel, padding=1
        )
        for name in lost:
            hidden = spiking(current) if name == "0" else torch.relu(current)
            out = hidden.flatten(1) @ dense.T
            out = spiking(out) if name == "3" else torch.relu(out)
            lost[name] += int(out.argmax()) != labels(path)[n] or not out.any()
    assert (row.lost_in.layer, row.lost_in.lost) == max(lost.items(), key=lambda item: item[1])
    assert row.lost_in.of == len(wrong)


def spiking(current: Any) -> Any:
    potential, total = torch.zeros_like(current), torch.zeros_like(current)
    for _ in range(STEPS):
        potential = potential + current
        spikes = torch.where(potential > 0, torch.trunc(potential), 0.0)
        potential = torch.clamp(potential - spikes, min=-1.0)
        total += spikes
    return total / STEPS


def rasters() -> list[Any]:
    sums = np.arange(STEPS + 1)[:, None, None, None]
    return [np.diff(np.floor(sums * image.astype(np.float64)), axis=0).astype(int) for image in images()]


def test_each_layer_by_its_own_semantics(judged: tuple[EquivalenceReport, Path]) -> None:
    """Rounding, and spikes one by one, of each layer alone, held against torch and the oracle."""
    result = mapper.solve(module(), **WORDS)
    config, integer = build_config(result, EmitOptions(dt_us=1000.0)), result.given[0]
    floating = prepare(
        mapper.load_network(module(), (1, 4, 4), torch=WORDS["torch"]), PrepareOptions(quantize=False)
    )
    kernel, dense = weights()
    first, second, thresholds, bounds = integers()
    mixed = {
        "0": (first, dense, (thresholds[0], 1.0), (bounds[0], -1.0)),
        "3": (kernel, second, (1.0, thresholds[1]), (-1.0, bounds[1])),
    }
    cores = [result.find_chip_layer(name) for name in ("0", "3")]
    for n, (image, raster) in enumerate(zip(images(), rasters(), strict=True)):
        traces_of = {("rounding", name): spikes_in_steps(*parts, image) for name, parts in mixed.items()}
        # One by one in the first layer: all that the second does to it is nothing. Then steps, by torch.
        hidden = np.zeros((STEPS, 48))
        for step, f, y, x in one_by_one()[n][1].spikes[cores[0]]:
            hidden[step, 16 * f + 4 * y + x] += 1
        traces_of["spikes", "0"] = in_steps(hidden, second, thresholds[1], bounds[1])
        hidden = hidden_in_steps(first, thresholds[0], bounds[0], raster)
        oracle = Oracle(config)
        # Several spikes of one neuron are spread over the step.
        places = ((place, int(hidden[tuple(place)])) for place in np.argwhere(hidden).tolist())
        spread = [(step, 1000 * i // count, rest) for (step, *rest), count in places for i in range(count)]
        for step, _, place in sorted(spread):
            oracle.arrive(step, cores[1], *place)
        traces_of["spikes", "3"] = np.zeros((STEPS, CLASSES))
        for step, feature, _, _ in oracle.spikes[cores[1]]:
            traces_of["spikes", "3"][step, feature] += 1
        for kind in ("rounding", "spikes"):
            sums = {name: traces_of[kind, name].sum(0) for name in ("0", "3")}
            answers = {name: int(s.argmax()) if s.any() else -1 for name, s in sums.items()}
            for label in range(CLASSES):
                expected = {name: int(answer != label) for name, answer in answers.items()}
                sample = [(raster, label)]
                found = (
                    lost_by_rounding(floating, integer, sample, lambda: None)
                    if kind == "rounding"
                    else lost_spike_by_spike(integer, config, sample, 1000, None, lambda: None)
                )
                worst = next((name for name, count in expected.items() if count), None)
                assert (None if found is None else (found.layer, found.lost, found.of)) == (
                    None if worst is None else (worst, 1, 1)
                )


def hidden_in_steps(kernel: Any, threshold: float, bound: float, raster: Any) -> Any:
    state, spikes = torch.zeros(1, 3, 4, 4, dtype=torch.float64), []
    for frame in raster:
        state += nn.functional.conv2d(torch.from_numpy(frame).double()[None], kernel, padding=1)
        fired = torch.where(state > 0, torch.trunc(state / threshold), 0.0)
        state = torch.clamp(state - fired * threshold, min=bound)
        spikes.append(fired[0].numpy())
    return np.array(spikes)


def in_steps(hidden: Any, dense: Any, threshold: float, bound: float) -> Any:
    state, trace = torch.zeros(CLASSES, dtype=torch.float64), []
    for frame in hidden:
        state += dense @ torch.from_numpy(frame)
        fired = torch.where(state > 0, torch.trunc(state / threshold), 0.0)
        state = torch.clamp(state - fired * threshold, min=bound)
        trace.append(fired.numpy())
    return np.array(trace)


def test_workers_change_nothing(
    judged: tuple[EquivalenceReport, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first samples run here, and the others on cores, as where the first have shown that it is worth it."""
    report, path = judged
    monkeypatch.setattr("mapper.equivalence.judging.CHUNK", 8)
    monkeypatch.setattr("mapper.equivalence.judging._WORTH_S", 0.0)
    started: list[int] = []

    def cores() -> int:
        started.append(1)
        return 2

    monkeypatch.setattr("mapper.equivalence.judging._cores", cores)

    class Seen(list[int]):
        total = 0

        def __call__(self, done: int) -> None:
            self.append(done)

        def expect(self, total: int) -> None:
            self.total = total

    seen = Seen()
    again = mapper.verify_equivalence(module(), data=str(path), steps=STEPS, progress=seen, **WORDS)
    assert (again.accuracies, again.judgement) == (report.accuracies, report.judgement)
    assert (seen, seen.total, started) == ([*range(1, SAMPLES + 1)], SAMPLES, [1])


def test_what_json_says(
    judged: tuple[EquivalenceReport, Path],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, path = judged
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "made.py").write_text(MODULE)
    words = ["verify", f"{tmp_path}/made.py:module", "--input-shape", "1,4,4", "--relu-as-if", "1"]
    words += ["--data", str(path), "--steps", str(STEPS)]
    assert run([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [*record["accuracy"]] == ["source", "float", "integer", "steps", "spikes"]
    for row in report.accuracies:
        low, high = row.interval
        told = record["accuracy"][row.kind]
        assert (told["value"], told["low"], told["high"]) == (row.share, low, high)
        assert 0 <= low <= row.share <= high <= 1
    lost_in = report.accuracies[1].lost_in
    assert lost_in is not None
    assert record["accuracy"]["float"]["lost_in"] == {
        "layer": lost_in.layer,
        "lost": lost_in.lost,
        "of": lost_in.of,
    }
    assert record["judgement"]["by_step"]["spikes"][-1] == record["accuracy"]["spikes"]["value"]
    assert run([*words, "--plot", str(tmp_path / "p.png")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    row = report.accuracies[1]
    assert row.difference is not None
    share, start, end = (f"{100 * number:.1f}" for number in (row.share, *row.interval))
    less, least, most = (f"{100 * n:+.1f}" for n in (row.difference.value, *row.difference.interval))
    where = f"{report.titles[lost_in.layer]}: {lost_in.lost} of {lost_in.of}"
    table = f"spiking, float {share} {start} to {end} {less} ({least} to {most}) {where}"
    assert table in told
    assert report.judgement is not None
    unanswered = report.judgement.unanswered["spikes"]
    assert f"no output spike, and so no answer, for {unanswered} of {SAMPLES} samples" in told
    assert (tmp_path / "p.png").stat().st_size > 20_000


MODULE = """
import torch
from torch import nn
def module():
    torch.manual_seed(19)
    made = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(),
                         nn.Linear(48, 3, bias=False), nn.ReLU())
    with torch.no_grad():
        made[0].weight.mul_(4.0)
        made[3].weight.mul_(4.0)
    return made.eval()
"""


def test_digits_are_images_of_any_number_of_steps() -> None:
    plain, longer = read_labelled("digits"), read_labelled("digits", options=DataOptions(steps=64))
    assert (plain.rasters[0].shape[0], longer.rasters[0].shape[0]) == (16, 64)
    assert longer.rasters[3].sum() == 4 * plain.rasters[3].sum()
    drawn = read_labelled("digits", options=DataOptions(encode="poisson", seed=1))
    assert drawn.rasters[0].shape[0] == 16
    assert not np.array_equal(drawn.rasters[0], plain.rasters[0])
    assert np.array_equal(drawn.labels, longer.labels)


def test_images_become_spikes() -> None:
    from mapper.equivalence.labelled import encoded  # noqa: PLC0415

    image = np.array([[[0.0, 0.25, 1 / 3, 1.0]]])
    raster = encoded(image, DataOptions(steps=12))
    assert raster[:, 0, 0].sum(0).tolist() == [0, 3, 4, 12]
    assert np.flatnonzero(raster[:, 0, 0, 1]).tolist() == [3, 7, 11]
    drawn = [encoded(image, DataOptions(steps=4000, encode="poisson", seed=4), n) for n in (7, 8)]
    assert drawn[0].tolist() != drawn[1].tolist()
    assert np.array_equal(drawn[0], encoded(image, DataOptions(steps=4000, encode="poisson", seed=4), 7))
    assert drawn[0].mean(0)[0, 0] == pytest.approx(image[0, 0], abs=0.03)
    assert drawn[0].max() == 1
    with pytest.raises(OptionsError) as caught:
        DataOptions(steps=0, encode="rank", seed=-1)  # type: ignore[arg-type]
    assert len(caught.value.findings) == 3


def test_a_folder_of_recordings(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    made = {}
    for name, count in (("10", 2), ("2", 3)):
        (tmp_path / name).mkdir()
        for n in range(count):
            made[name, n] = draw.integers(0, 2, (3 + n, 2, 4, 4))
            write_events(tmp_path / name / f"{n}.npy", events_from_raster(made[name, n], 1000, 5_000))
        (tmp_path / name / "about.txt").write_text("none")
    data = read_labelled(str(tmp_path), (2, 4, 4), DataOptions(dt_us=1000))
    assert (data.classes, data.labels.tolist()) == (("2", "10"), [0, 0, 0, 1, 1])
    for n, key in enumerate([("2", 0), ("2", 1), ("2", 2), ("10", 0), ("10", 1)]):
        assert data.rasters[n].tolist() == made[key].tolist()
    with pytest.raises(EventError, match=r"10/1\.npy"):
        _ = read_labelled(str(tmp_path), (2, 3, 4)).rasters[4]
    with pytest.raises(EventError, match="One sub-folder a class"):
        read_labelled(str(tmp_path / "2"), (2, 4, 4))


def test_data_sets_of_python() -> None:
    raster = np.random.default_rng(1).integers(0, 2, (5, 2, 4, 4))
    events = events_from_raster(raster, 1000)
    image = torch.rand(2, 4, 4)
    data = labelled_data([(events, 1), (torch.from_numpy(raster), torch.tensor(0)), (image, 2)], (2, 4, 4))
    assert data.labels.tolist() == [1, 0, 2]
    assert data.rasters[0].tolist() == data.rasters[1].tolist() == raster.tolist()
    assert data.rasters[2].shape == (50, 2, 4, 4)
    assert data.frame(1) == pytest.approx(raster.mean(0))
    for wrong, message in (
        ((np.zeros((2, 2)), 0), "is no sample"),
        ((np.full((2, 4, 4), 200), 0), r"Divide them by 255 \(of 8 bits\), or"),
        ((np.full((2, 4, 4), 2000, np.uint16), 0), r"Divide them by 65535 \(of 16 bits\)"),
        (
            (np.full((2, 4, 4), np.inf), 0),
            r"sample 0: holds values that are not finite \(got inf; allowed: 0\.\.1\)",
        ),
        ((np.full((1, 2, 4, 4), 0.5), 0), "whole numbers"),
        ((np.zeros((4, 4, 2)), 0), r"sample 0: has another shape .* Give image\.transpose\(2, 0, 1\)"),
    ):
        with pytest.raises(EventError, match=message):
            _ = labelled_data([wrong], (2, 4, 4)).rasters[0]
    with pytest.raises(EventError, match="label 0"):
        labelled_data([(events, 0.5)], (2, 4, 4))
    with pytest.raises(EventError, match="no samples"):
        labelled_data([], (2, 4, 4))


@pytest.mark.parametrize(("kind", "shape"), [("images", (0, 1, 4, 4)), ("rasters", (0, 5, 1, 4, 4))])
def test_files_without_samples(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    arrays: dict[str, Any] = {kind: np.zeros(shape), "labels": np.zeros(0, int)}
    np.savez(tmp_path / "none.npz", **arrays)
    with pytest.raises(EventError) as caught:
        read_labelled(str(tmp_path / "none.npz"))
    assert str(caught.value).endswith(f"holds no samples (got {kind} of shape {shape}; allowed: 1 or more)")
    arrays = {kind: np.zeros((2, *shape[1:-1], 0)), "labels": np.zeros(2, int)}
    np.savez(tmp_path / "none.npz", **arrays)
    with pytest.raises(EventError, match="has other shapes"):
        read_labelled(str(tmp_path / "none.npz"))


@pytest.mark.parametrize(
    ("changed", "said", "step"),
    [
        ({"labels": np.eye(3, dtype=int)}, "has other shapes", "Write labels=labels.argmax(1)"),
        ({"labels": np.arange(3.0)}, "no whole numbers (got float64)", "Write labels=labels.astype(int)"),
        ({"labels": np.array([0.5, 1, 2])}, "no whole numbers (got float64)", ""),
        ({"labels": None, "images": None, "x": np.zeros(3), "y": np.zeros(3)}, "and rasters, and holds x and y", "Write it by"),
    ],
)  # fmt: skip
def test_labels_of_other_forms(changed: dict[str, Any], said: str, step: str, tmp_path: Path) -> None:
    arrays = {"images": np.full((3, 1, 4, 4), 0.5), "labels": np.arange(3)} | changed
    np.savez(tmp_path / "made.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(EventError) as caught:
        read_labelled(str(tmp_path / "made.npz"))
    assert said in str(caught.value)
    assert step in str(caught.value)
    assert ("Write" in str(caught.value)) == bool(step)


def test_images_that_are_no_shares_are_told_what_they_look_like(tmp_path: Path) -> None:
    path, images = tmp_path / "made.npz", np.random.default_rng(2).random((3, 1, 4, 4)).astype(np.float32)
    images[:, 0, 0, 0] = 0, 1, 0
    labels = np.arange(3)

    def told(given: np.ndarray[Any, Any]) -> str:
        np.savez(path, images=given, labels=labels)
        with pytest.raises(EventError) as caught:
            read_labelled(str(path))
        return str(caught.value)

    normalised = (images - 0.5) / 0.5
    message = told(normalised)
    assert (
        "(got -1 to 1; allowed: 0..1). It looks normalised: undo Normalize(mean, std) by x * std" in message
    )
    assert "255" not in message
    np.savez(path, images=normalised * 0.5 + 0.5, labels=labels)
    assert len(read_labelled(str(path)).labels) == 3
    for bits, kinds in ((8, "u1 u2 i8 f4"), (16, "u2 i4 u4 f4 f8")):
        for kind in kinds.split():
            full = images * ((1 << bits) - 1)
            assert f"Divide them by {(1 << bits) - 1} (of {bits} bits), or" in told(full.astype(kind)), kind
    assert "Divide them by 4294967295 (of 32 bits)" in told((images * 1e9).astype(np.uint32))
    assert "Divide them by their largest value" in told(images * 1e9)
    for value in (np.nan, np.inf, -np.inf):
        damaged = normalised.copy()
        damaged[1, 0, 2, 3] = damaged[2, 0, 0, 0] = value
        message = told(damaged)
        assert f"holds values that are not finite, the first in sample 1 (got {value}; " in message
        assert "normalised" not in message


@pytest.mark.filterwarnings("ignore::mapper.errors.MapperWarning")
def test_samples_of_several_lengths() -> None:
    """What is short is no longer for what stands beside it, and keeps its answer in the curve."""
    lengths = [rasters()[0][:3], rasters()[1], rasters()[2][:3], rasters()[3][:5]]
    data = labelled_data([(raster, 0) for raster in lengths], (1, 4, 4))
    together = mapper.verify_equivalence(module(), data=data, workers=0, steps=20, **WORDS)
    alone = [
        mapper.verify_equivalence(module(), data=labelled_data([(raster, 0)], (1, 4, 4)), steps=99, **WORDS)
        for raster in lengths
    ]
    assert together.judgement is not None
    assert together.judgement.steps == STEPS
    for row, entries in zip(
        together.accuracies, zip(*(r.accuracies for r in alone), strict=True), strict=True
    ):
        assert row.correct == sum(entry.correct for entry in entries)
    assert together.judgement.by_step["spikes"][-1] == together.accuracies[-1].share


def test_classes_without_outputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "far.npz", rasters=np.ones((2, 3, 1, 8, 8), int), labels=np.array([3, 10]))
    with pytest.raises(EventError, match=r"a class without an output \(got 10; allowed: 0\.\.9"):
        mapper.verify_equivalence("digits", data=str(tmp_path / "far.npz"))


def test_no_spike_is_no_answer() -> None:
    trace = np.zeros((4, 3, 1, 1))
    trace[1, 2], trace[2, 1], trace[3, 1] = 1, 1, 1
    assert answers_after(trace).tolist() == [-1, 2, 1, 1]


def test_a_difference_is_a_loss_beyond_chance() -> None:
    assert not Difference(100, 2, 6).is_loss
    assert Difference(100, 2, 14).is_loss
    assert not Difference(100, 14, 2).is_loss
    low, high = Difference(100, 0, 0).interval
    assert low < 0 < high


def test_a_module_that_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is left out, and the reason is told."""

    class Odd(nn.Sequential):
        def forward(self, given: Any) -> Any:
            raise ValueError("four at most")

    data = LabelledData("few", np.stack(rasters()[:5]), np.zeros(5, np.int64))
    monkeypatch.setattr("mapper.api.as_trained", lambda *_: AsTrained(Odd(*module())))
    report = mapper.verify_equivalence(module(), data=data, workers=0, **WORDS)
    assert [row.kind for row in report.accuracies] == ["float", "integer", "steps", "spikes"]
    assert any("Odd: cannot be run as trained: four at most" in note for note in report.notes)


class StatefulLayer(nn.Module):
    """As neurons of sinabs are told: by this name."""

    __module__ = "sinabs.layers"

    def __init__(self, *, is_flat: bool, num_timesteps: int | None = None) -> None:
        super().__init__()
        self.is_flat, self.batch_size, self.num_timesteps = is_flat, 1, num_timesteps
        self.potential: Any = 0.0

    def reset_states(self) -> None:
        self.potential = 0.0

    def forward(self, given: Any) -> Any:
        if not self.is_flat and given.ndim != 3:
            raise ValueError("takes (batch, time, features)")
        if self.num_timesteps is not None and len(given) != self.num_timesteps:
            raise ValueError("takes as many steps at a time as it was made for")
        steps = []
        for frame in given if self.is_flat else given[0]:
            self.potential = self.potential + frame
            fired = torch.floor(torch.clamp(self.potential, min=0))
            self.potential = self.potential - fired
            steps.append(fired)
        return torch.stack(steps) if self.is_flat else torch.stack(steps)[None]


@pytest.mark.parametrize(("is_flat", "at_once"), [(True, None), (False, None), (True, 2)])
def test_a_spiking_module_as_it_was_trained(is_flat: bool, at_once: int | None) -> None:
    """It gets the steps of each sample, from rest, in the form that it takes, and stays as it is."""
    weight = torch.from_numpy(np.random.default_rng(7).normal(size=(CLASSES, 16))).float()
    dense = nn.Linear(16, CLASSES, bias=False)
    dense.weight.data.copy_(weight)
    made = nn.Sequential(nn.Flatten(-3), dense, StatefulLayer(is_flat=is_flat, num_timesteps=at_once))
    trained = AsTrained(made)
    assert not trained.is_analog
    given = [raster[: 6 + 2 * (n % 2)] for n, raster in enumerate(rasters())]
    expected = []
    for raster in given:
        potential, total = np.zeros(CLASSES), np.zeros(CLASSES)
        for frame in raster:
            potential += weight.numpy().astype(float) @ frame.reshape(-1)
            fired = np.floor(np.maximum(potential, 0))
            potential, total = potential - fired, total + fired
        expected.append(int(total.argmax()) if total.any() else -1)
    assert trained.answers(given, []) == expected
    assert len({*expected}) > 1
    assert isinstance(made[2].potential, float)
