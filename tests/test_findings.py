"""What is wrong, in words."""

from __future__ import annotations

from hwspec.errors import Finding, gathered, sentence_list


def test_one_cause_is_told_once() -> None:
    same = [
        Finding(f"net: layer {name}", "has none", next_step="Add one") for name in ("a", "b (Conv2d)", "c")
    ]
    other = Finding("net: layer d", "has two", 2, 1)
    assert [str(found) for found in gathered([same[0], other, *same[1:]])] == [
        "net: layers a, b (Conv2d) and c, each: has none. Add one",
        "net: layer d: has two (got 2; allowed: 1)",
    ]
    assert sentence_list(same) == "net: layers a, b (Conv2d) and c, each: has none. Add one"
    apart = [Finding("file a", "cannot be read"), Finding("file b", "cannot be read")]
    assert gathered([*apart, other]) == (*apart, other)
    assert gathered([other, other]) == (other,)
