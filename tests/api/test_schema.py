"""The CRDs at a real API server: bad input is refused with a remedy, good input is kept as it was written."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_bed import ApiBed
from bad_input import CASES, GOOD, Case

from moltbot_operator.api import parse_manifest
from moltbot_operator.api.regex import is_re2
from moltbot_operator.api.route import MAX_RULES

pytestmark = pytest.mark.api

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

Manifest = dict[str, Any]


def create(bed: ApiBed, manifest: Manifest, *flags: str) -> Manifest:
    """Creates an object (not really, unless told) and gives it as the server completes it."""
    answer = bed.kubectl(
        "create", "--validate=strict", *(flags or ("--dry-run=server",)), "-o", "json", "-f", "-",
        stdin=json.dumps(manifest),
    )  # fmt: skip
    return json.loads(answer)


def route(name: str, spec: Manifest) -> Manifest:
    return {**GOOD["route"], "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.mark.parametrize("kind", GOOD)
def test_good_objects_are_taken(api_bed: ApiBed, kind: str) -> None:
    assert create(api_bed, GOOD[kind])["metadata"]["name"] == GOOD[kind]["metadata"]["name"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_refused_with_a_remedy(api_bed: ApiBed, case: Case) -> None:
    with pytest.raises(RuntimeError) as refused:
        create(api_bed, case.manifest)
    assert case.says in str(refused.value)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_taken(api_bed: ApiBed, example: Path) -> None:
    api_bed.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(example))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_server_adds_only_defaults_that_the_types_have(api_bed: ApiBed, example: Path) -> None:
    for manifest in yaml.safe_load_all(example.read_text(encoding="utf-8")):
        manifest["metadata"]["namespace"] = "default"
        completed = parse_manifest(create(api_bed, manifest))
        assert completed.spec == parse_manifest(manifest).spec


def test_the_server_adds_nothing_inside_lists(api_bed: ApiBed) -> None:
    completed = create(api_bed, GOOD["route"])
    assert completed["spec"]["rules"] == GOOD["route"]["spec"]["rules"]
    assert completed["spec"]["consumers"] == GOOD["route"]["spec"]["consumers"]


def test_a_second_apply_changes_nothing(api_bed: ApiBed, namespace: str) -> None:
    for example in EXAMPLES:
        apply = ("apply", "--server-side", "-n", namespace, "-f", str(example))
        api_bed.kubectl(*apply)
        versions = api_bed.kubectl("get", "mbr,mb", "-n", namespace, "-o", "jsonpath={..resourceVersion}")
        api_bed.kubectl(*apply)
        again = api_bed.kubectl("get", "mbr,mb", "-n", namespace, "-o", "jsonpath={..resourceVersion}")
        assert again == versions
        api_bed.kubectl("apply", "-n", namespace, "-f", str(example))  # client-side: the CRDs' size allows it


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("mbr.spec.rules", "Which requests the rule takes"),
        ("mbr.spec.rules.candidates", "Share relative to the sum of all weights"),
        ("mbr.spec.consumers", "least privilege"),
        ("mb.spec.auth.apiKey", "Header that carries the key"),
        ("mb.spec.timeouts", "Defaults to 5s"),
        ("mb.status.conditions", "CamelCase word from a closed list"),
    ],
)
def test_explain_reads_like_documentation(api_bed: ApiBed, path: str, wanted: str) -> None:
    explained = " ".join(api_bed.kubectl("explain", path).split())
    assert wanted in explained
    assert "<no description>" not in explained


def test_short_names_category_and_columns(api_bed: ApiBed, namespace: str) -> None:
    for kind, plural in (("route", "mbr"), ("backend", "mb")):
        manifest = copy.deepcopy(GOOD[kind])
        manifest["metadata"]["namespace"] = namespace
        create(api_bed, manifest, "--dry-run=none")
        head = api_bed.kubectl("get", plural, "-n", namespace).splitlines()[0].split()
        assert (
            head
            == {
                "mbr": ["NAME", "READY", "PHASE", "ACTIVE", "PREVIEW", "WORKERS", "ADDRESS", "AGE"],
                "mb": ["NAME", "PROVIDER", "MODEL", "READY", "ROTATION", "LATENCY", "AGE"],
            }[plural]
        )
    assert len(api_bed.kubectl("get", "moltbot", "-n", namespace, "-o", "name").split()) == 2


def test_scale_writes_the_workers(api_bed: ApiBed, namespace: str) -> None:
    manifest = route("scaled", GOOD["route"]["spec"] | {"worker": {}})
    manifest["metadata"]["namespace"] = namespace
    assert create(api_bed, manifest, "--dry-run=none")["spec"]["worker"]["replicas"] == 1
    api_bed.kubectl("scale", "mbr/scaled", "-n", namespace, "--replicas=5")
    replicas = api_bed.kubectl(
        "get", "mbr", "scaled", "-n", namespace, "-o", "jsonpath={.spec.worker.replicas}"
    )
    assert replicas == "5"


def test_a_route_holds_1024_rules_and_1024_backends(api_bed: ApiBed, namespace: str) -> None:
    rule = GOOD["route"]["spec"]["rules"][0]
    rules = [
        rule
        | {
            "name": f"rule-{at}",
            "candidates": [
                {"backend": f"backend-{at}", "weight": 70},
                {"backend": f"other-{at}", "weight": 30},
            ],
        }
        for at in range(MAX_RULES)
    ]
    anyone = {
        "name": "anyone",
        "auth": {"anonymous": {}},
        "backends": [f"backend-{at}" for at in range(1024)],
    }
    manifest = route("large", {"rules": rules, "consumers": [anyone]})
    manifest["metadata"]["namespace"] = namespace
    made = create(api_bed, manifest, "--dry-run=none")
    assert len(parse_manifest(made).spec.rules) == MAX_RULES
    with pytest.raises(RuntimeError, match="must have at most 1024 items"):
        create(api_bed, route("larger", {"rules": [*rules, rule]}))


EXPRESSIONS = [
    "^/tech/", "a*", "a**", "a*?", "a*??", "*a", "a|*", "(a", "a)", "(a)", "()", "(|a)", "a||b", "[a-z]", "[z-a]",
    "[]a]", "[^]a]", "[a", "[]", "[[:alpha:]]", "[[:^digit:]x]", "[[:letter:]]", r"[\d-z]", r"[a-\d]", r"[\w]",
    r"[\b]", r"[\Q]", "a{2}", "a{2,}", "a{2,1}", "a{1001}", "a{1000}", "a{,2}", "a{", "a{x}", "(a{100}){11}",
    "(a{100}){10}", "((a{10}){10}){11}", r"\d+", r"\z", r"\Z", r"\A", r"\G", r"\1", r"\01", r"\12", r"\8", r"\x41",
    r"\x{41}", r"\x{110000}", r"\x4", r"\pN", r"\p{Greek}", r"\P{^Greek}", r"\p", r"\Q*(\E", r"\Qa", r"\Qa\E*", r"\_",
    r"\-", r"\e", r"\R", r"\h", r"\K", "\\", r"\ ", "(?i)a", "(?i:a)", "(?-s)a", "(?i-s:a)", "(?x)a", "(?U)a*",
    "(?P<name>a)", "(?<name>a)", "(?P<name>a)(?P<name>b)", "(?P<>a)", "(?P=name)", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)",
    "(?>a)", "(?(1)a)", "(?#comment)", "a++", "a*+", "^*", "$+", "(?:a)", "(?:)", "(?i)*", "a(?i)*", "ä+", "日本", ".",
    r"\C", "a\nb", "(a|b)*c|d", "[a-z-9]", "[-a]", "[a-]", r"[\]]", r"[\x41-\x5a]", r"[\t-\r]", r"[\p{Lu}]",
]  # fmt: skip
"""Expressions of RE2, of other dialects and of none."""


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_types_know_re2_as_the_server_does(api_bed: ApiBed, expression: str) -> None:
    manifest = copy.deepcopy(GOOD["route"])
    manifest["spec"]["rules"][0]["matches"][0]["path"]["value"] = expression
    try:
        create(api_bed, manifest)
    except RuntimeError as refused:
        assert "no regular expression of RE2" in str(refused)  # noqa: PT017 - both outcomes are compared
        taken = False
    else:
        taken = True
    assert is_re2(expression) == taken
