"""Lints the chart and validates what it renders, and the examples, against Kubernetes' and our own schemas.

Nothing is fetched: Kubernetes' schemas come out of the Go module that the test bed is built from, ours out
of crds/. Kinds of other projects (ServiceMonitor, PodMonitor, PrometheusRule) have no schema here and are
skipped.
"""

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "moltbot-operator"
FOREIGN = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
DEFINITIONS = "#/definitions/"
PEOPLE = ("-view", "-edit")
"""Ends of the names of roles that are for people, not for the operator."""

VARIANTS: dict[str, list[str]] = {
    "defaults": [],
    "own namespaces only": ["--set", "watchNamespaces={team-a,team-b}"],
    "monitoring": [
        "--set",
        "metrics.serviceMonitor.enabled=true",
        "--set",
        "metrics.rules.enabled=true",
        "--set",
        "metrics.podMonitor.enabled=true",
        "--set",
        "metrics.dashboard.enabled=true",
    ],
    "one replica, no CRDs": ["--set", "replicas=1", "--set", "crds.install=false"],
    "writes of Secrets limited": ["--set", "rbac.secretsPolicy.enabled=true"],
    "no JWKS": ["--set", "jwks.enabled=false"],
    "CRDs not kept": ["--set", "crds.keep=false"],
    "Redis": ["--set", "redis.bundled.enabled=true"],
    "Redis with a volume, an own Secret, and own namespaces only": [
        "--set",
        "redis.bundled.enabled=true",
        "--set",
        "redis.bundled.existingSecret=redis",
        "--set",
        "redis.bundled.persistence.enabled=true",
        "--set",
        "redis.bundled.persistence.storageClass=fast",
        "--set",
        "watchNamespaces={team-a,team-b}",
    ],
}
"""Name -> helm arguments of each way to install that must render validly."""

REFUSED: dict[str, list[str]] = {
    "no replicas": ["--set", "replicas=0"],
    "unknown value": ["--set", "replica=2"],
    "bad level": ["--set", "logLevel=loud"],
    "memory as Kubernetes writes it": ["--set", "redis.bundled.maxMemory=128Mi"],
}
"""Name -> helm arguments that values.schema.json must refuse."""


def binary(name: str) -> str:
    """The path of one of the bed's binaries."""
    sys.path.insert(0, str(ROOT / "tests" / "cluster"))
    return str(importlib.import_module("build").binaries()[name])


def swagger() -> dict[str, Any]:
    """Kubernetes' OpenAPI 2 document, of the version that the bed runs."""
    table = tomllib.loads((ROOT / "tests/cluster/versions.toml").read_text())["kubernetes"]
    command = ["go", "mod", "download", "-json", f"{table['module']}@{table['version']}"]
    env = {**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    with tempfile.TemporaryDirectory() as outside:  # not inside another module's tree
        listed = subprocess.run(command, cwd=outside, env=env, check=True, capture_output=True, text=True)
    folder = Path(json.loads(listed.stdout)["Dir"])
    loaded: dict[str, Any] = json.loads((folder / "api/openapi-spec/swagger.json").read_text())
    return loaded


def referred(node: Any) -> Iterator[str]:
    """Names of the definitions that a schema refers to."""
    if isinstance(node, dict):
        if isinstance(name := node.get("$ref"), str):
            yield name.removeprefix(DEFINITIONS)
        for each in node.values():
            yield from referred(each)
    elif isinstance(node, list):
        for each in node:
            yield from referred(each)


def closed(node: Any) -> Any:
    """The schema with unknown fields refused, as the API server's strict validation does."""
    if isinstance(node, dict):
        result = {key: closed(value) for key, value in node.items()}
        if "properties" in node and "additionalProperties" not in node:
            result["additionalProperties"] = False
        if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
            return {"anyOf": [{"type": "string"}, {"type": "integer"}]}
        return result
    return [closed(each) for each in node] if isinstance(node, list) else node


def write_schema(folder: Path, group: str, version: str, kind: str, schema: dict[str, Any]) -> None:
    """The file that kubeconform looks for."""
    middle = f"{group.partition('.')[0]}-" if group else ""
    (folder / f"{kind.lower()}-{middle}{version}.json").write_text(json.dumps(schema))


def write_schemas(folder: Path, kinds: set[tuple[str, str, str]]) -> None:
    """Schemas of the kinds in use: Kubernetes' own, each with its closure of definitions, and ours."""
    definitions = swagger()["definitions"]
    for name, definition in definitions.items():
        for gvk in definition.get("x-kubernetes-group-version-kind", []):
            if (gvk["group"], gvk["version"], gvk["kind"]) not in kinds:
                continue
            needed, queue = {}, [name]
            while queue:
                if (each := queue.pop()) not in needed:
                    needed[each] = _definition(definitions, each)
                    queue.extend(referred(definitions[each]))
            schema = {**needed[name], "definitions": needed}
            write_schema(folder, gvk["group"], gvk["version"], gvk["kind"], schema)
    for path in (ROOT / "crds").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for each in spec["versions"]:
            schema = each["schema"]["openAPIV3Schema"]
            # The API server fills these in where a structural schema leaves them out.
            schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
            write_schema(folder, spec["group"], each["name"], spec["names"]["kind"], closed(schema))


def _definition(definitions: dict[str, Any], name: str) -> Any:
    # JSONSchemaProps is recursive through fields named like schema keywords; its own server checks it.
    if name.endswith(("JSONSchemaProps", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray", ".JSON")):
        return {}
    return closed(definitions[name])


def conform(manifests: str, what: str) -> bool:
    """Validates a YAML stream; prints kubeconform's verdict."""
    documents = [each for each in yaml.safe_load_all(manifests) if each]
    kinds = set()
    for each in documents:
        group, _, version = each["apiVersion"].rpartition("/")
        kinds.add((group, version, each["kind"]))
    with tempfile.TemporaryDirectory() as name:
        write_schemas(Path(name), kinds)
        location = name + "/{{ .ResourceKind }}{{ .KindSuffix }}.json"
        command = [binary("kubeconform"), "-strict", "-summary", "-schema-location", location]
        command += ["-skip", ",".join(FOREIGN), "-"]
        done = subprocess.run(command, input=manifests, text=True, capture_output=True, check=False)
    print(f"{what}: {(done.stdout + done.stderr).strip()}")
    return done.returncode == 0


def rights(manifests: str) -> dict[tuple[str, str], set[str]]:
    """(group, resource) -> verbs that the operator's own roles give it."""
    found: dict[tuple[str, str], set[str]] = {}
    for each in yaml.safe_load_all(manifests):
        if (
            not each
            or each["kind"] not in ("Role", "ClusterRole")
            or each["metadata"]["name"].endswith(PEOPLE)
        ):
            continue
        for rule in each["rules"]:
            for pair in itertools.product(rule["apiGroups"], rule["resources"]):
                found.setdefault(pair, set()).update(rule["verbs"])
    return found


def documented_rights() -> dict[tuple[str, str], set[str]]:
    """The same, from the table of docs/security.md."""
    part = (ROOT / "docs" / "security.md").read_text().split("## The operator's rights")[1].split("\n## ")[0]
    found: dict[tuple[str, str], set[str]] = {}
    for line in part.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] not in ("group", "---"):  # noqa: PLR2004
            group = "" if cells[0] == "core" else cells[0]
            resources = cells[1].partition(", in its own")[0].split(", ")
            verbs = {verb.partition(" ")[0] for verb in re.split(r"[,;] ", cells[2])}
            found |= {(group, resource): verbs for resource in resources}
    return found


def rights_agree(manifests: str) -> bool:
    """Prints where chart and documentation differ, and any wildcard."""
    real, written = rights(manifests), documented_rights()
    good = True
    for pair in sorted(set(real) | set(written)):
        if real.get(pair) != written.get(pair):
            shown = (sorted(given.get(pair, set())) for given in (real, written))
            print("rights on {}/{}: the chart gives {}, docs/security.md says {}".format(*pair, *shown))
            good = False
        if "*" in (*pair, *real.get(pair, ())):
            print(f"rights on {pair}: a wildcard")
            good = False
    return good


def foreign(path: Path) -> bool:
    """Whether an example is another system's: of pipelines, or objects that only show a status."""
    return {"argocd", "pipelines"} & set(path.parts) != set()


def alerts_known(manifests: str) -> bool:
    """Prints metrics that an alert asks for and the operator does not have."""
    sources = (ROOT / "operator" / "moltbot_operator").rglob("*.py")
    known = {name for each in sources for name in re.findall(r"\bmoltbot_[a-z_]+", each.read_text())}
    known |= {f"{name}_total" for name in known}  # the client library adds it to a counter's name
    good = True
    for each in yaml.safe_load_all(manifests):
        if not each or each["kind"] != "PrometheusRule":
            continue
        for rule in (rule for group in each["spec"]["groups"] for rule in group["rules"]):
            if missing := set(re.findall(r"\bmoltbot_[a-z_]+", rule["expr"])) - known:
                print(f"alert {rule['alert']}: the operator has no {', '.join(sorted(missing))}")
                good = False
            if not {"summary", "description"} <= rule["annotations"].keys():
                print(f"alert {rule['alert']}: needs a summary and a description")
                good = False
    return good


def main() -> int:
    """1 when anything is refused that should pass, or passes that should be refused."""
    helm, good = binary("helm"), True
    lint = subprocess.run([helm, "lint", "--strict", "--quiet", str(CHART)], check=False)
    good &= lint.returncode == 0
    template = [helm, "template", "moltbot", str(CHART), "--namespace", "moltbot-system"]
    for name, args in VARIANTS.items():
        done = subprocess.run([*template, *args], text=True, capture_output=True, check=False)
        if done.returncode:
            print(f"{name}: {done.stderr}")
            good = False
        else:
            good &= conform(done.stdout, f"chart, {name}")
            good &= name != "defaults" or rights_agree(done.stdout)
            good &= alerts_known(done.stdout)
    for name, args in REFUSED.items():
        done = subprocess.run([*template, *args], text=True, capture_output=True, check=False)
        if done.returncode == 0 or "schema" not in done.stderr:
            print(f"{name}: values.schema.json should refuse {args}; helm said: {done.stderr}")
            good = False
    examples = [path for path in sorted((ROOT / "examples").glob("**/*.yaml")) if not foreign(path)]
    good &= conform("\n---\n".join(path.read_text() for path in examples), f"{len(examples)} examples")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
