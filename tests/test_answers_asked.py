"""What answers are asked: as truth values, for what they have not, and for what is not there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import mapper
from mapper.emit import samna
from mapper.kept import KeptCores
from mapper.record import kept_cores, placement_record
from tests.test_first_mistakes import said
from tests.test_wrong_arguments import tiny


def test_a_kept_placement_of_another_network_says_whose_it_is() -> None:
    kept = kept_cores(placement_record(mapper.solve("digits")))
    with pytest.raises(mapper.OptionsError, match=r"keep: is a placement of digits on speck2f: tiny has none of its layers \(got conv1, conv2, conv3, fc\)"):  # fmt: skip
        mapper.solve(tiny(), keep=kept)
    with pytest.raises(mapper.OptionsError, match="keep: is of another network: tiny has none of its layers"):
        mapper.solve(tiny(), keep=tuple(kept))
    digits = mapper.load_network("digits")
    mine = KeptCores((*kept, ("gone", 3)))
    mine.networks, mine.chip = kept.networks, kept.chip
    with pytest.warns(
        mapper.errors.MapperWarning,
        match="keep: is a placement of digits on speck2f, and is taken for mine on speck2e, "
        "without gone, which mine has not",
    ):
        mapper.solve(digits.replacing(name="mine"), "speck2e", keep=mine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mapper.solve("digits", keep=mine).find_chip_layers("fc") == [8]
        mapper.solve(digits.replacing(name="mine"), keep=tuple(mine))


def test_a_result_is_true_where_there_is_a_placement_and_a_misfit_names_itself() -> None:
    placed, misfit = (
        mapper.solve("digits"),
        mapper.check("digits", forbidden_cores=tuple(range(8)), repairs=0),
    )
    assert placed
    assert not misfit
    undecided = mapper.solve("digits", work_limit=1e-12)
    assert undecided.status is mapper.Status.UNDECIDED
    with pytest.raises(mapper.UndecidedError, match=r"^digits on speck2f: undecided: the work limit"):
        bool(undecided)
    for call in (
        partial(mapper.build_config, misfit),
        partial(misfit.find_chip_layer, "conv1"),
        misfit.require,
    ):
        with pytest.raises(mapper.InfeasibleError) as told:
            call()
        text = str(told.value)
        assert text.startswith("digits does not fit speck2f, proven (count). 4 layers need as many cores")
        assert text.endswith("are in report of the result and of this error")
        assert told.value.report is misfit.report
    large = [entry for _ in range(12) for entry in (nn.Conv2d(2, 2, 1, bias=False), nn.ReLU())]
    network = mapper.DynapcnnNetwork(nn.Sequential(*large), (2, 6, 6), relu_as_if=1.0)
    with pytest.raises(ValueError, match=r"^Sequential does not fit .*why_incompatible_with\(device\) gives"):
        network.place("speck2cmini")
    report = mapper.verify_equivalence(tiny(), steps=3, rate=0.5)
    assert report
    different: Any = "a difference"
    assert not replace(report, difference=different)


@pytest.mark.parametrize(
    ("make", "name", "meant"),
    [
        (lambda: mapper.solve(tiny()), "ok", "Did you mean status, or bool(result)?"),
        (lambda: mapper.solve(tiny()), "placement", "Did you mean solution, which is None without a placement, "),
        (lambda: mapper.solve(tiny()), "stauts", "Did you mean status?"),
        (lambda: mapper.solve(tiny()).solution, "placement", "Did you mean placements?"),
        (lambda: mapper.verify_equivalence(tiny(), steps=3, rate=0.5), "equal", "Did you mean is_equivalent?"),
        (tiny, "layer", "Did you mean layers?"),
        (tiny, "zebra", "There are by_name, compared_with, edges, "),
        (lambda: mapper.load_chip("speck2f"), "core", "Did you mean cores?"),
        (lambda: mapper.build_config(mapper.solve(tiny())), "zebra", "There are chip, chip_hash, hardware, "),
    ],
)  # fmt: skip
def test_an_attribute_that_is_not_there_is_told_which_was_meant(
    make: Callable[[], Any], name: str, meant: str
) -> None:
    value = make()
    with pytest.raises(AttributeError, match=rf"^a {type(value).__name__} has no {name}\. ") as told:
        getattr(value, name)
    assert meant in str(told.value)
    assert not hasattr(value, name)
    assert not hasattr(value, f"_{name}")


def test_a_property_that_fails_says_why_itself() -> None:
    class Broken(mapper.Network):
        @property
        def name_of_it(self) -> str:
            return self.name.zebra  # type: ignore[attr-defined, no-any-return]  # as tested

    broken = Broken(**{field.name: getattr(tiny(), field.name) for field in fields(tiny())})
    with pytest.raises(AttributeError, match="'str' object has no attribute 'zebra'"):
        _ = broken.name_of_it


@pytest.mark.parametrize(("stub", "missing"), [(False, "which is not installed"), (True, "of which only the installer stub is installed")])  # fmt: skip
def test_samna_that_is_not_there_is_missed_in_a_sentence(
    stub: bool, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samna, "find_samna", lambda: "stub" if stub else None)
    network = mapper.DynapcnnNetwork(tiny())
    config = mapper.build_config(mapper.solve(tiny()))
    calls: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: network.to("speck2fmodule:0"), 'to("speck2fmodule:0")'),
        (lambda: network.make_config("auto", "speck2f"), "make_config(...)"),
        (mapper.boards.list_boards, "a look for boards"),
        (lambda: mapper.boards.open_board("speck2fmodule:0", config), "a configuration for a board"),
    )
    for call, needed_for in calls:
        assert said(call).startswith(f"{needed_for} needs samna, {missing}. Install the vendor's library")


def relus(*, bias: bool, norm: bool = False, count: int = 1) -> nn.Sequential:
    norms = [nn.BatchNorm2d(2)] if norm else []
    entries = [entry for _ in range(count) for entry in (nn.Conv2d(2, 2, 1, bias=bias), *norms, nn.ReLU())]
    return nn.Sequential(*entries).eval()


@pytest.mark.parametrize(("bias", "norm"), [(True, False), (False, True), (False, False)])
@pytest.mark.filterwarnings("ignore:rounding")
def test_biases_of_rectifiers_are_told_to_need_the_slow_clock(bias: bool, norm: bool) -> None:
    torch.manual_seed(0)
    options = mapper.TorchOptions(1.0)
    result = mapper.solve(relus(bias=bias, norm=norm, count=4), input_shape=(2, 6, 6), torch=options)
    told = [str(reading) for reading in result.readings if "slow clock" in reading.taken]
    assert len(told) == (bias or norm)
    assert all(text.startswith("layer 0 (Conv2d), layer ") and "bias=False" in text for text in told)
    assert ("biases are added at ticks" in str(result)) == (bias or norm)


def test_a_misfit_by_biases_says_that_training_can_do_without() -> None:
    torch.manual_seed(0)
    options, hint = mapper.TorchOptions(1.0), "trained without biases (bias=False) ask for no bias words"
    told = mapper.check(
        relus(bias=True, count=4), "speck2cmini", input_shape=(2, 6, 6), torch=options, repairs=0
    )
    assert not told
    assert hint in " ".join(str(told).split())
    assert mapper.check(relus(bias=False, count=4), "speck2cmini", input_shape=(2, 6, 6), torch=options)
    large = mapper.check(relus(bias=False, count=12), "speck2cmini", input_shape=(2, 6, 6), torch=options)
    assert hint not in " ".join(str(large).split())
