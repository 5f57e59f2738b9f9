"""make demo: from nothing to requests that fail over, on a real cluster.

Brings a cluster up (or uses KUBECONFIG), installs the chart, converts and applies the sample
models.config.json with three simulated models, sends requests, takes both candidates away, and leaves
everything running. Doing it again changes nothing but what changed in the sources.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import models
import yaml
from display import console, heading, step, table
from traffic import Answer, access_log, ask, ask_many
from traffic import answers as service_answers

import cluster as access
from cluster import Cluster, CommandFailed

SYSTEM = "moltbot-system"
SPACE = "moltbot-demo"
RELEASE = "moltbot-operator"
CONFIG = access.ROOT / "examples" / "models.config.json"
MODELS = ("dialog-pro", "dialog-max", "code-model-v2")
CANDIDATES = MODELS[:2]
PATH = "/tech/v1/chat/completions"
MODELS_PATH = "/tech/v1/models"
SHOWN = 8
SAMPLE = 400


def manifests() -> list[dict[str, Any]]:
    """The sample configuration by the product's own converter, with the bed's node port for its Service."""
    command = [str(Path(sys.executable).with_name("moltbot")), "convert", str(CONFIG), "-o", "-"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"moltbot convert {CONFIG}: {done.stderr.strip()}")
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    for each in found:
        each["metadata"]["namespace"] = SPACE
        if each["kind"] == "MoltBotRoute":
            service = {"type": "NodePort", "nodePort": access.layout.GATEWAY_NODE_PORT}
            each["spec"].setdefault("gateway", {})["service"] = service
    return found


def install(cluster: Cluster) -> str:
    """Chart, models and route; the route's name."""
    with step("helm install moltbot-operator: CRDs, RBAC, two replicas"):
        access.install_chart(cluster, RELEASE, SYSTEM)
    with step("three simulated models as pods: dialog_pro, dialog_max, code_model_v2"):
        cluster.apply([models.namespace(SPACE)])
        cluster.apply(each for name in MODELS for each in models.provider(name, SPACE))
        wait = ["--for=condition=Available", "--timeout=90s"]
        cluster.kubectl("wait", "deployment", "--all", "-n", SPACE, *wait)
    with step(f"moltbot convert {CONFIG.relative_to(access.ROOT)} | kubectl apply"):
        converted = manifests()
        cluster.apply(converted)
    return next(str(each["metadata"]["name"]) for each in converted if each["kind"] == "MoltBotRoute")


def await_ready(cluster: Cluster, route: str) -> None:
    """Shows how the route's conditions become True."""
    with step("the route is Ready: its gateway pods report the revision") as say:

        def probe() -> bool:
            found = cluster.get("moltbotroute", route, SPACE)
            conditions = [
                f"{kind}={access.condition(found, kind)['status']}"
                for kind in ("Accepted", "ResolvedRefs", "Programmed", "Ready")
            ]
            say("  ".join(conditions))
            return access.is_settled(found)

        access.wait_until(f"MoltBotRoute {route} to be Ready", probe, 180)


@contextmanager
def gateway(cluster: Cluster, route: str) -> Iterator[str]:
    """A URL of this machine that leads to the route's Service."""
    if cluster.is_ours:
        yield f"http://127.0.0.1:{access.layout.GATEWAY_PORT}"
        return
    with closing(socket.socket()) as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = [access.kubectl(), f"--kubeconfig={cluster.kubeconfig}", "-n", SPACE, "port-forward"]
    command += [f"service/{route}", f"{port}:80"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or not process.stdout.readline():
            raise CommandFailed("kubectl port-forward ended at once: see its message above")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def show(cluster: Cluster, route: str, title: str, answers: list[Answer]) -> None:
    """The requests and, from the gateway's access log, who served them at which attempt."""
    log = access_log(cluster, SPACE, route, (answer.id for answer in answers if answer.id))
    rows = []
    for answer in answers:
        entry = log.get(answer.id, {})
        served_by = str(entry.get("backend") or "-").rpartition("/")[2]
        said = answer.said.split()[-1] if answer.status == HTTPStatus.OK else answer.said[:40]
        latency = f"{answer.seconds * 1000:.0f} ms"
        attempts = str(entry.get("attempts", "-"))
        rows.append([answer.text, served_by, attempts, str(answer.status), latency, said])
    columns = ["request", "backend that served", "attempts#", "status#", "latency#", "answer"]
    table(title, columns, rows)


def shares(answers: list[Answer]) -> str:
    """Who served how many, by what the models say of themselves."""
    names: Counter[str] = Counter()
    for answer in answers:
        served = answer.status == HTTPStatus.OK
        names[answer.said.split()[0].removeprefix("server=") if served else f"error {answer.status}"] += 1
    return ", ".join(f"{name} {count} ({count / len(answers):.0%})" for name, count in names.most_common())


def requests(cluster: Cluster, route: str, url: str) -> None:
    """Before the outage: weights. In it: the fallback. After it: as before."""
    heading("Requests through the gateway's Service")
    questions = [f"How do I {verb} a list?" for verb in ("sort", "copy", "reverse", "flatten")] * 2
    show(cluster, route, f"POST {PATH}", [ask(url + PATH, text) for text in questions[:SHOWN]])
    console.print(
        f"shares of {SAMPLE} more: {shares(ask_many(url + PATH, ['hello'] * SAMPLE))}; asked for: 70/30"
    )

    heading("Outage: both candidates are gone")
    with step("kubectl scale deployment dialog-pro dialog-max --replicas=0"):
        scale(cluster, 0)
    try:
        show(cluster, route, f"POST {PATH}", [ask(url + PATH, text) for text in questions[: SHOWN // 2]])
        during = ask_many(url + PATH, ["hello"] * (SAMPLE // 4))
        console.print(f"shares of {len(during)} more: {shares(during)}")
    finally:
        with step("and back: --replicas=1"):
            scale(cluster, 1)
    failed = [answer for answer in during if answer.status != HTTPStatus.OK]
    if failed:
        raise CommandFailed(f"{len(failed)} requests failed during the outage, the first: {failed[0].said}")


def scale(cluster: Cluster, replicas: int) -> None:
    """Both candidates to so many pods, and until it is so."""
    names = [f"deployment/{name}" for name in CANDIDATES]
    cluster.kubectl("scale", *names, f"--replicas={replicas}", "-n", SPACE)

    def settled() -> bool:
        found = [
            each for each in cluster.list("deployments", SPACE) if each["metadata"]["name"] in CANDIDATES
        ]
        pods = [
            pod
            for name in CANDIDATES
            for pod in cluster.list("pods", SPACE, f"app.kubernetes.io/name={name}")
        ]
        ready = sum(each["status"].get("readyReplicas", 0) for each in found)
        return bool(ready == len(pods) == replicas * len(CANDIDATES))

    access.wait_until(f"the candidates to have {replicas} pods each", settled, 60)


def look_around(cluster: Cluster, url: str) -> None:
    """What to type next."""
    heading("Look around")
    console.print(f"  export KUBECONFIG={cluster.kubeconfig}")
    console.print(f"  alias kubectl={access.kubectl()}")
    console.print(f"  kubectl get mbr,mb,pods -n {SPACE}")
    console.print(f"  kubectl describe mbr -n {SPACE}")
    console.print("  kubectl explain moltbotroute.spec.rules")
    console.print(f"  kubectl logs -n {SYSTEM} deployment/moltbot-operator --tail=20")
    if cluster.is_ours:
        body = '{"model":"auto","messages":[{"role":"user","content":"hi"}]}'
        console.print(
            f"  curl -s {url}{PATH} -H 'content-type: application/json' -d '{body}'", soft_wrap=True
        )
    console.print("Stop it all: [bold]make demo-down[/bold]")


def up(cluster: Cluster, why: str) -> None:
    """The whole demo."""
    started = time.monotonic()
    heading("A cluster and the chart")
    console.print(why)
    if cluster.is_ours and not access.kubectl().startswith("/"):
        console.print("The first time everything is built from source: 12 minutes or so, then cached.")
    access.bring_up(cluster)
    route = install(cluster)
    await_ready(cluster, route)
    with gateway(cluster, route) as url:
        with step("kube-proxy has heard of it: the Service answers"):
            access.wait_until(f"an answer of {url}", lambda: service_answers(url + MODELS_PATH), 30)
        requests(cluster, route, url)
        heading("kubectl get mbr,mb")
        console.print(cluster.kubectl("get", "mbr,mb", "-n", SPACE).rstrip(), soft_wrap=True)
        look_around(cluster, url)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s. Everything is still running.")


def down(cluster: Cluster) -> None:
    """Takes away what `up` brought: the whole cluster where it is ours, else namespaces and chart."""
    if cluster.is_ours:
        subprocess.run([access.BED / "down"], check=True)
        return
    with step("removing the demo from your cluster (CRDs stay)"):
        if cluster.get("namespace", SPACE, SPACE):
            cluster.kubectl("delete", "moltbotroutes", "--all", "-n", SPACE)
        # Gateway pods may drain for up to 330 s where requests are in flight.
        cluster.kubectl("delete", "namespace", SPACE, "--ignore-not-found", seconds=600)
        cluster.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found", "--wait")
        cluster.kubectl("delete", "namespace", SYSTEM, "--ignore-not-found", seconds=180)


def main() -> int:
    """0 when all went as it should; else 1 with one line that says what did not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--down", action="store_true", help="take the demo away again")
    arguments = parser.parse_args()
    cluster, why = access.find()
    if cluster is None:
        console.print(why)
        return 1
    try:
        if arguments.down:
            down(cluster)
        else:
            up(cluster, why)
    except (CommandFailed, TimeoutError, OSError, subprocess.CalledProcessError) as error:
        console.print(f"[red]The demo stopped:[/red] {error}", soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
