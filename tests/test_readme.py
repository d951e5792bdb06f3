"""The README is short, and what it and the other documents say of files is so."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import mapper

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "mapper" / "guide"
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "mapper" / "README.md", *sorted(GUIDE.glob("*.md"))]
# Pages that are made when the site is.
MADE = {"commands.md"} | {f"examples/{path.stem}.md" for path in (ROOT / "examples").glob("*.ipynb")}


def text_of(path: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """What its headings are linked as."""
    headings = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """Files and anchors that a document links to."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        file, _, anchor = target.partition("#")
        yield (path.parent / file if file else path), anchor


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 100


def test_the_readme_has_the_two_commands() -> None:
    section = README.read_text(encoding="utf-8").split("## Two commands\n")[1].split("\n## ")[0]
    first, second = re.findall(r"```sh\n(.*?)\n```", section, re.DOTALL)
    assert first.endswith("-m mapper solve digits --chip speck2f")
    assert second.endswith("-m pytest -q -n auto --dist loadfile")


def test_the_readme_of_the_package_has_no_dead_links() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    assert project["project"]["dynamic"] == ["readme"]
    text = README.read_text(encoding="utf-8")
    assert len(re.findall(r"\]\(", text)) > 10
    for change in hook["substitutions"]:
        text = re.sub(change["pattern"], change["replacement"], text)
    assert "](" not in text
    assert "(`mapper/guide/ten-minutes.md`)" in text
    assert "`CONTRIBUTING.md`" in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for file, anchor in links(path):
        assert ":" not in str(file), f"{file} is not of this repository"
        assert file.exists(), file
        # Pages ship with the package: what they link to does, too.
        assert path.parent != GUIDE or file.resolve().is_relative_to(GUIDE), file
        assert not anchor or anchor in anchors(file), f"{file}#{anchor}"


def test_every_page_is_in_the_site_and_on_its_first_page() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = re.findall(r"[\w/-]+\.md", json.dumps(site["nav"]))
    pages = {path.name for path in GUIDE.glob("*.md")}
    assert len(listed) == len(set(listed))
    assert set(listed) == pages | MADE
    assert {file.name for file, _ in links(GUIDE / "index.md")} >= pages - {"index.md"}


def test_the_reference_has_every_public_name() -> None:
    page = (GUIDE / "python.md").read_text(encoding="utf-8")
    lines = dict(re.findall(r"^- `mapper\.(\w+)`: (.+)$", page, re.MULTILINE))
    modules = {"events", "boards", "equivalence", "tuning"}
    assert set(lines) - modules == set(mapper.__all__) - {"__version__"}
    assert page.count("- `mapper.") == len(lines)
    for name, sentence in lines.items():
        assert sentence == (inspect.getdoc(getattr(mapper, name)) or "").partition("\n")[0], name


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
