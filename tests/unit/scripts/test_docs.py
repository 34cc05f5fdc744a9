"""The documents name what exists: a reader who finds no such file stops reading."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BASES = (ROOT, ROOT / "backend" / "runrelay", ROOT / "frontend" / "src")

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
SOURCE = re.compile(r"`([a-z_]+/[\w/.-]*\.(?:py|lua|ts|tsx|toml))`")


def missing_links(document: Path) -> list[str]:
    """Relative links of a document that lead nowhere."""
    found = LINK.findall(document.read_text(encoding="utf-8"))
    return [link for link in found if "://" not in link and not (document.parent / link).exists()]


def missing_sources(text: str) -> list[str]:
    """Paths in backquotes that are neither in the project nor in one of its packages."""
    return [path for path in SOURCE.findall(text) if not any((base / path).exists() for base in BASES)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert missing_links(document) == []


@pytest.mark.parametrize("name", ["architecture.md", "reliability.md"])
def test_sources_that_are_named_exist(name: str) -> None:
    assert missing_sources((ROOT / "docs" / name).read_text(encoding="utf-8")) == []


def test_what_is_missing_would_be_found(tmp_path: Path) -> None:
    """The negative control."""
    document = tmp_path / "page.md"
    document.write_text("[here](nowhere.md#part) and `fanout/nothing.py`, [there](https://example.org/x.md)")
    assert missing_links(document) == ["nowhere.md"]
    assert missing_sources(document.read_text()) == ["fanout/nothing.py"]
