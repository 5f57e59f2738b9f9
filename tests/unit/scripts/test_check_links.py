import importlib.util
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture
def check_links():
    spec = importlib.util.spec_from_file_location("check_links", SCRIPTS / "check_links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("link", "faults"),
    [
        ("other.md", 0),
        ("other.md#two-words", 0),
        ("#own-heading", 0),
        ("https://example.com/none", 0),
        ("missing.md", 1),
        ("other.md#three-words", 1),
        ("#in-a-fence", 1),
    ],
)
def test_links_lead_somewhere(check_links, tmp_path, link, faults):
    (tmp_path / "other.md").write_text("# Other\n## Two words\n")
    page = tmp_path / "page.md"
    page.write_text(f"# Own heading\nSee [there]({link}).\n```\n# In a fence\n[no](nowhere.md)\n```\n")
    assert len(check_links.faults(page)) == faults
