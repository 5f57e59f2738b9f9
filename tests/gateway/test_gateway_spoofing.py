"""Nothing that a client writes into a request changes its backend, consumer or scope.

Two providers: `a`, which both consumers may use, and `b`, which only `wide` may. Requests are written by
hand, so that nothing puts them right on the way; what counts is which provider got something.
"""

import asyncio
import contextlib
import json
import re
import struct
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from gateway_bed import Bed, backend, keyed, route, rule, secret, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moltbot_provider import Provider
from raw_http import RawAnswer, raw

ONE, TWO, DRAWN = "/one/v1/chat/completions", "/two/v1/chat/completions", "/drawn/v1/chat/completions"
BODY = b'{"model": "expensive", "messages": []}'


@dataclass
class World:
    """A gateway and its providers, in a thread of their own, so that tests need no event loop."""

    loop: asyncio.AbstractEventLoop
    bed: Bed
    providers: dict[str, Provider]

    def ask(self, request: bytes) -> tuple[RawAnswer, dict[str, list[Any]]]:
        """The first answer, and what each provider received."""
        before = {name: len(provider.requests) for name, provider in self.providers.items()}
        future = asyncio.run_coroutine_threadsafe(raw(self.bed.running.url, request), self.loop)
        answer = future.result(60)
        got = {name: list(provider.requests)[before[name] :] for name, provider in self.providers.items()}
        got = {name: records for name, records in got.items() if records}
        # A provider keeps no record of a path that its own router does not understand.
        if served := answer.headers.get("x-moltbot-backend"):
            got.setdefault(served, [])
        return answer, got


def prefix(value: str) -> dict[str, Any]:
    return {"path": {"type": "Prefix", "value": value}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made: list[World] = []
    ready, end = threading.Event(), asyncio.Event()

    async def run():
        try:
            async with contextlib.AsyncExitStack() as stack:
                a = await stack.enter_async_context(Provider(name="a"))
                b = await stack.enter_async_context(Provider(name="b"))
                objects = [
                    route(
                        rule("one", ["a"], matches=[prefix("/one")]),
                        rule("two", ["b"], matches=[prefix("/two")]),
                        rule(
                            "drawn",
                            {"a": 1, "b": 1},
                            matches=[prefix("/drawn")],
                        ),
                        rule("asked", ["b"], model=["expensive"]),
                        rule("rest", ["a"]),
                        consumers=[keyed("narrow", "a"), keyed("wide", "a", "b")],
                    ),
                    *backend("a", a.url, key="upstream-a", model="cheap"),
                    *backend("b", b.url, key="upstream-b"),
                    secret("narrow-keys", key="narrow-1"),
                    secret("wide-keys", key="wide-1"),
                ]
                folder = tmp_path_factory.mktemp("spoofing")
                bed = await stack.enter_async_context(serving(*objects, folder=folder))
                made.append(World(asyncio.get_running_loop(), bed, {"a": a, "b": b}))
                ready.set()
                await end.wait()
        finally:
            ready.set()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait(90)
    try:
        assert made, "the gateway did not start"
        yield made[0]
    finally:
        if made:
            made[0].loop.call_soon_threadsafe(end.set)
        thread.join(60)


def request(
    path: str = ONE, *lines: str, key: str | None = "narrow-1", body: bytes = BODY, method: str = "POST"
) -> bytes:
    head = [f"{method} {path} HTTP/1.1"]
    if not any(line.lower().startswith("host:") for line in lines):
        head.append("host: gateway.example")
    if key:
        head.append(f"authorization: Bearer {key}")
    if not any(re.match("content-length|transfer-encoding", line, re.IGNORECASE) for line in lines):
        head += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1") + body


def shaped(answer: RawAnswer) -> dict[str, Any]:
    """The error, which must have OpenAI's shape."""
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert answer.headers["content-type"].startswith("application/json")
    return error


def test_plainly_each_consumer_gets_what_its_scope_holds(world):
    for path, key, status, served in [
        (ONE, "narrow-1", 200, {"a"}),
        (TWO, "narrow-1", 403, set()),
        (DRAWN, "narrow-1", 403, set()),
        ("/v1/chat/completions", "narrow-1", 403, set()),
        (TWO, "wide-1", 200, {"b"}),
        (TWO, None, 401, set()),
    ]:
        answer, got = world.ask(request(path, key=key))
        assert (answer.status, got.keys()) == (status, served)
        if status != 200:
            shaped(answer)


OURS = [
    ("x-mb-route", "drawn/1"),
    ("x-mb-route", "models:wide"),
    ("x-mb-consumer", "wide"),
    ("x-mb-model", "=expensive"),
    ("x-mb-inner", "b|/v1"),
    ("x-mb-fault", "UF"),
    ("x-moltbot-backend", "b"),
    ("x-moltbot-rule", "two"),
    ("x-moltbot-attempts", "9"),
    ("x-client-id", "wide"),
    ("x-consumer", "wide"),
    ("x-envoy-original-path", TWO),
    ("x-envoy-original-host", "b"),
    ("x-envoy-decorator-operation", "two"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-max-retries", "10"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-envoy-upstream-alt-stat-name", "b"),
    ("x-envoy-internal", "true"),
    ("x-envoy-ip-tags", "b"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "b"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-path", TWO),
    ("x-forwarded-prefix", "/two"),
    ("x-forwarded-client-cert", "By=wide"),
    ("x-original-url", TWO),
    ("x-rewrite-url", TWO),
    ("x-http-method-override", "DELETE"),
    ("forwarded", "for=127.0.0.1;host=b"),
]


@pytest.mark.parametrize(("name", "value"), OURS)
def test_no_header_of_a_client_is_taken_for_ours(world, name, value):
    shapes = [name, name.upper(), name.title(), name.replace("-", "_"), name.replace("-", "_").upper()]
    lines = [(f"{written}: {value}",) for written in shapes]
    lines += [(f"{name}: {value}", f"{name}: {value}"), (f"{name}: other", f"{name}: {value}")]
    for path, key, status, served in (
        (ONE, "narrow-1", 200, {"a"}),
        (ONE, "wide-1", 200, {"a"}),
        (TWO, "narrow-1", 403, set()),
        (TWO, "wide-1", 200, {"b"}),
        (DRAWN, "narrow-1", 403, set()),
    ):
        for sent in lines:
            answer, got = world.ask(request(path, *sent, key=key))
            assert (answer.status, got.keys()) == (status, served), sent
            for served_by, records in got.items():
                arrived = {header.lower() for header, _ in records[0].headers}
                assert not [each for each in arrived if each.startswith(("x-mb-", "x-envoy-"))]
                assert records[0].credentials == {"authorization": [f"Bearer upstream-{served_by}"]}
    answer, got = world.ask(request(ONE, f"{name}: {value}", key=None))
    assert (answer.status, got) == (401, {})


def test_a_header_in_a_trailer_is_no_header(world):
    for path, served in ((ONE, {"a"}), (TWO, set())):
        trailers = "".join(f"{name}: {value}\r\n" for name, value in OURS)
        chunked = b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(BODY), BODY, trailers.encode())
        sent = request(
            path, "transfer-encoding: chunked", "content-type: application/json", "te: trailers", body=chunked
        )
        _, got = world.ask(sent)
        assert got.keys() == served
        for record in got.get("a", []):
            assert not [name for name, _ in record.headers if name.lower().startswith("x-mb-")]


def test_connection_headers_take_nothing_away(world):
    """`Connection: x` has a proxy remove the header x: not the ones that decide."""
    for name in ("x-mb-consumer", "x-mb-route", "authorization", "x-mb-model", "host"):
        for path, served in ((DRAWN, set()), (TWO, set()), ("/v1/chat/completions", set())):
            answer, got = world.ask(request(path, f"connection: {name}"))
            assert got.keys() == served
            assert answer.status in {400, 401, 403}


BODIES = {
    "an escaped key": b'{"mod\\u0065l": "expensive", "messages": []}',
    "two keys": b'{"model": "cheap", "model": "expensive"}',
    "two keys, one escaped": b'{"model": "cheap", "mo\\u0064el": "expensive"}',
    "capitals": b'{"MODEL": "expensive"}',
    "a key within": b'{"metadata": {"model": "cheap"}, "model": "expensive"}',
    "a key within a list": b'{"x": [{"model": "cheap"}], "model": "expensive"}',
    "a list of models": b'{"model": ["cheap", "expensive"]}',
    "an object": b'{"model": {"model": "expensive"}}',
    "null": b'{"model": null}',
    "a list": b'[{"model": "expensive"}]',
    "two documents": b'{"model": "cheap"}{"model": "expensive"}',
    "NUL before": b'\x00{"model": "expensive"}',
    "NUL in the key": b'{"mod\x00el": "cheap", "model": "expensive"}',
    "NUL in the model": b'{"model": "cheap\x00expensive"}',
    "an escaped NUL in the model": b'{"model": "cheap\\u0000expensive"}',
    "a byte order mark": b'\xef\xbb\xbf{"model": "expensive"}',
    "UTF-16": '{"model": "expensive"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"model": "expensive"}'.encode("utf-16-le"),
    "UTF-32": '{"model": "expensive"}'.encode("utf-32-le"),
    "a comment": b'{"model": "cheap" /*, "model": "expensive" */}',
    "single quotes": b"{'model': 'expensive', \"model\": \"cheap\"}",
    "a form": b"model=expensive",
    "invalid UTF-8 in the model": b'{"model": "\xffexpensive"}',
    "half a pair": b'{"model": "\\ud800expensive"}',
}


def read_model(body: bytes) -> Any:
    """What a provider would read; None from what is no JSON."""
    try:
        return json.loads(body).get("model")
    except ValueError:
        return None


@pytest.mark.parametrize("name", BODIES)
def test_no_body_gets_a_model_or_a_backend_out_of_scope(world, name):
    """`narrow` may have a's model, `cheap`, and nothing else, wherever it asks."""
    for path in (ONE, "/v1/chat/completions"):
        answer, got = world.ask(request(path, body=BODIES[name]))
        assert "b" not in got
        if answer.status != 200:
            shaped(answer)
        for record in got.get("a", []):
            assert read_model(record.body) in {"cheap", None}
            if b'"expensive"' in record.body:
                assert name == "a comment", "no JSON, so no provider reads it"


@pytest.mark.parametrize(
    "lines",
    [
        [f"x-large: {'x' * 70_000}"],
        [f"x-{number}: {'x' * 900}" for number in range(90)],
        [f"x-{number}: x" for number in range(200)],
        [f"cookie: {'x' * 70_000}"],
        [f"x-mb-route: {'drawn/1' * 10_000}"],
    ],
)
def test_oversized_headers_are_a_clear_431(world, lines):
    answer, got = world.ask(request(ONE, *lines))
    assert (answer.status, got) == (431, {})
    assert shaped(answer)["type"] == "invalid_request_error"


def test_an_oversized_path_is_refused(world):
    for path in ("/one/v1/" + "x" * 70_000, "/one/v1/x?" + "y" * 70_000):
        answer, got = world.ask(request(path))
        assert (answer.status, got) == (431, {})
        shaped(answer)


TRICKS = [
    "/one/../two/v1/chat/completions",
    "/one/./../two/v1/chat/completions",
    "/one//../two/v1/chat/completions",
    "/one/%2e%2e/two/v1/chat/completions",
    "/one/.%2e/two/v1/chat/completions",
    "/one/%2E%2E%2ftwo/v1/chat/completions",
    "/one/..%2ftwo/v1/chat/completions",
    "/one/..%5ctwo/v1/chat/completions",
    "/one/..\\two/v1/chat/completions",
    "/one/..;/two/v1/chat/completions",
    "/one/..;a=b/two/v1/chat/completions",
    "/one;/../two/v1/chat/completions",
    "/one/%252e%252e/two/v1/chat/completions",
    "/one/..%252ftwo/v1/chat/completions",
    "//two/v1/chat/completions",
    "///two/v1/chat/completions",
    "/./two/v1/chat/completions",
    "/.//two/v1/chat/completions",
    "/%2ftwo/v1/chat/completions",
    "/%74wo/v1/chat/completions",
    "/two%2fv1/chat/completions",
    "/TWO/v1/chat/completions",
    "/two;/v1/chat/completions",
    "/two/v1/chat/completions;/one",
    "/two/v1/chat/completions%3f/one",
    "/two/v1/chat/completions?/one/v1/chat/completions",
    "/two/v1/chat/completions#/one",
    "/one/v1/chat/completions?x=/two/v1/",
    "/one%00/../two/v1/chat/completions",
    "/two%00/v1/chat/completions",
    "/two%0d%0ax-mb-consumer:%20wide/v1/chat/completions",
    "/two%c0%af/v1/chat/completions",
    "/one/%u002e%u002e/two/v1/chat/completions",
    "/one\\..\\two\\v1\\chat\\completions",
    "\\two\\v1\\chat\\completions",
    "/two/v1/../../one/v1/chat/completions",
    "/one/v1/../v1/chat/completions",
    "/one/v1/..%2f..%2f..%2fadmin",
    "/one/v1/%2e%2e/%2e%2e/admin",
    "http://gateway.example/two/v1/chat/completions",
    "http://gateway.example/one/../two/v1/chat/completions",
    "http://b/two/v1/chat/completions",
    "http://gateway.example/one/v1/chat/completions",
    "https://user@two/one/v1/chat/completions",
    "two/v1/chat/completions",
    "*",
    "?/two/v1/chat/completions",
    "",
]


def unescaped(found: re.Match[str]) -> str:
    sign = chr(int(found[1], 16))
    return sign if re.match("[A-Za-z0-9_~-]", sign) else found[0]


def normalized(target: str) -> str | None:
    """The path that a request target means (RFC 3986 §5.2.4 and §6.2.2), without its query; None for none.

    Escaped slashes count as slashes, backslashes too, and a dot segment may have parameters (`..;x`).
    """
    target = re.sub(r"^https?://[^/?]*", "", target).split("?")[0].split("#")[0]
    path = re.sub("%2f|%5c", "/", target, flags=re.IGNORECASE).replace("\\", "/")
    path = re.sub(r"%2e", ".", path, flags=re.IGNORECASE)
    path = re.sub("%([0-9a-fA-F]{2})", unescaped, path)
    if not path.startswith("/"):
        return None
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        plain = segment.split(";")[0]
        if plain == "..":
            kept[-1:] = []
        elif plain != ".":
            kept.append(segment)
    if segments[-1].split(";")[0] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def allowed(path: str | None) -> set[str]:
    """Backends of the first rule that takes the path, for a body that asks for `expensive`."""
    if path is None:
        return set()
    for first, backends in (("one", {"a"}), ("two", {"b"}), ("drawn", {"a", "b"})):
        if path.split("/")[1] == first:
            return backends
    return {"b"}


def check(world, target, *lines, body=BODY):
    """With each consumer: only a backend of the rule that the normalised path names, and of its scope."""
    named = allowed(normalized(target))
    for key, scope in (("narrow-1", {"a"}), ("wide-1", {"a", "b"}), (None, set()), ("unknown", set())):
        answer, got = world.ask(request(target, *lines, key=key, body=body))
        assert got.keys() <= named & scope, (target, key, answer.status)
        if not named <= scope:
            assert not got, (target, key)
        if answer.status >= 400 and not got:
            shaped(answer)
        for name, records in got.items():
            if not records:
                continue
            assert len(records) == 1
            assert records[0].credentials == {"authorization": [f"Bearer upstream-{name}"]}
            arrived = records[0].path
            assert arrived.startswith("/v1/"), arrived
            assert not re.search(r"(^|/)\.\.?(/|\?|$)|%2e|%2f|%5c|\\", arrived.split("?")[0], re.IGNORECASE)
            assert not [header for header, _ in records[0].headers if header.lower().startswith("x-mb-")]


@pytest.mark.parametrize("target", TRICKS)
def test_no_path_reaches_another_rule_than_it_names(world, target):
    check(world, target)


SMUGGLED = "POST /two/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["content-length: 5", "transfer-encoding: chunked"], f"0\r\n\r\n{SMUGGLED}"),
        (["transfer-encoding: chunked", "content-length: 4"], f"5c\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        (["transfer-encoding: xchunked"], f"0\r\n\r\n{SMUGGLED}"),
        (["transfer-encoding: chunked", "transfer-encoding: identity"], f"0\r\n\r\n{SMUGGLED}"),
        (["transfer-encoding : chunked"], f"0\r\n\r\n{SMUGGLED}"),
        (["transfer-encoding:\tchunked", "content-length: 3"], f"0\r\n\r\n{SMUGGLED}"),
        (["content-length: 0", "content-length: 100"], SMUGGLED),
        (["content-length: +0"], SMUGGLED),
        (["content-length: 0x0"], SMUGGLED),
        (["content-length: -1"], SMUGGLED),
        (["content-length: 0, 0"], SMUGGLED),
        (["transfer-encoding: chunked"], f"zz\r\n\r\n{SMUGGLED}"),
        (["transfer-encoding: chunked"], f"fffffffffffffffff\r\n{SMUGGLED}"),
        (["transfer-encoding: chunked"], f"0;x=\r\n\r\n{SMUGGLED}"),
        (["transfer-encoding: chunked"], f"2\r\n{{}}XX0\r\n\r\n{SMUGGLED}"),
        (["x: y\r\n transfer-encoding: chunked"], f"0\r\n\r\n{SMUGGLED}"),
        (["x: y\x00", "content-length: 0"], SMUGGLED),
        (["x: y\rtransfer-encoding: chunked", "content-length: 0"], f"0\r\n\r\n{SMUGGLED}"),
        (["expect: 100-continue", "content-length: 0"], SMUGGLED),
    ],
)
def test_nothing_is_smuggled_behind_another_request(world, lines, body):
    """What follows is a request of its own, which shows no key."""
    before = len(world.providers["a"].requests)
    answer, got = world.ask(request(ONE, *lines, body=body.encode("latin-1")))
    assert "b" not in got
    assert len(world.providers["a"].requests) - before <= 1
    if answer.status >= 400:
        shaped(answer)


@pytest.mark.parametrize(
    "lines",
    [
        ["host: b"],
        ["host: 127.0.0.1:9901"],
        ["host: gateway.example", "host: b"],
        ["host: "],
        ["host: b/two"],
        ["host: b@gateway.example"],
        ["host: gateway.example:99999"],
        ["host: b?/two"],
    ],
)
def test_no_host_changes_where_a_request_goes(world, lines):
    check(world, ONE, *lines)
    check(world, TWO, *lines)


def test_without_a_host_and_with_older_http(world):
    key = "authorization: Bearer narrow-1"
    for head in (
        f"POST {TWO} HTTP/1.1\r\n{key}\r\ncontent-length: 0\r\n\r\n",
        f"POST {TWO} HTTP/1.0\r\n{key}\r\n\r\n",
        f"POST {TWO} HTTP/0.9\r\n{key}\r\n\r\n",
        f"POST {TWO} HTTP/2.0\r\n{key}\r\n\r\n",
        f"POST {TWO}\r\n\r\n",
        f"POST {ONE} {TWO} HTTP/1.1\r\nhost: x\r\n{key}\r\n\r\n",
        f"POST\t{TWO}\tHTTP/1.1\r\nhost: x\r\n{key}\r\n\r\n",
    ):
        answer, got = world.ask(head.encode())
        assert got == {}
        assert answer.status >= 400 or answer.status == 0
        if answer.status:
            shaped(answer)


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "TLS/1.0", "connect-udp"])
def test_no_upgrade_changes_what_is_served(world, upgrade):
    lines = ("connection: upgrade, http2-settings", f"upgrade: {upgrade}", "http2-settings: AAMAAABkAAQAAP__")
    for path, served in ((ONE, {"a"}), (TWO, set())):
        answer, got = world.ask(request(path, *lines))
        assert answer.status != 101
        assert got.keys() <= served
        if answer.status >= 400:
            shaped(answer)


def h2c(*headers: tuple[str, str]) -> bytes:
    """One request in HTTP/2 with prior knowledge (RFC 9113 §3.3), headers as literals (RFC 7541 §6.2.3)."""
    block = b"".join(
        b"\x10" + b"".join(_string(text.encode("latin-1")) for text in header) for header in headers
    )
    settings_frame = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    head = struct.pack(">I", len(block))[1:] + b"\x01\x05\x00\x00\x00\x01"
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame + head + block


def _string(text: bytes) -> bytes:
    return (bytes([len(text)]) if len(text) < 127 else b"\x7f" + bytes([len(text) - 127])) + text


ENDS = re.compile(
    rb"\x00\x01\x05\x00\x00\x00\x01|\x00\x01\x00\x00\x00\x01|\x03\x00\x00\x00\x00\x01|\x07\x00\x00\x00\x00\x00"
)
"""Frames that end the stream, or the connection (RFC 9113 §6)."""


async def h2c_ask(url: str, sent: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    found = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(10):
            while not ENDS.search(found):
                more = await reader.read(65536)
                if not more:
                    break
                found += more
    writer.close()
    return found


@pytest.mark.parametrize(
    "more",
    [
        [],
        [("x-mb-consumer", "wide")],
        [("x-mb-route", "drawn/1"), ("x-mb-consumer", "wide")],
        [("X-MB-Consumer", "wide")],
        [("host", "b")],
        [(":path", TWO)],
        [(":authority", "b")],
        [("connection", "x-mb-consumer")],
        [("transfer-encoding", "chunked")],
        [("x", "y\r\nx-mb-consumer: wide")],
    ],
)
def test_http_2_with_prior_knowledge_changes_nothing(world, more):
    """GET of a file: no body is needed, and each rule would pass it on."""
    for path, key, served in (
        ("/one/v1/files/f", "narrow-1", {"a"}),
        ("/two/v1/files/f", "narrow-1", set()),
        ("/one/../two/v1/files/f", "narrow-1", set()),
        ("/two/v1/files/f", None, set()),
    ):
        pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", path)]
        shown = [("authorization", f"Bearer {key}")] if key else []
        before = {name: len(provider.requests) for name, provider in world.providers.items()}
        sent = h2c(*pseudo, *shown, *more)
        asyncio.run_coroutine_threadsafe(h2c_ask(world.bed.running.url, sent), world.loop).result(60)
        got = {name for name, provider in world.providers.items() if len(provider.requests) > before[name]}
        assert got <= served
        if not more:
            assert got == served, "the request itself is sound"


PIECES = st.sampled_from(
    [
        *("/", "//", "/./", "/../", "/..", "\\", "%2f", "%2F", "%5c", "%2e%2e", "%2E", ".", "..", ";"),
        *("one", "two", "drawn", "%6fne", "tw%6f", "v1", "/v1/", "chat/completions", "files/f", "models"),
        *("%00", "%0a", "%25", "%252f", "%252e", "?", "%3f", "#", "é", "%c3%a9", "%c0%ae", "+", "@", ":"),
        *("TWO", ";x=1", "models/b", "/..;/", "/.;/"),
    ]
)
TARGETS = st.builds(
    lambda start, pieces, end: start + "".join(pieces) + end,
    st.sampled_from(["/", "/one/", "/two/", "/drawn/", "//", "/one", "http://x/", ""]),
    st.lists(PIECES, max_size=7),
    st.sampled_from(["/v1/chat/completions", "/chat/completions", "", "/v1/x"]),
)
LINES = st.lists(
    st.one_of(
        st.builds(
            lambda pair, odd: f"{odd(pair[0])}: {pair[1]}",
            st.sampled_from(OURS),
            st.sampled_from([str, str.upper, str.title]),
        ),
        st.sampled_from(["connection: x-mb-consumer", "host: b", "x-api-key: unknown", "accept: */*"]),
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(TARGETS, LINES)
def test_the_path_names_the_rule_and_the_scope_holds_whatever_is_asked(world, target, lines):
    check(world, quote(target, safe="/%\\;:@?#=+*.~-_"), *lines)


def test_the_model_of_the_normal_path_is_right():
    for target, path in {
        "/a/./b/../c": "/a/c",
        "/a/..": "/",
        "/a/%2e%2e/b": "/b",
        "/a/..%2Fb": "/b",
        "//a": "//a",
        "http://x/a?b": "/a",
        "/%74wo": "/two",
        "x": None,
    }.items():
        assert normalized(target) == path
