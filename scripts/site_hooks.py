"""Hooks of the docs site: order of pages, the generated reference, and links that lead out of docs/.

Nothing here names a page that must exist: one that is missing is left out of the order, and one that is not
in it comes at the end of its section. The reference is made when the site is built, so it can't be out of
date.
"""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

from reference import command_page, resource_page

ROOT = Path(__file__).parent.parent

SECTIONS: dict[str, list[str]] = {
    "Start": ["index.md", "tutorials/one-machine.md", "tutorials/cluster.md", "install.md"],
    "For you": [
        "guides/cluster-admin.md",
        "guides/gitops.md",
        "guides/developer.md",
        "guides/security-officer.md",
        "guides/on-call.md",
    ],
    "How it works": [
        "routing.md",
        "failover.md",
        "clients.md",
        "providers.md",
        "credentials.md",
        "rotation.md",
        "issuers.md",
        "rollouts.md",
        "pipelines.md",
        "workers.md",
        "translation.md",
        "jobs.md",
        "scaling.md",
        "objectives.md",
        "audit.md",
        "convert.md",
        "one-machine.md",
        "before-you-apply.md",
    ],
    "Operate": [
        "operations.md",
        "security.md",
        "tuning.md",
        "benchmarks.md",
        "troubleshooting.md",
        "upgrade.md",
    ],
    "Reference": [
        "reference/modelbackend.md",
        "reference/moltbotroute.md",
        "reference/commands.md",
        "conditions.md",
    ],
}
"""Pages by section, in order."""

OUTSIDE = re.compile(r"(!?)\[([^\]]*)\]\((?:\.\./)+(?!(?:docs|\)))([^)\s]*)\)")
"""A link from a page to a file that is not part of the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the reference, then puts every page into the navigation."""
    for name in ("modelbackend", "moltbotroute"):
        crd = ROOT / "crds" / f"moltbot.io_{name}s.yaml"
        files.append(File.generated(config, f"reference/{name}.md", content=resource_page(crd)))
    files.append(File.generated(config, "reference/commands.md", content=command_page()))
    config.nav = navigation({file.src_uri for file in files.documentation_pages()})
    return files


def navigation(pages: set[str]) -> list[dict[str, Any]]:
    """Sections with those of their pages that exist; the rest, and the decisions, at the end."""
    made: list[dict[str, Any]] = [
        {title: [page for page in listed if page in pages]} for title, listed in SECTIONS.items()
    ]
    placed = {page for listed in SECTIONS.values() for page in listed}
    decisions = sorted(page for page in pages if page.startswith("decisions/"))
    more = sorted(pages - placed - set(decisions))
    return [
        *(section for section in made if any(section.values())),
        *([{"More": more}] if more else []),
        *([{"Decisions": decisions}] if decisions else []),
    ]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """What lies outside of docs/ is named instead of linked."""
    del config, files
    depth = page.file.src_uri.count("/")
    out = "../" * (depth + 1)

    def named(found: re.Match[str]) -> str:
        return found[0] if not found[0].partition("](")[2].startswith(out) else f"{found[2]} (`{found[3]}`)"

    return OUTSIDE.sub(named, markdown)
