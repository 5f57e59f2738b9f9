"""A consumer's key that rotates under traffic, in real pods."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sites import BACKUP, MAX, PRO, route, tech_rule

import cluster as access

NAME, SECRET = "keyed", "keyed-web"
CHAT = "/tech/v1/chat/completions"
OVERLAP = "20s"
"""Longer than a client here uses a key before it reads the Secret again, and than the test asks by both."""


def values(site):
    """What is in the consumer's Secret, by name."""
    found = site.cluster.get("secret", SECRET, site.namespace) or {}
    return {name: base64.b64decode(each).decode() for name, each in (found.get("data") or {}).items()}


def valid(site):
    return {value for name, value in values(site).items() if name.startswith("key-")}


def ask(site, key):
    url = f"http://{NAME}.{site.namespace}.svc{CHAT}"
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "auto", "messages": []}
    return site.client("http", method="POST", url=url, json=body, headers=headers)["status"]


@pytest.fixture(scope="module")
def key(site):
    """The first key, with which clients get answers."""
    given = route(NAME, site.namespace, [tech_rule()], gateway={"replicas": 2})
    auth = {"apiKey": {"secretRef": {"name": SECRET}, "rotation": {"overlap": OVERLAP}}}
    given["spec"]["consumers"] = [{"name": "web", "auth": auth, "backends": [PRO, MAX, BACKUP]}]
    site.cluster.apply([given])
    site.wait_serving(NAME)
    first = access.wait_until("a key", lambda: values(site).get("key"), 60)
    access.wait_until("an answer by it", lambda: ask(site, first) == 200, 60)
    return first


class Client:
    """Sends requests while the block runs, and reads its key from the Secret every two seconds or so."""

    def __init__(self, site):
        self.site = site
        self.stop = threading.Event()
        self.results = []

    def __enter__(self):
        self.pool = ThreadPoolExecutor(1)
        self.running = self.pool.submit(self.run)
        return self

    def run(self):
        while not self.stop.is_set():
            headers = {"authorization": f"Bearer {values(self.site)['key']}"}
            self.results.append(
                self.site.load(NAME, CHAT, duration=2, rate=15, concurrency=2, headers=headers)
            )

    def __exit__(self, *_):
        self.stop.set()
        self.running.result()
        self.pool.shutdown()


def test_a_key_is_replaced_with_two_valid_ones_between_and_refuses_no_client(site, key):
    with Client(site) as client:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        annotate = ("annotate", "secret", SECRET, "-n", site.namespace, f"moltbot.io/rotate-at={now}")
        site.cluster.kubectl(*annotate)
        second = access.wait_until(
            "clients to find another key", lambda: values(site)["key"] != key and values(site)["key"], 90
        )
        assert valid(site) == {key, second}
        assert [ask(site, each) for each in (key, second)] == [200, 200], "both are valid in the overlap"
        access.wait_until("the first one to be taken out", lambda: valid(site) == {second}, 120)
        access.wait_until("every pod to refuse it", lambda: all(ask(site, key) == 401 for _ in range(6)), 60)
    answers = [answer.split()[0] for result in client.results for answer in result["answers"]]
    errors = [error for result in client.results for error in result["errors"]]
    assert set(answers) == {"200"}, errors[:5]
    print(f"{sum(sum(each['answers'].values()) for each in client.results)} requests, none refused")
    told = site.cluster.get("secret", SECRET, site.namespace)["metadata"]["annotations"]
    assert key not in json.dumps(told)
    assert second not in json.dumps(told)
