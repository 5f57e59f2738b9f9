"""make bench-compile: time and memory of compiling one route, by its number of rules.

Each figure is from a fresh process. A rule has a path, two weighted candidates, a fallback and retries; there
is a backend for each ten rules, and in one case one for each rule. Beyond 1,024 rules the schema refuses a
route: what is measured there is only the compiler.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time

from report import interleaved, publish

SIZES = (10, 100, 1_000, 10_000)
REPETITIONS = 5


def sources(rules, rules_a_backend=10):
    from moltbot_operator.api import ModelBackendSpec, MoltBotRouteSpec
    from moltbot_operator.compile.sources import BackendRef, BackendSource, RouteSources

    names = [f"backend-{number}" for number in range(max(3, rules // rules_a_backend))]
    backends = {}
    for name in names:
        spec = {
            "provider": "Custom",
            "model": f"{name}-model",
            "endpoint": {"service": {"name": name, "port": 8000}},
            "auth": {"type": "APIKey", "apiKey": {"secretRef": {"name": name, "key": "token"}}},
        }
        ref = BackendRef("bench", name)
        backends[ref] = BackendSource(ref, ModelBackendSpec.model_validate(spec))

    def rule(number):
        first, second, third = (names[(number + step) % len(names)] for step in range(3))
        return {
            "name": f"rule-{number}",
            "matches": [{"path": {"type": "Prefix", "value": f"/team-{number}"}}],
            "candidates": [{"backend": first, "weight": 70}, {"backend": second, "weight": 30}],
            "fallback": [third],
        }

    given = [rule(number) for number in range(rules)]
    spec = {
        "rules": given[:1000],
        "consumers": [{"name": "anyone", "auth": {"anonymous": {}}, "backends": names[:1]}],
    }
    small = MoltBotRouteSpec.model_validate(spec)
    (consumer,) = small.consumers
    parsed = small.rules + tuple(
        each
        for start in range(1000, rules, 1000)
        for each in MoltBotRouteSpec.model_validate({**spec, "rules": given[start : start + 1000]}).rules
    )
    # Copies are not validated: this is how more rules than a route may have get here.
    whole = small.model_copy(
        update={"rules": parsed, "consumers": (consumer.model_copy(update={"backends": tuple(names)}),)}
    )
    return RouteSources("bench", "bench", whole, backends)


def one(rules, rules_a_backend):
    """Compiles once in this process; prints the figures."""
    from moltbot_operator.compile import compile_route

    given = sources(rules, rules_a_backend)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    compiled = compile_route(given)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if not all(rule.serving for rule in compiled.rules):
        sys.exit(f"not every rule is served: {next(rule for rule in compiled.rules if not rule.serving)}")
    figures = {
        "time": (seconds * 1000, "ms"),
        "memory": ((peak - before) / 1024, "MiB"),
        "configuration": (len(json.dumps(compiled.envoy)) / 1024, "KiB"),
        "packed": (sum(map(len, compiled.parts)) / 1024, "KiB"),
    }
    print(json.dumps(figures))


def in_process(rules, rules_a_backend=10):
    command = [sys.executable, __file__, "--one", str(rules), "--rules-a-backend", str(rules_a_backend)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {metric: tuple(pair) for metric, pair in json.loads(done.stdout).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, help="compile so many rules in this process")
    parser.add_argument("--rules-a-backend", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.rules_a_backend)
        return
    cases = {f"{size:,} rules": lambda size=size: in_process(size) for size in SIZES}
    cases["1,000 rules, 1,000 backends"] = lambda: in_process(1_000, 1)
    samples = interleaved(cases, arguments.repetitions)
    notes = []
    for small, large in ((100, 1_000), (1_000, 10_000)):
        times = [statistics.median(samples.values[f"{size:,} rules", "time"]) for size in (small, large)]
        exponent = math.log(times[1] / times[0]) / math.log(large / small)
        samples.add(f"{small:,} to {large:,} rules", "growth of time", exponent, "exponent")
        notes.append(f"time grows as rules^{exponent:.2f} from {small:,} to {large:,} rules")
    publish("compile", samples, notes)


if __name__ == "__main__":
    main()
