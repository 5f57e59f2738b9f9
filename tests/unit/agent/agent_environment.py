"""Environment of agents that tests start as processes."""

import os
from pathlib import Path

__all__ = ["ENVIRONMENT", "ROOT"]

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests' / 'provider'}"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)  # an image is compiled; here the first start compiles
