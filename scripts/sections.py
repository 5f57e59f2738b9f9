"""Parts of Markdown pages that are generated: what stands between `<!-- NAME -->` and `<!-- /NAME -->`."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["publish"]


def publish(page: Path, source: Path, sections: Mapping[str, str]) -> int:
    """Writes the sections, by name, into the page; with --check only compares: 1 where they differ."""
    text = page.read_text()
    written = text
    for name, section in sections.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        new = f"{begin}\n{section}\n{end}"
        written = re.sub(f"{begin}.*?{end}", lambda _, new=new: new, written, flags=re.DOTALL)
    if "--check" in sys.argv[1:]:
        if written != text:
            print(f"{page} is not what {source} says: make crds fixes this", file=sys.stderr)
        return int(written != text)
    page.write_text(written)
    return 0
