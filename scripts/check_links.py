"""Checks that every relative link of every Markdown page leads to a file, and to the heading it names."""

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.*)$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragment names that the headings of a page get on the usual forges."""
    text = FENCE.sub("", page.read_text())
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in HEADING.findall(text)
    }


def faults(page: Path) -> list[str]:
    """One line for each link of the page that leads nowhere."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            found.append(f"{page}: {link}: there is no such file")
        elif fragment and target.suffix == ".md" and fragment not in anchors(target):
            found.append(f"{page}: {link}: the page has no such heading")
    return found


def main() -> int:
    """Checks the pages that git knows or would add; 1 when a link is broken."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pages = [Path(line) for line in listed.splitlines() if Path(line).exists()]
    found = [fault for page in pages for fault in faults(page)]
    print(*found, f"links: {len(pages)} pages, {len(found)} broken links", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
