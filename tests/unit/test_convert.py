"""models.config.json ⇄ manifests."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from moltbot_operator.api import parse_manifest
from moltbot_operator.convert import convert, convert_text, to_config
from moltbot_operator.convert.names import label, unique_labels
from moltbot_operator.convert.weights import MAX_WEIGHT, from_whole, to_whole
from moltbot_operator.errors import ConversionError, InvalidInput

EXAMPLES = Path(__file__).parents[2] / "examples"
PRODUCT = (EXAMPLES / "models.config.json").read_text(encoding="utf-8")

Config = dict[str, Any]


def config(*candidates: object, **members: object) -> Config:
    listed = [{"model": each} if isinstance(each, str) else each for each in candidates]
    return {"routes": [{"pattern": "^/tech/", "candidates": listed}], **members}


def route_of(manifests: list[Config]) -> Config:
    return manifests[-1]["spec"]


def weights_of(*weights: float) -> list[int]:
    candidates = [{"model": f"m{at}", "weight": weight} for at, weight in enumerate(weights)]
    return [each["weight"] for each in route_of(convert(config(*candidates)))["rules"][0]["candidates"]]


class TestTheProductsFile:
    def test_gives_one_route_and_a_backend_a_model(self) -> None:
        *backends, route = convert(PRODUCT)
        assert [backend["metadata"]["name"] for backend in backends] == [
            "dialog-pro",
            "dialog-max",
            "code-model-v2",
        ]
        assert backends[0]["spec"] == {
            "provider": "Custom",
            "model": "dialog_pro",
            "endpoint": {"service": {"name": "dialog-pro", "port": 8000}},
        }
        assert route["metadata"]["name"] == "models"
        assert route["spec"]["rules"] == [
            {
                "name": "tech",
                "matches": [{"path": {"type": "Regex", "value": "^/tech/"}}],
                "candidates": [
                    {"backend": "dialog-pro", "weight": 70},
                    {"backend": "dialog-max", "weight": 30},
                ],
                "fallback": ["code-model-v2"],
                "failover": {"maxRetries": 3, "backoff": {"strategy": "Exponential"}},
            }
        ]

    def test_says_that_everybody_may_use_every_model(self) -> None:
        assert route_of(convert(PRODUCT))["consumers"] == [
            {
                "name": "anyone",
                "auth": {"anonymous": {}},
                "backends": ["dialog-pro", "dialog-max", "code-model-v2"],
            }
        ]

    def test_comes_back_as_it_was(self) -> None:
        assert to_config(convert(PRODUCT)) == json.loads(PRODUCT)

    def test_is_the_example(self) -> None:
        written = list(yaml.safe_load_all((EXAMPLES / "models.yaml").read_text(encoding="utf-8")))
        assert written == convert(PRODUCT)

    def test_as_files(self) -> None:
        files = convert_text(PRODUCT, source="models.config.json", namespace="demo")
        assert list(files) == [
            "modelbackend-dialog-pro.yaml",
            "modelbackend-dialog-max.yaml",
            "modelbackend-code-model-v2.yaml",
            "moltbotroute-models.yaml",
        ]
        assert all(yaml.safe_load(text)["metadata"]["namespace"] == "demo" for text in files.values())


class TestWeights:
    @pytest.mark.parametrize(
        ("given", "whole"),
        [
            ((0.7, 0.3), [70, 30]),
            ((0.1, 0.2, 0.7), [10, 20, 70]),
            ((0.125, 0.875), [125, 875]),
            ((70, 30), [70, 30]),
            ((1.0, 0.5), [100, 50]),
            ((2.0, 1), [2, 1]),
            ((0.0, 1), [0, 1]),
            ((0.000001, 0.999999), [1, 999_999]),
            ((5_000_000, 10_000_000), [1, 2]),
            ((1e-7, 3e-7), [1, 3]),
            ((1e300, 1e300), [1, 1]),
        ],
    )
    def test_become_whole_without_rounding(self, given: tuple[float, ...], whole: list[int]) -> None:
        assert weights_of(*given) == whole

    def test_none_stay_none(self) -> None:
        made = convert(config("a", "b"))
        assert route_of(made)["rules"][0]["candidates"] == [{"backend": "a"}, {"backend": "b"}]
        assert to_config(made) == config("a", "b")

    def test_that_would_need_rounding_are_refused(self) -> None:
        candidates = [{"model": "a", "weight": 0.0000001}, {"model": "b", "weight": 0.9999999}]
        with pytest.raises(ConversionError, match=r"routes\[0\]\.candidates: .* whole numbers up to 9999999"):
            convert(config(*candidates))

    def test_of_more_digits_than_json_readers_keep_are_refused(self) -> None:
        text = PRODUCT.replace("0.7", "0.70000000000000000001")
        with pytest.raises(ConversionError, match="write at most 15 digits"):
            convert(text)

    @given(st.lists(st.decimals(0, 1000, places=4), min_size=1, max_size=8).filter(any))
    def test_keep_their_proportions_exactly(self, weights: list[Decimal]) -> None:
        try:
            whole, unit = to_whole(weights)
        except ValueError:
            return
        assert all(0 <= each <= MAX_WEIGHT for each in whole)
        assert [Fraction(each) * Fraction(unit) for each in whole] == [Fraction(each) for each in weights]
        assert from_whole(whole, unit) == [float(each) for each in weights]


class TestNames:
    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("dialog_pro", "dialog-pro"),
            ("GPT-4o", "gpt-4o"),
            ("Qwen/Qwen3-8B", "qwen-qwen3-8b"),
            ("^/tech/", "tech"),
            ("^/$", "other"),
            ("模型", "other"),
            ("a" * 80, "a" * 63),
            ("a" * 62 + "_b", "a" * 62),
        ],
    )
    def test_labels(self, text: str, name: str) -> None:
        assert label(text, "other") == name

    def test_collisions_get_numbers_and_labels_keep_their_own(self) -> None:
        assert unique_labels(["a_b", "a.b", "a-b", "a-b-2"], "x") == ["a-b-3", "a-b-4", "a-b", "a-b-2"]
        assert unique_labels(["_", "."], "model") == ["model", "model-2"]
        assert unique_labels(["a"], "x", ["a"]) == ["a-2"]

    @given(st.lists(st.text(min_size=1, max_size=70), max_size=12))
    def test_are_labels_and_all_different(self, texts: list[str]) -> None:
        names = unique_labels(texts, "model")
        assert len(set(names)) == len(texts)
        assert all(label(name, "") == name for name in names)

    def test_models_with_like_names_come_back(self) -> None:
        given = config("a_b", "a.b", "a-b")
        made = convert(given)
        assert [each["metadata"]["name"] for each in made[:-1]] == ["a-b-2", "a-b-3", "a-b"]
        assert to_config(made) == given

    def test_rules_of_one_pattern_get_numbers(self) -> None:
        given = {"routes": [{"pattern": "^/a/", "candidates": [{"model": model}]} for model in "xyz"]}
        made = convert(given)
        assert [rule["name"] for rule in route_of(made)["rules"]] == ["a", "a-2", "a-3"]
        assert to_config(made) == given

    def test_given_names_win(self) -> None:
        given = {
            "name": "assistant",
            "routes": [
                {"pattern": "^/a/", "candidates": [{"model": "x"}]},
                {"name": "a", "pattern": "^/b/", "candidates": [{"model": "x"}]},
            ],
        }
        made = convert(given)
        assert made[-1]["metadata"]["name"] == "assistant"
        assert [rule["name"] for rule in route_of(made)["rules"]] == ["a-2", "a"]
        assert convert(to_config(made)) == made


class TestModels:
    def test_an_entry_says_where_a_model_is(self) -> None:
        given = config(
            "dialog_pro",
            models={
                "dialog_pro": {
                    "provider": "OpenAI",
                    "model": "gpt-4o",
                    "auth": {"type": "APIKey", "api_key": {"secret_ref": {"name": "openai", "key": "token"}}},
                },
                "spare": {"endpoint": {"url": "http://10.0.0.1:8000"}},
                "unused": {},
            },
        )
        made = convert(given)
        assert made[0]["spec"] == {
            "provider": "OpenAI",
            "model": "gpt-4o",
            "auth": {"type": "APIKey", "apiKey": {"secretRef": {"name": "openai", "key": "token"}}},
        }
        assert made[1]["spec"]["endpoint"] == {"url": "http://10.0.0.1:8000"}
        assert route_of(made)["consumers"][0]["backends"] == ["dialog-pro", "spare", "unused"]
        assert to_config(made) == given

    def test_camel_case_is_taken_too(self) -> None:
        given = config("a", models={"a": {"provider": "OpenAI", "circuitBreaker": {"errorRatePercent": 20}}})
        assert convert(given)[0]["spec"]["circuitBreaker"] == {"errorRatePercent": 20}

    def test_a_null_model_passes_the_clients_name_on(self) -> None:
        given = config("a", models={"a": {"model": None}})
        made = convert(given)
        assert "model" not in made[0]["spec"]
        assert to_config(made) == given

    def test_self_hosted_providers_have_the_same_service(self) -> None:
        made = convert(config("a", models={"a": {"provider": "VLLM"}}))
        assert made[0]["spec"]["endpoint"] == {"service": {"name": "a", "port": 8000}}


class TestFailover:
    def test_every_field(self) -> None:
        failover = {
            "max_retries": 2,
            "backoff_strategy": "exponential",
            "backoff_base": "50ms",
            "backoff_max": "1s",
            "per_try_timeout": "10s",
            "retry_on": ["5xx", "429"],
        }
        made = convert(config("a", failover=failover))
        assert route_of(made)["rules"][0]["failover"] == {
            "maxRetries": 2,
            "backoff": {"strategy": "Exponential", "base": "50ms", "max": "1s"},
            "perTryTimeout": "10s",
            "retryOn": ["5xx", "429"],
        }
        assert to_config(made) == config("a", failover=failover)

    def test_an_empty_one_stays(self) -> None:
        assert to_config(convert(config("a", failover={}))) == config("a", failover={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"routes": [}', r"f\.json: line 1 column 13: this is no JSON"),
        ('{"routes": [],\n "routes": []}', "the field 'routes' stands twice"),
        ('{"routes": [{"pattern": "a", "candidates": [{"model": "a", "weight": NaN}]}]}', "NaN is no number"),
        ("[" * 100_000, r"f\.json: "),
        ("[]", "the file: Input should be"),
        ("{}", "routes: this field is missing: add it"),
    ],
)
def test_what_is_no_such_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(text, source="f.json")


def changed(**members: object) -> Config:
    (route,) = config("a", "b")["routes"]
    return {"routes": [route | members]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"routes": []}, "routes: "),
        (config("a", extra=1), "extra: this field is unknown: remove it"),
        (changed(pattern="^/te(ch/"), r"routes\[0\]\.pattern: this is no regular expression of RE2"),
        (changed(pattern=5), r"routes\[0\]\.pattern: "),
        (changed(candidates=[]), r"routes\[0\]\.candidates: "),
        (
            changed(candidates=[{"model": "a b"}]),
            r"routes\[0\]\.candidates\[0\]\.model: write a model's name",
        ),
        (changed(candidates=[{"model": "a"}, {"model": "a"}]), "list it once, with the sum of its weights"),
        (
            changed(candidates=[{"model": "a", "weight": -1}]),
            r"candidates\[0\]\.weight: write a number of at least 0",
        ),
        (
            changed(candidates=[{"model": "a", "weight": "1"}]),
            r"candidates\[0\]\.weight: write a number such as 0\.7",
        ),
        (changed(candidates=[{"model": "a", "weight": True}]), "write a number such as"),
        (changed(candidates=[{"model": "a", "weight": float("inf")}]), "write a number of at least 0"),
        (changed(candidates=[{"model": "a", "weight": 0}]), "give at least one a weight above 0"),
        (changed(candidates=[{"model": "a", "weight": 1}, {"model": "b"}]), "give all a weight, or none"),
        (changed(fallback="a"), r"routes\[0\]: a fallback is listed twice or is a candidate too"),
        (changed(fallback=["c", "c"]), "a fallback is listed twice"),
        (
            config("a", failover={"backoff_strategy": "linear"}),
            r"failover\.backoff_strategy: Input should be 'exp",
        ),
        (config("a", failover={"max_retries": 99}), r"failover\.max_retries: "),
        (config("a", failover={"backoff_base": "5s", "backoff_max": "1s"}), "write a max of at least base"),
        (
            config("a", models={"a": {"provider": "Unknown"}}),
            r"models\.a\.provider: Input should be 'OpenAI'",
        ),
        (config("a", models={"a": {"endpoint": {}}}), r"models\.a: this provider has no public address"),
        (config("a", name="Not A Name"), "MoltBotRoute default/Not A Name: .* beginning with a letter"),
        (
            {"routes": [{"name": "x", "pattern": "a", "candidates": [{"model": "a"}]}] * 2},
            "two routes have the same name",
        ),
    ],
)
def test_faults_name_their_place_and_remedy(given: Config, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(given)


class TestBack:
    def test_needs_exactly_one_route(self) -> None:
        with pytest.raises(ConversionError, match="one MoltBotRoute, not 0"):
            to_config(convert(PRODUCT)[:-1])

    def test_needs_every_backend(self) -> None:
        with pytest.raises(ConversionError, match=r"rules\[tech\]: ModelBackend dialog-pro is not given"):
            to_config(convert(PRODUCT)[1:])

    def test_bad_manifests_are_named(self) -> None:
        with pytest.raises(InvalidInput, match="kind: ModelBackend or MoltBotRoute"):
            to_config([{"kind": "Pod"}])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"gateway": {"replicas": 3}}, r"spec\.gateway\.replicas: .* can't say this"),
            ({"consumers": []}, r"spec\.consumers: .* can't say this"),
            ({"worker": {}}, r"spec\.worker: .* can't say this"),
        ],
    )
    def test_what_a_file_cannot_say_is_refused(self, change: Config, message: str) -> None:
        made = convert(PRODUCT)
        made[-1]["spec"] |= change
        with pytest.raises(ConversionError, match=message):
            to_config(made)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"matches": []}, "needs one path of type Regex"),
            ({"matches": [{"path": {"value": "/a"}}]}, r"spec\.rules\[0\]\.matches\[0\]\.path\.type"),
            ({"matches": [{"path": {"value": "/a"}, "model": ["x"]}]}, r"spec\.rules\[0\]\.matches\[0\]"),
            ({"cache": {}}, r"spec\.rules\[0\]\.cache"),
        ],
    )
    def test_rules_that_a_file_cannot_say_are_refused(self, change: Config, message: str) -> None:
        made = convert(PRODUCT)
        made[-1]["spec"]["rules"][0] |= change
        with pytest.raises(ConversionError, match=message):
            to_config(made)

    def test_different_failovers_are_refused(self) -> None:
        made = convert({"routes": [{"pattern": pattern, "candidates": [{"model": "a"}]} for pattern in "xy"]})
        made[-1]["spec"]["rules"][1]["failover"] = {"maxRetries": 1}
        with pytest.raises(ConversionError, match=r"spec\.rules\[1\]\.failover\.maxRetries"):
            to_config(made)

    @pytest.mark.parametrize("units", ["x", "[]", '{"tech": "x"}', '{"tech": []}'])
    def test_a_broken_annotation_is_named(self, units: str) -> None:
        made = convert(PRODUCT)
        made[-1]["metadata"]["annotations"] = {"moltbot.io/weight-units": units}
        with pytest.raises(ConversionError, match="remove the annotation"):
            to_config(made)

    def test_a_name_that_no_file_gives_is_refused(self) -> None:
        made = convert(PRODUCT)
        made[0]["metadata"]["annotations"] = {"moltbot.io/config-model": "other"}
        with pytest.raises(ConversionError, match=r"ModelBackend dialog-pro: .* can't keep this name"):
            to_config(made)

    def test_hand_written_manifests_with_their_own_names(self) -> None:
        made = convert(PRODUCT)
        made[0]["spec"]["model"] = "gpt-4o"
        again = to_config(made)
        assert again["models"] == {"dialog-pro": {"model": "gpt-4o"}}
        assert parse_manifest(convert(again)[0]).spec == parse_manifest(made[0]).spec


MODELS = ["dialog_pro", "dialog_max", "code_model_v2", "gpt-4o", "Qwen/Qwen3-8B", "a_b", "a.b"]
WEIGHTS = st.one_of(
    st.integers(1, 1000),
    st.integers(1, 9999).map(lambda count: count / 1000).filter(lambda weight: weight != int(weight)),
)


@st.composite
def routes(draw: st.DrawFn) -> Config:
    models = draw(st.lists(st.sampled_from(MODELS), min_size=1, unique=True))
    split = draw(st.integers(1, len(models)))
    weighted = draw(st.booleans())
    candidates = [
        {"model": model} | ({"weight": draw(WEIGHTS)} if weighted else {}) for model in models[:split]
    ]
    route: Config = {
        "pattern": draw(st.sampled_from(["^/tech/", "^/code/", "^/", "/v[0-9]+/", "^/tech_/"])),
        "candidates": candidates,
    }
    fallback = models[split:]
    if fallback:
        route["fallback"] = fallback[0] if len(fallback) == 1 else fallback
    return route


FAILOVERS = st.fixed_dictionaries(
    {},
    optional={
        "max_retries": st.integers(0, 10),
        "backoff_strategy": st.just("exponential"),
        "backoff_base": st.sampled_from(["100ms", "1s"]),
        "per_try_timeout": st.sampled_from(["10s", "1m"]),
        "retry_on": st.lists(st.sampled_from(["5xx", "429", "Reset"]), unique=True),
    },
)

ENTRIES = st.dictionaries(
    st.sampled_from(MODELS),
    st.sampled_from(
        [
            {"provider": "OpenAI"},
            {"model": "other"},
            {"model": None},
            {"endpoint": {"url": "http://10.0.0.1:8000"}},
            {"provider": "VLLM", "limits": {"max_connections": 5}},
        ]
    ),
    min_size=1,
)

CONFIGS = st.fixed_dictionaries(
    {"routes": st.lists(routes(), min_size=1, max_size=5)},
    optional={"failover": FAILOVERS, "models": ENTRIES, "name": st.just("assistant")},
)


@given(CONFIGS)
def test_every_file_comes_back_as_it_was(given_config: Config) -> None:
    made = convert(given_config)
    again = to_config(made)
    assert again == given_config
    assert convert(json.dumps(again)) == made


@given(CONFIGS)
def test_shares_are_kept_exactly(given_config: Config) -> None:
    rules = route_of(convert(given_config))["rules"]
    for route, rule in zip(given_config["routes"], rules, strict=True):
        before = [Fraction(repr(each.get("weight", 1))) for each in route["candidates"]]
        after = [Fraction(each.get("weight", 1)) for each in rule["candidates"]]
        assert [each / sum(before) for each in before] == [each / sum(after) for each in after]
