from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mapper.report.layered import layered

WIDTH, GAP = 100, 10


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 12))
    node = st.integers(0, count - 1)
    return count, draw(st.lists(st.tuples(node, node), unique=True, max_size=30))


@given(graphs())
def test_links_go_down_and_nothing_of_a_level_touches(made: tuple[int, list[tuple[int, int]]]) -> None:
    count, links = made
    layout = layered(count, links, WIDTH, GAP)
    assert layout == layered(count, links, WIDTH, GAP)
    places: dict[int, list[tuple[int, int]]] = {}
    for level, centre in zip(layout.levels, layout.centres, strict=True):
        places.setdefault(level, []).append((centre, WIDTH))
    for n, (source, target) in enumerate(links):
        low, high = layout.levels[source], layout.levels[target]
        if source < target:
            assert low < high
        between = [level for level, _ in layout.bends.get(n, ())]
        step = 1 if high > low else -1
        assert between == list(range(low + step, high, step))
        for level, centre in layout.bends.get(n, ()):
            places.setdefault(level, []).append((centre, 16))
    assert sorted(places) == list(range(len(places)))
    for row in places.values():
        ordered = sorted(row)
        for (one, here), (other, there) in pairwise(ordered):
            # Middles are rounded.
            assert other - one >= (here + there) / 2 + GAP - 1
        assert ordered[0][0] - ordered[0][1] / 2 >= -1
        assert ordered[-1][0] + ordered[-1][1] / 2 <= layout.width + 1


def test_a_chain_is_straight_and_a_skip_passes_beside_it() -> None:
    layout = layered(4, [(0, 1), (1, 2), (2, 3)], WIDTH, GAP)
    assert layout.centres == (50,) * 4
    layout = layered(4, [(0, 1), (1, 2), (2, 3), (0, 3)], WIDTH, GAP)
    assert [level for level, _ in layout.bends[3]] == [1, 2]
    assert all(abs(centre - layout.centres[1]) >= 58 for _, centre in layout.bends[3])


def test_who_has_several_readers_stands_over_their_middle() -> None:
    for readers in (2, 3, 4, 5):
        spread = [(0, n + 1) for n in range(readers)]
        layout = layered(readers + 2, [*spread, *((n + 1, readers + 1) for n in range(readers))], WIDTH, GAP)
        middle = sum(layout.centres[1:-1]) / readers
        assert layout.centres[0] == layout.centres[-1]
        assert abs(layout.centres[0] - middle) <= 1
        assert layout.width == readers * WIDTH + (readers - 1) * GAP
