"""The package's page: its links lead somewhere from any site."""

from __future__ import annotations

import re
from pathlib import Path

from hatch_hooks import package_page

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_TARGETS = re.compile(r"\]\(([^)\s]+)\)")


def test_with_a_public_repository_every_link_leads_into_it() -> None:
    """A page on PyPI whose picture is missing, and whose links to the documents answer 404."""
    page = package_page(README, "https://example.org/films", "1.2.3")
    targets = _TARGETS.findall(page)
    assert len(targets) == len(_TARGETS.findall(README)) > 10
    assert [target for target in targets if not target.startswith("https://")] == []
    assert (
        package_page("![A run](docs/run.png)", "https://example.org/films", "1.2.3")
        == "![A run](https://example.org/films/raw/v1.2.3/docs/run.png)"
    )
    assert "https://example.org/films/blob/v1.2.3/docs/contract.md" in targets


def test_without_one_there_are_no_links_that_lead_nowhere() -> None:
    """The same before there is a public repository: the text stays, and says where the documents are."""
    page = package_page(README, "", "1.2.3")
    assert [target for target in _TARGETS.findall(page) if "://" not in target] == []
    assert "docs/contract.md has every frame" in page
    assert page.endswith("The documents that are named here are in the source distribution.\n")


def test_other_links_are_left_alone() -> None:
    text = "[there](https://example.org/x.md), [below](#limits), `a[0](b)`"
    assert package_page(text, "", "1.2.3") == text
