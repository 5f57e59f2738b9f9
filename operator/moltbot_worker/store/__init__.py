"""What workers share: cached answers, locks and jobs; Redis, or in the process (contract.py)."""

from moltbot_worker.store.contract import Backlog, Delivery, JobFields, Store, Submitted
from moltbot_worker.store.opening import opened

__all__ = ["Backlog", "Delivery", "JobFields", "Store", "Submitted", "opened"]
