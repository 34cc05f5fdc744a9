"""hatchling's hooks: no package without the dashboard, and a package page whose links lead somewhere.

They run for each wheel and each sdist; the sdist has this file, because a wheel may be built from it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["DashboardHook", "PageHook", "package_page"]

DASHBOARD: Final = "backend/runrelay/dashboard/index.html"
WITHOUT_DASHBOARD: Final = "RUNRELAY_WITHOUT_DASHBOARD"
_LINK: Final = re.compile(r"(!?)(?<![`\w])\[([^\]]*)\]\(([^)\s]+)\)")


class DashboardHook(BuildHookInterface[Any]):
    """Refuses to build a package without the dashboard: nobody would notice before its pages answer 503."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling. An editable install may be without: `make setup` builds the dashboard after it."""
        del build_data
        if version == "editable" or os.environ.get(WITHOUT_DASHBOARD) or (Path(self.root) / DASHBOARD).is_file():
            return
        self.app.abort(
            f"runrelay: the dashboard is not built ({DASHBOARD} is missing): run `make setup`, or `npm ci && "
            f"npm run build` in frontend/, and build again; {WITHOUT_DASHBOARD}=1 builds a package without it"
        )


class PageHook(MetadataHookInterface):
    """Makes the package's page from README.md, and the project's URLs from the repository's address."""

    def update(self, metadata: dict[str, Any]) -> None:
        """See hatchling."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = str(self.config["repository"]).rstrip("/")
        page = package_page(text, repository, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": page}
        tag = f"v{metadata['version']}"
        metadata["urls"] = (
            {
                "Repository": repository,
                "Documentation": f"{repository}/tree/{tag}/docs",
                "Changelog": f"{repository}/blob/{tag}/CHANGELOG.md",
            }
            if repository
            else {}
        )


def package_page(text: str, repository: str, version: str) -> str:
    """README.md for a page that is not in the repository: its relative links would lead nowhere there.

    Args:
        repository: the repository's address, with GitHub's paths `/blob/` and `/raw/`. Empty while the repository is
            not public: then links become their text, pictures are left out, and the end says where the documents are.
        version: of the package; the links lead to its tag.
    """

    changed = False

    def absolute(link: re.Match[str]) -> str:
        picture, label, target = link.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return link[0]
        nonlocal changed
        changed = True
        if not repository:
            return "" if picture else label
        return f"{picture}[{label}]({repository}/{'raw' if picture else 'blob'}/v{version}/{target})"

    page = _LINK.sub(absolute, text)
    if changed and not repository:
        page = f"{page.rstrip()}\n\nThe documents that are named here are in the source distribution.\n"
    return page
