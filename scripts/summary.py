"""Adds up what the tiers of `make test` counted, from the JUnit files that they left in a folder."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

TIERS = ("unit", "gateway", "api", "e2e")


def main(folder: Path) -> int:
    """Prints a line a tier and the sum; 1 when a tier left no result or anything failed."""
    passed = failed = skipped = missing = 0
    for tier in TIERS:
        path = folder / f"{tier}.xml"
        if not path.exists():
            print(f"{tier}: no result")
            missing += 1
            continue
        # Written by our own test run a moment ago, so there is nothing hostile in it.
        suites = ET.parse(path).getroot().iter("testsuite")  # noqa: S314
        counts = [
            {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
            for suite in suites
        ]
        tests, bad, left_out = (
            sum(each["tests"] for each in counts),
            sum(each["failures"] + each["errors"] for each in counts),
            sum(each["skipped"] for each in counts),
        )
        print(f"{tier}: {tests - bad - left_out} passed, {bad} failed, {left_out} skipped")
        passed, failed, skipped = passed + tests - bad - left_out, failed + bad, skipped + left_out
    print(f"{passed} passed, {failed + missing} failed, {skipped} skipped", flush=True)
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
