"""One path: `fits` says what `decide` finds, with or without limits, and `decide` finds the same in any detail."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from mapper.question import Question, decide, fits
from mapper.reasons import Status
from tests.property.divided_instances import random_divided_instance
from tests.property.question_instances import Instance, random_question_instance

BLOCKS = 4
COUNT = 320


def instance(seed: int) -> Instance:
    """Every third time of one network alone, in which pieces, copies and aligned relays matter most."""
    networks, chip, options = (
        random_divided_instance(seed) if seed % 3 == 0 else random_question_instance(seed)
    )
    return networks, chip, replace(options, repairs=0)


@pytest.mark.no_cover
@pytest.mark.parametrize("block", range(BLOCKS))
def test_fits_is_what_decide_finds(block: int) -> None:
    verdicts: Counter[bool] = Counter()
    for seed in range(10_000 + block, 10_000 + COUNT, BLOCKS):
        question = Question(*instance(seed))
        result = decide(question, "reasons")
        assert fits(question) is (result.solution is not None), seed
        assert result.status in (Status.OPTIMAL, Status.INFEASIBLE), seed
        verdicts[result.solution is not None] += 1
    assert min(verdicts[True], verdicts[False]) > COUNT // BLOCKS // 5


@pytest.mark.parametrize("objective", ["headroom", "balance", "index"])
def test_no_objective_changes_the_verdict(objective: str) -> None:
    placed = 0
    for seed in range(20_000, 20_060):
        networks, chip, options = random_question_instance(seed)
        question = Question(networks, chip, replace(options, objective=objective))  # type: ignore[arg-type]  # literal
        result = decide(question, "reasons")
        assert (result.solution is not None) is fits(Question(networks, chip, options)), seed
        assert fits(question) is (result.solution is not None), seed
        placed += result.solution is not None
    assert placed > 10


def test_all_reasons_come_with_the_same_verdict() -> None:
    refused = 0
    for seed in range(30_000, 30_060):
        question = Question(*instance(seed))
        short, whole = decide(question, "reasons"), decide(question, "all")
        assert (short.status, short.solution) == (whole.status, whole.solution), seed
        if whole.solution is None:
            assert whole.report is not None
            assert whole.report.sentences(), seed
            refused += 1
    assert refused > 15


@pytest.mark.no_cover
def test_the_order_of_networks_does_not_change_the_verdict() -> None:
    several = 0
    for seed in range(40_000, 40_200):
        networks, chip, options = random_question_instance(seed)
        if len(networks) == 1:
            continue
        several += 1
        assert fits(Question(networks, chip, options)) is fits(Question(networks[::-1], chip, options)), seed
    assert several > 50
