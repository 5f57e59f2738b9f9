"""When a token is got, sent, kept over a restart and taken away; files as Envoy would see them."""

import json

import pytest

from moltbot_agent import deliveries as module
from moltbot_agent import tokens
from moltbot_agent.config import FetchedToken, SignedToken
from moltbot_agent.evidence import evidence, fingerprint
from moltbot_agent.metrics import Metrics
from moltbot_agent.signing import new_key
from moltbot_agent.tokens import Issuance, Token, digest


class Clock:
    """The boot clock and the time of day, moved by a test."""

    def __init__(self, monkeypatch) -> None:
        self.now, self.offset = 1000.0, 1_700_000_000.0
        for place in (tokens, module):
            monkeypatch.setattr(place, "boot", lambda: self.now)
            monkeypatch.setattr(place, "offset", lambda: self.offset)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Agent:
    """One gateway with a fetched token for two backends, or a signed one."""

    def __init__(self, gateway, token) -> None:
        self.run = gateway.folder / "run"
        first = gateway.credential("one")
        state = self.run / "tokens" / "t.json"
        shared = first.model_copy(update={"token": token, "state": state})
        other = shared.model_copy(update={"backend": "team/two"})
        self.config = gateway.config.model_copy(update={"credentials": (shared, other)})
        self.state, self.target = state, shared.target
        self.gateway = gateway
        self.start()

    def start(self) -> None:
        self.deliveries = module.Deliveries(self.config, {})
        self.deliveries.run_once()

    @property
    def issuance(self) -> Issuance:
        [one] = self.deliveries.issuances
        return one

    @property
    def sent(self) -> str:
        [resource] = json.loads(self.target.read_bytes())["resources"]
        return resource["generic_secret"]["secret"]["inline_string"]

    def got(self, clock, value="t1", life=60.0, source="key-of-one") -> None:
        self.issuance.got(Token.issue(value, clock.now, life, digest(source)))
        self.deliveries.run_once()


FETCHED = FetchedToken(url="https://idp.example/token", client_id="c", ca="/ca")
SIGNED = SignedToken(issuer="i", subject="s", audience="a", algorithm="ES256", ttl_s=60)


@pytest.fixture
def agent(make_gateway, clock):  # noqa: ARG001
    return Agent(make_gateway({"one": 1}), FETCHED)


def test_envoy_waits_for_the_first_attempt_and_not_for_ever(agent, clock):
    assert not agent.deliveries.ready
    assert agent.sent == ""
    clock.now += module.FIRST_TOKENS_S + 1
    agent.deliveries.run_once()
    assert agent.deliveries.ready


@pytest.mark.parametrize("attempt", ["got", "missed"])
def test_one_attempt_is_enough_for_envoy_to_start(agent, clock, attempt):
    if attempt == "got":
        agent.got(clock)
    else:
        agent.issuance.missed("it is down", clock.now)
        agent.deliveries.run_once()
    assert agent.deliveries.ready
    assert agent.sent == ("Bearer t1" if attempt == "got" else "")


def test_a_token_is_sent_until_shortly_before_its_end_and_never_after(agent, clock):
    agent.got(clock, life=60)
    assert [state.value for state in agent.deliveries.credentials] == ["t1", "t1"]
    clock.now += 57.9
    agent.deliveries.run_once()
    assert agent.sent == "Bearer t1"
    assert agent.deliveries.next_due <= clock.now + 60
    clock.now += 0.2
    agent.deliveries.run_once()
    assert agent.sent == ""
    assert not agent.state.exists()
    assert [state.value for state in agent.deliveries.credentials] == [None, None]


def test_the_next_is_due_after_about_two_thirds(agent, clock):
    dues = set()
    for number in range(50):
        agent.got(clock, f"t{number}", life=90)
        dues.add(agent.issuance.next_due - clock.now)
    assert all(0.56 * 90 < due < 0.68 * 90 for due in dues)
    assert len(dues) > 40  # each drawn anew
    assert not agent.issuance.due(clock.now + 50)
    assert agent.issuance.due(clock.now + 61)


def test_failures_pause_longer_each_time_but_leave_attempts_before_the_end(agent, clock):
    pauses = []
    for _ in range(12):
        agent.issuance.missed("down", clock.now, draw=lambda: 0.0)
        pauses.append(agent.issuance.next_due - clock.now)
        clock.now = agent.issuance.next_due
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(pauses) == tokens.LONGEST_PAUSE_S
    agent.got(clock, life=40)
    clock.now += 27
    attempts = 0
    while agent.issuance.token and clock.now < agent.issuance.token.end:
        assert agent.issuance.due(clock.now)
        agent.issuance.missed("down", clock.now, draw=lambda: 0.0)
        clock.now = agent.issuance.next_due
        attempts += 1
    assert attempts >= 5
    agent.issuance.missed("down", clock.now, retry_after_s=20.0)
    assert agent.issuance.next_due >= clock.now + 20
    agent.issuance.missed("down", clock.now, retry_after_s=9999.0)
    assert agent.issuance.next_due <= clock.now + tokens.LONGEST_WAIT_S


def test_another_client_secret_makes_a_token_due_at_once_and_the_old_one_stays_meanwhile(agent, clock):
    agent.got(clock)
    assert not agent.issuance.due(clock.now + 1)
    agent.gateway.secret("credentials/one", {"token": "another"})
    agent.deliveries.run_once()
    assert agent.issuance.due(clock.now)
    assert agent.sent == "Bearer t1"
    agent.issuance.missed("answered 401 invalid_client", clock.now)
    agent.deliveries.run_once()
    assert agent.sent == "Bearer t1"
    assert len(agent.deliveries.problems) == 2
    assert all("the last token is sent" in problem for problem in agent.deliveries.problems)
    agent.got(clock, "t2", source="another")
    assert agent.sent == "Bearer t2"
    assert agent.deliveries.problems == []


def test_an_agent_that_starts_again_leaves_a_valid_token_alone(agent, clock):
    agent.got(clock)
    renew = agent.issuance.next_due
    before = (agent.target.stat().st_ino, agent.state.stat().st_ino)
    clock.now += 5
    agent.start()
    assert agent.deliveries.ready
    assert (agent.target.stat().st_ino, agent.state.stat().st_ino) == before
    assert agent.issuance.next_due == renew
    assert agent.issuance.known_source == "key-of-one"
    assert oct(agent.state.stat().st_mode & 0o777) == "0o600"


def test_an_agent_that_was_away_too_long_takes_the_token_away(agent, clock):
    agent.got(clock)
    clock.now += 100
    agent.start()
    assert agent.sent == ""
    assert agent.issuance.due(clock.now)


def test_a_secret_that_changed_while_the_agent_was_away_makes_a_token_due(agent, clock):
    agent.got(clock)
    agent.gateway.secret("credentials/one", {"token": "another"})
    agent.start()
    assert agent.sent == "Bearer t1"
    assert agent.issuance.due(clock.now)
    assert agent.issuance.known_source is None


@pytest.mark.parametrize("left", [b"", b"junk", b"{}", b'{"value": 5, "issued": "x"}'])
def test_a_token_without_a_readable_end_is_not_sent_again(agent, clock, left):
    agent.got(clock)
    agent.state.write_bytes(left)
    agent.start()
    assert agent.sent == ""


def test_a_crash_between_the_two_files_leaves_nothing_without_an_end(agent, clock):
    agent.got(clock)
    newer = Token.issue("t2", clock.now, 60.0, digest("key-of-one"))
    agent.state.write_bytes(newer.pack())  # as if the agent had died before it wrote Envoy's file
    agent.start()
    assert agent.sent == "Bearer t2"


def test_a_missing_client_secret_lets_the_token_live_out_its_life(agent, clock):
    agent.got(clock)
    agent.gateway.secret("credentials/one", {})
    agent.deliveries.run_once()
    assert agent.sent == "Bearer t1"
    assert "does not exist" in agent.deliveries.problems[0]
    clock.now += 59
    agent.deliveries.run_once()
    assert agent.sent == ""
    assert not agent.issuance.due(clock.now)


def test_evidence_and_metrics_tell_of_the_token_and_never_its_value(agent, clock):
    class NoEnvoy:
        def server(self):
            raise module_unavailable

        def stats(self, _pattern):
            raise module_unavailable

        def prometheus(self, _pattern):
            raise module_unavailable

    from moltbot_agent.errors import AdminUnavailable

    module_unavailable = AdminUnavailable("no Envoy here")
    agent.got(clock, "tok3n-value")
    agent.issuance.missed("down", clock.now)
    told = evidence(agent.config, agent.deliveries, NoEnvoy(), b"evidence-token")
    one, two = told["credentials"]
    assert (one["backend"], two["backend"]) == ("team/one", "team/two")
    assert one["kind"] == "OAuth2"
    assert one["present"] is True
    assert one["fingerprint"] == fingerprint(b"evidence-token", "key-of-one")
    assert one["notAfter"].startswith("2023-11-14T")
    text = Metrics(agent.config, agent.deliveries, NoEnvoy()).exposition().decode()
    labels = '{backend="team/one",route="team/chat"}'
    assert f"moltbot_agent_credential_present{labels} 1.0" in text
    assert f"moltbot_agent_credential_expiry_seconds{labels}" in text
    assert 'moltbot_agent_tokens_total{backend="team/two",outcome="failure",route="team/chat"} 1.0' in text
    for secret in ("tok3n-value", "key-of-one"):
        assert secret not in text
        assert secret not in json.dumps(told)
        assert secret not in repr(agent.issuance.token)


@pytest.fixture
def signing(make_gateway, clock):  # noqa: ARG001
    gateway = make_gateway({"one": 1})
    gateway.secret("credentials/one", {"token": new_key("ES256")})
    return Agent(gateway, SIGNED)


def test_a_signed_token_is_there_from_the_first_moment_and_renewed(signing, clock):
    assert signing.deliveries.ready
    first = signing.sent
    assert first.startswith("Bearer ey")
    clock.now += 30
    signing.deliveries.run_once()
    assert signing.sent == first
    clock.now += 12
    signing.deliveries.run_once()
    assert signing.sent != first
    assert signing.issuance.succeeded == 2


def test_another_key_signs_at_once(signing):
    first = signing.sent
    signing.gateway.secret("credentials/one", {"token": new_key("ES256")})
    signing.deliveries.run_once()
    assert signing.sent != first


@pytest.mark.parametrize("pem", ["junk", new_key("EdDSA")])
def test_an_unusable_key_is_named_and_the_last_token_lives_on(signing, clock, pem):
    first = signing.sent
    signing.gateway.secret("credentials/one", {"token": pem})
    signing.deliveries.run_once()
    assert signing.sent == first
    assert "team/one: JWT:" in signing.deliveries.problems[0]
    assert pem[:25] not in " ".join(signing.deliveries.problems)
    clock.now += 60
    signing.deliveries.run_once()
    assert signing.sent == ""


def test_a_time_of_day_that_is_set_makes_a_signed_token_due(signing, clock):
    first = signing.sent
    clock.offset += 3
    signing.deliveries.run_once()
    assert signing.sent == first
    clock.offset += 3600
    signing.deliveries.run_once()
    assert signing.sent != first


def test_an_agent_that_starts_again_signs_nothing_new(signing, clock):
    first = signing.sent
    clock.now += 5
    signing.start()
    assert signing.sent == first
    assert signing.issuance.succeeded == 0
