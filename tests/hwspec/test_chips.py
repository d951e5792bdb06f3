"""Every chip file holds; names resolve; variants are validated anew; wrong input is named."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest

from hwspec.catalog import load, names, resolve_device
from hwspec.check import check, json_schema, source_of, unsourced
from hwspec.errors import SpecError
from hwspec.variant import apply_overrides

KI = 1024
WHOLE = (files("hwspec") / "chips" / "speck2f.toml").read_text(encoding="utf-8")


class Facts(NamedTuple):
    """What a chip's sources state, written down a second time: memories in 1024 words, core by core."""

    kernel: tuple[int, ...]
    neuron: tuple[int, ...]
    bias: tuple[int, ...]
    fan_out: int
    parallel: frozenset[int] = frozenset()
    has_readout: bool = False


NINE = Facts((16, 16, 16, 32, 32, 64, 64, 16, 16), (64, 64, 64, 32, 32, 16, 16, 16, 16), (1,) * 9, 2)
MINI = Facts((16, 32, 32, 64, 16), (64, 32, 32, 16, 16), (0, 0, 0, 1, 1), 2)
READOUT = NINE._replace(parallel=frozenset({0, 1}), has_readout=True)

# One line a chip.
CHIPS = {
    "dynapcnn": NINE,
    "speck2": NINE,
    "speck2b": NINE,
    "speck2cmini": MINI,
    "speck2dmini": MINI,
    "speck2e": READOUT,
    "speck2f": READOUT,
}


def test_every_chip_is_written_down_twice() -> None:
    assert names() == tuple(CHIPS)


@pytest.mark.parametrize("name", CHIPS)
def test_conformance(name: str) -> None:
    spec, facts = load(name), CHIPS[name]
    for field, words in (("kernel", facts.kernel), ("neuron", facts.neuron), ("bias", facts.bias)):
        assert [getattr(core, f"{field}_words") for core in spec.cores] == [KI * number for number in words]
    bits = zip(facts.kernel, facts.neuron, facts.bias, strict=True)
    assert [core.capacity_bits for core in spec.cores] == [KI * (8 * k + 16 * (n + b)) for k, n, b in bits]
    assert check(spec) == ()
    assert spec.core_count == len(facts.kernel)
    assert sorted(c for entry in spec.core_classes for c in entry.core_ids) == list(range(spec.core_count))
    assert all(core.fan_out == facts.fan_out for core in spec.cores)
    assert {n for n, core in enumerate(spec.cores) if core.parallel} == facts.parallel
    assert (spec.readout is not None) == facts.has_readout
    assert all(name in fact.statement for fact in spec.assumed_facts())
    assert spec.content_hash() == load(name).content_hash()


@pytest.mark.parametrize(
    ("device", "chip"),
    [
        ("speck2fmodule:0", "speck2f"),
        ("speck2fdevkit", "speck2f"),
        ("dynapcnndevkit:1", "dynapcnn"),
        ("speck2edevkit", "speck2e"),
        ("speck2btiny", "speck2b"),
        ("Speck2DevKit", "speck2"),
        ("speck2cmini:0", "speck2cmini"),
    ],
)
def test_device_names(device: str, chip: str) -> None:
    assert resolve_device(device) == chip


def test_unknown_names_list_close_ones() -> None:
    with pytest.raises(SpecError, match="Did you mean speck2f"):
        load("spek2f")
    with pytest.raises(SpecError, match="no chip or device"):
        load("zzz:one")


def test_speck2_says_that_its_memory_is_assumed() -> None:
    assert any("kernel_words" in fact.path for fact in load("speck2").assumed_facts())
    assert not any("kernel_words" in fact.path for fact in load("speck2f").assumed_facts())


def test_overrides() -> None:
    spec = load(
        "speck2f",
        [
            "core[5].kernel_words=128Ki",
            "core[0..2].neuron_words=1024",
            "routing.fan_out=4",
            "limits.padding_max=3",
        ],
    )
    assert spec.cores[5].kernel_words == 128 * KI
    assert spec.cores[6].kernel_words == 64 * KI
    assert [core.neuron_words for core in spec.cores[:4]] == [1024, 1024, 1024, 32 * KI]
    assert {core.fan_out for core in spec.cores} == {4}
    assert {core.limits.padding_max for core in spec.cores} == {3}
    assert spec.emission is None
    assert any(fact.path == "core[5].kernel_words" for fact in spec.assumed_facts())
    assert spec.name == "speck2f+changes"


@pytest.mark.parametrize("words", ["128Ki", "128K", "128k", "128KiB", "128 Ki", "131072"])
def test_memories_in_the_spellings_of_people(words: str) -> None:
    assert load("speck2f", [f"core[5].kernel_words={words}"]).cores[5].kernel_words == 128 * KI


@pytest.mark.parametrize("words", ["2Mi", "2M", "2MiB", "2 Mi", "2048K"])
def test_memories_of_mebiwords(words: str) -> None:
    assert load("speck2f", [f"core[5].kernel_words={words}"]).cores[5].kernel_words == 2048 * KI


@pytest.mark.parametrize(
    ("words", "told"),
    [
        *((words, "counted in words: write 2Mi for 2 x 1048576 of them") for words in ("2MB", "2m", "2mb")),
        ("4kb", "write 4Ki for 4 x 1024 of them"),
        *((words, "whole number") for words in ("2G", "-2Mi", "2.5Mi")),
    ],
)
def test_what_is_no_number_of_words(words: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load("speck2f", [f"core[5].kernel_words={words}"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('extends = "speck2f"\n[routing]\nfan_ut = 3', "routing.fan_ut.*Did you mean routing.fan_out?"),
        ('extends = "speck2f"\nchanges = ["fan_out=4"]', "Did you mean routing.fan_out?"),
        (
            'extends = "speck2f"\nchanges = ["core[5..0].bias_words=4"]',
            "A range is written 0..5, its first core",
        ),
        (
            WHOLE.replace("\nkernel_words", "\nkernel_word"),
            r"core\[0..1\].kernel_word: no such field .* mean core",
        ),
        (WHOLE.replace("[monitor]", "[montor]"), r"montor: no such field. Did you mean monitor\?"),
        (WHOLE.replace("windows_ticks", "window_ticks"), r"Did you mean readout.windows_ticks\?"),
    ],
)
def test_what_may_be_meant_in_a_file(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "next.toml").write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match=told) as raised:
        load(tmp_path / "next.toml")
    assert "core_groups:" not in str(raised.value)


def test_a_core_states_bounds_where_an_optional_fact_is_there() -> None:
    cores = load("speck2f", ["core[3].synops_per_second=100"]).cores
    assert [n for n, core in enumerate(cores) if core.states_bounds] == [3]


def test_smaller_variants_stay_emittable_and_cores_come_and_go() -> None:
    smaller = load("speck2f", ["core[5].kernel_words=1024", "-core[8]"])
    assert smaller.core_count == 8
    assert smaller.emission is not None
    larger = load("speck2f", ["+core[9..12]=core[5]"])
    assert larger.core_count == 13
    assert larger.cores[12] == larger.cores[5]
    assert larger.emission is None
    assert apply_overrides(larger, []) is larger
    assert load("speck2f", ["readout=none"]).readout is None


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("core[99].kernel_words=1", r"no such core .*99.*0\.\.8"),
        ("core[1].kernel=3", "no such field.*kernel_words"),
        ("foo=2", "no such field"),
        ("fan_out=4", r"Did you mean routing\.fan_out\?"),
        ("kernel_word=4", r"Did you mean core\[0\]\.kernel_words\?"),
        ("core[1].kernal_words=3", r"Did you mean kernel_words\?"),
        ("core[1].kernel_words", "PATH=VALUE"),
        ("core[1].kernel_words=-4", r"core\[1\]\.kernel_words.*greater than or equal to 0.*-4"),
        ("core[1].kernel_words=big", "whole number"),
        ("core[1].kernel_words=1.5", "whole number"),
        ("routing.poolings=[1,3]", "powers of two"),
        ("routing.poolings=[2,4]", "contain 1"),
        ("limits.kernel_size_min=20", "exceeds"),
        ("limits.padding_max=16", "below kernel_size_max"),
        ("+core[11]=core[5]", "must follow the last core"),
        ("+core[9]=core[50]", "no such core to copy"),
        ("+core[9..2000000]=core[5]", "must follow"),
        ("-core[0..8]", "none would be left"),
        ("readout.destination_id=13", "share one destination"),
        ("readout.destination_id=3", "also a core's"),
        ("sources=1", "no such field"),
        ("name=a b", "pattern|match"),
    ],
)
def test_wrong_overrides(override: str, text: str) -> None:
    if override.startswith("name"):
        with pytest.raises(SpecError):
            apply_overrides(load("speck2f"), ["routing.fan_out=2"], name="a b")
        return
    with pytest.raises(SpecError, match=text):
        load("speck2f", [override])


def test_all_wrong_overrides_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        load("speck2f", ["core[99].kernel_words=1", "foo=2", "x"])
    assert len(caught.value.findings) == 3


def test_files(tmp_path: Path) -> None:
    base = tmp_path / "next.toml"
    base.write_text(
        'extends = "speck2f"\ntitle = "Next"\nchanges = ["+core[9..11]=core[5]", "-core[0]"]\n'
        '[set]\n"core[2].kernel_words" = "64Ki"\n[routing]\nfan_out = 3\n[core."4..5"]\nneuron_words = 2048\n'
        "[limits]\npadding_max = 5\n"
        '[sources]\n"core[2].kernel_words" = { evidence = "measured", source = "bench 7" }\n',
        encoding="utf-8",
    )
    spec = load(base)
    assert (spec.name, spec.title, spec.core_count) == ("next", "Next", 11)
    assert spec.cores[2].kernel_words == 64 * KI
    assert spec.cores[4].neuron_words == spec.cores[5].neuron_words == 2048
    assert {core.fan_out for core in spec.cores} == {3}
    assert source_of(spec.sources, "core[2].kernel_words") == "core[2].kernel_words"
    assert spec.sources["core[2].kernel_words"].evidence == "measured"
    child = tmp_path / "child.toml"
    child.write_text('extends = "next.toml"\n', encoding="utf-8")
    assert load(child).cores == spec.cores


@pytest.mark.parametrize("name", names())
def test_a_fact_that_no_entry_speaks_of_is_named(name: str) -> None:
    """All entries but some: what is found missing is what `source_of` finds nothing for."""
    chip = load(name)
    facts = list(unsourced(chip.model_copy(update={"sources": {}})))
    assert {"routing.fan_out", "core[0].kernel_words", "core[0].limits.strides"} <= set(facts)
    one = {"core[0].kernel_words": next(iter(chip.sources.values()))}
    missing = set(unsourced(chip.model_copy(update={"sources": one})))
    last = f"core[{chip.core_count - 1}].kernel_words"
    assert missing & {"core[0].kernel_words", last} == {last}, "an entry is about its own cores alone"
    tables = [one, *({p: n for p, n in chip.sources.items() if p != entry} for entry in chip.sources)]
    for sources in tables:
        part = chip.model_copy(update={"sources": sources})
        left = [fact for fact in facts if source_of(sources, fact) is None]
        assert list(unsourced(part)) == left
        told = [found.where for found in check(part) if found.problem == "no source is named for this fact"]
        assert told == [f"sources.{fact}" for fact in left]


def test_a_file_without_sources_counts_as_assumed(tmp_path: Path) -> None:
    text = (files("hwspec") / "chips" / "speck2f.toml").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(text[: text.index("[sources]")], encoding="utf-8")
    assert any("own.toml" in fact.statement for fact in load(own).assumed_facts())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b"a = [", "TOML"),
        (b'extends = "self.toml"', "extends itself"),
        (b"extends = 3", "chip name or a path"),
        (b'extends = "speck2f"\nchanges = 3', "list of strings"),
        (b'extends = "speck2f"\nset = 3', "table of paths"),
        (b'extends = "speck2f"\n[set]\n"core[77].kernel_words" = 1', "no such core"),
        (b'name = "x"\n[core."0..2"]\nkernel_words = 1\n[core."1"]\nkernel_words = 1\n', "twice"),
        (b'name = "x"\n[core."1"]\nkernel_words = 1\n', "without a gap"),
        (b'name = "x"\n[core."a..b"]\nkernel_words = 1\n', "not a range"),
        (b"core = 3", "must be tables"),
        (
            b'name = "x"\n',
            r"^self.toml: lacks title, core, routing and monitor\. For .* extends = \"speck2f\"",
        ),
        (
            b'name = "x"\n[core."0..2"]\nkernel_words = 1\n',
            r"self.toml: lacks title, routing and monitor\n.* core\[0..2\]: lacks neuron_words and bias_words",
        ),
    ],
)
def test_wrong_files(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "self.toml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=text):
        load(path)


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        ("[set]\ncore[8].kernel_words = 8192", '"core[8].kernel_words" = 8192'),
        ("[set]\ncore[8].kernel_words = 16Ki", '"core[8].kernel_words" = "16Ki"'),
        ("[set]\n+core[9..12] = core[5]", '"+core[9..12]" = "core[5]"'),
        ("changes = [-core[8], +core[8]=core[5]]", 'changes = ["-core[8]", "+core[8]=core[5]"]'),
        ("changes = [\n  -core[8],\n]", '"-core[8]",'),
        ('[core."0..2"]\nkernel_words = 4Ki', 'kernel_words = "4Ki"'),
        ("[core.0..2]\nkernel_words = 4", '[core."0..2"]'),
    ],
)
def test_quotes_that_a_file_lacks(line: str, quoted: str, tmp_path: Path) -> None:
    """The line that is shown, in the place of the one that was written, is taken."""
    path = tmp_path / "next.toml"
    path.write_text(f'extends = "speck2f"\n{line}\n', encoding="utf-8")
    with pytest.raises(SpecError, match="Put quotes where TOML wants them: ") as caught:
        load(path)
    assert str(caught.value).endswith(f": {quoted}")
    wrong = next(
        part for part in line.splitlines() if re.sub(r"[\s\"]", "", part) == re.sub(r"[\s\"]", "", quoted)
    )
    path.write_text(f'extends = "speck2f"\n{line.replace(wrong, quoted)}\n', encoding="utf-8")
    assert load(path) != load("speck2f")


def test_a_path_of_plain_words_needs_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "next.toml"
    path.write_text('extends = "speck2f"\n[set]\nrouting.fan_out = 4\n', encoding="utf-8")
    assert load(path).cores == load("speck2f", "routing.fan_out=4").cores


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('[routing]\nfan_out = "four"', 'next.toml: routing.fan_out: must be a whole number (got "four")'),
        (
            '[set]\n"routing.fan_out" = "four"',
            'next.toml: routing.fan_out: must be a whole number (got "four")',
        ),
        ('[limits]\nstrides = "x"', 'next.toml: limits.strides: must be a list (got "x")'),
        (
            '[core."0..4"]\nbias_words = "x"\n[core."7"]\nbias_words = "x"',
            'next.toml: core[0..4].bias_words, core[7].bias_words: must be a whole number (got "x")',
        ),
    ],
)
def test_one_line_is_one_problem(written: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "next.toml"
    path.write_text(f'extends = "speck2f"\n{written}\n', encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value) == told


def test_missing_and_huge_files(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        load(tmp_path / "none.toml")
    big = tmp_path / "big.toml"
    big.write_bytes(b"#" * (2 << 20))
    with pytest.raises(SpecError, match="too large"):
        load(big)


def test_thousands_of_cores_in_few_classes() -> None:
    spec = load("speck2f", ["+core[9..5119]=core[3]", "core[3000..4000].kernel_words=64Ki"])
    assert spec.core_count == 5120
    assert sum(len(entry.core_ids) for entry in spec.core_classes) == 5120
    assert len(spec.core_classes) == 6


def test_schema_names_every_section() -> None:
    assert {"core_groups", "routing", "monitor", "sources"} <= set(json_schema()["properties"])


@pytest.mark.parametrize(
    ("change", "is_within"),
    [
        ("input.fan_out=1", True), ("input.fan_out=3", False), ("input.height=256", False),
        ("readout.classes_max=14", True), ("readout.classes_max=16", False),
    ],
)  # fmt: skip
def test_a_stage_beyond_the_vendors_has_no_objects(change: str, is_within: bool) -> None:
    assert (load("speck2f", [change]).emission is not None) is is_within


def test_a_single_change_may_stand_alone() -> None:
    assert load("speck2f", "core[5].kernel_words=4Ki") == load("speck2f", ["core[5].kernel_words=4Ki"])
