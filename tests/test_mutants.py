"""The mutants can be made, and what runs them tells apart what became of them."""

from __future__ import annotations

import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from shutil import which
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("mutants", ROOT / "scripts" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "mutants", module)
        spec.loader.exec_module(module)
    return module


def test_every_listed_change_can_be_made(script: Any) -> None:
    mutants = script.mutants_of(ROOT / "scripts" / "mutants")
    names = [(mutant.area, mutant.name) for mutant in mutants]
    assert len(set(names)) == len(names)
    areas = [area for area, _ in names if area != "around"]
    assert len(areas) >= 60
    assert set(areas) == {"accuracy", "checker", "solver", "emitter", "passes", "pictures", "readers"}
    for mutant in mutants:
        assert script.changed(ROOT, mutant) != (ROOT / mutant.file).read_text(encoding="utf-8")
        assert mutant.tests


def tree(folder: Path) -> Path:
    """A project of one function, with a test of it and one that fails."""
    (folder / "hwspec").mkdir()
    (folder / "mapper").mkdir()
    (folder / "tests").mkdir()
    (folder / "mapper" / "__init__.py").write_text(
        "def double(n):\n    return 2 * n\n\n\ndef spare():\n    return 1\n", encoding="utf-8"
    )
    test = "from mapper import double\n\n\ndef test_double():\n    assert double(3) == 6\n"
    (folder / "tests" / "test_double.py").write_text(test, encoding="utf-8")
    (folder / "tests" / "test_broken.py").write_text(test.replace("6", "7"), encoding="utf-8")
    return folder


def mutant(script: Any, original: str, replacement: str, test: str = "double", argument: str = "") -> Any:
    file, tests = "mapper/__init__.py", (f"tests/test_{test}.py",)
    return script.Mutant("area", replacement, file, original, replacement, tests, False, argument)


def test_what_becomes_of_mutants(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "_TIMES", 1)
    monkeypatch.setattr(script, "_MORE_S", 1)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tree(tmp_path)
    before = (root / "mapper" / "__init__.py").read_bytes()
    listed = [
        (mutant(script, "2 * n", "3 * n"), "caught", "tests/test_double.py::test_double"),
        (
            mutant(script, "    return 2", "    while True:\n        pass\n    return 2"),
            "caught",
            "does not end",
        ),
        (mutant(script, "return 1", "return 2"), "survives", ""),
        (mutant(script, "2 * n", "n * 2", argument="commutes"), "argued", "commutes"),
        (
            mutant(script, "2 * n", "4 * n", argument="commutes"),
            "not argued",
            "has an argument, and is caught",
        ),
        (mutant(script, "2 * n", "7 * n / 3", "broken"), "unproven", "its tests fail without it"),
    ]
    outcomes = list(script.run_all(root, [entry for entry, _, _ in listed], 2))
    found = {outcome.mutant: outcome for outcome in outcomes}
    for entry, verdict, why in listed:
        assert found[entry].verdict == verdict, found[entry]
        assert found[entry].why.startswith(why)
    assert (root / "mapper" / "__init__.py").read_bytes() == before
    good = [outcome for outcome in outcomes if outcome.verdict in ("caught", "argued")]
    assert script.told(iter(good)) == 0
    for outcome in outcomes:
        if outcome not in good:
            assert script.told(iter([*good, outcome])) == (2 if outcome.verdict == "unproven" else 1)
    assert "3 mutants: 2 caught, 1 argued" in capsys.readouterr().out
    late = list(script.run_all(root, [listed[0][0]], limit_s=-1.0))
    assert [outcome.verdict for outcome in late] == ["not run"]


def test_changes_that_cannot_be_made(script: Any, tmp_path: Path) -> None:
    root = tree(tmp_path)
    for original, replacement, test, problem in (
        ("3 * n", "2 * n", "double", "0 times, not once: renew it"),
        ("return", "yield", "double", "2 times, not once"),
        ("2 * n", "2 *", "double", "is no Python"),
        ("2 * n", "3 * n", "gone", "there is no test tests/test_gone.py"),
    ):
        with pytest.raises(ValueError, match=problem):
            script.changed(root, mutant(script, original, replacement, test))


@pytest.mark.skipif(which("git") is None, reason="compares with a commit")
def test_touched_mutants(script: Any, tmp_path: Path) -> None:
    root = tree(tmp_path)
    one, other = mutant(script, "2 * n", "3 * n"), mutant(script, "2 * n", "3 * n", "broken")
    with pytest.raises(ValueError, match="nothing can be compared with HEAD"):
        script.touched(root, "HEAD", [one])
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], cwd=root, check=True)
    assert script.touched(root, "HEAD", [one, other]) == []
    with (root / "tests" / "test_broken.py").open("a") as stream:
        stream.write("\n")
    assert script.touched(root, "HEAD", [one, other]) == [other]
    with (root / "mapper" / "__init__.py").open("a") as stream:
        stream.write("\n")
    assert script.touched(root, "HEAD", [one, other]) == [one, other]
