import subprocess
import sys
from pathlib import Path

SUMMARY = Path(__file__).resolve().parents[3] / "scripts" / "summary.py"
XML = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


def run(folder):
    done = subprocess.run([sys.executable, SUMMARY, folder], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_counts_of_all_tiers_are_added_up(tmp_path):
    for tier, counts in {
        "unit": (10, 0, 0, 1),
        "gateway": (2, 0, 0, 0),
        "api": (5, 0, 0, 0),
        "e2e": (3, 0, 0, 3),
    }.items():
        (tmp_path / f"{tier}.xml").write_text(XML.format(*counts))
    code, lines = run(tmp_path)
    assert code == 0
    assert lines[-1] == "16 passed, 0 failed, 4 skipped"


def test_failures_errors_and_missing_tiers_fail(tmp_path):
    (tmp_path / "unit.xml").write_text(XML.format(10, 1, 2, 0))
    (tmp_path / "api.xml").write_text(XML.format(5, 0, 0, 0))
    code, lines = run(tmp_path)
    assert code == 1
    assert lines == [
        "unit: 7 passed, 3 failed, 0 skipped",
        "gateway: no result",
        "api: 5 passed, 0 failed, 0 skipped",
        "e2e: no result",
        "12 passed, 5 failed, 0 skipped",
    ]
