"""Streams of OpenAI's API as Anthropic's, and the other way round: whole, broken, cut at any byte."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moltbot_provider.answers import chat_events
from moltbot_provider.messages import message_events

from moltbot_worker.sse import Events
from moltbot_worker.translation import ChatChunks, MessageEvents, completion, message
from moltbot_worker.watching import Reading, StreamBroken

TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}}}


def named(events):
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def data(chunks, end="data: [DONE]\n\n"):
    return b"".join(f"data: {json.dumps(each)}\n\n".encode() for each in chunks) + end.encode()


def delta(finish=None, **said):
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def call(at, identity=None, name=None, arguments=""):
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"index": at, **({"id": identity, "type": "function"} if identity else {}), "function": function}


def through(translation, whole, cuts=()):
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    parts = [translation.feed(whole[a:b]) for a, b in itertools.pairwise(edges)]
    return b"".join(parts) + translation.close()


def read_chat(raw):
    """Text, calls, finish, usage, error and whether it ended."""
    text, calls, finish, usage, error, ended = "", {}, None, None, None, False
    for event in Events().feed(raw):
        if event.data is None:
            continue
        if event.done:
            ended = True
            continue
        document = event.document
        error = document.get("error") or error
        usage = document.get("usage") or usage
        for choice in document.get("choices", ()):
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for each in choice["delta"].get("tool_calls", ()):
                known = calls.setdefault(each["index"], ["", ""])
                known[0] = each["function"].get("name", known[0])
                known[1] += each["function"]["arguments"]
    return text, [(name, json.loads(given)) for name, given in calls.values()], finish, usage, error, ended


def read_message(raw):
    """Blocks, stop reason, usage, error and whether it ended; blocks must follow each other."""
    blocks, stop, usage, error, ended, opened = [], None, None, None, False, None
    for event in Events().feed(raw):
        document = event.document
        match document["type"]:
            case "content_block_start":
                assert opened is None
                assert document["index"] == len(blocks)
                opened = document["index"]
                blocks.append([document["content_block"], ""])
            case "content_block_delta":
                assert document["index"] == opened
                said = document["delta"]
                blocks[-1][1] += said.get("text", said.get("partial_json"))
            case "content_block_stop":
                assert document["index"] == opened
                opened = None
            case "message_delta":
                assert opened is None
                stop, usage = document["delta"]["stop_reason"], document["usage"]
            case "message_stop":
                ended = True
            case "error":
                error = document["error"]
    found = [
        (head["name"], json.loads(said or "{}")) if head["type"] == "tool_use" else said
        for head, said in blocks
    ]
    return found, stop, usage, error, ended


@pytest.mark.parametrize("usage", [True, False])
def test_a_streamed_message_is_read_as_chunks(usage):
    whole = named(message_events("one", {"model": "m", "messages": [], "max_tokens": 5}, 5))
    made = read_chat(through(ChatChunks(1, usage=usage), whole))
    assert made[0] == "server=one model=m word3 word4 word5"
    assert (made[2], made[4], made[5]) == ("stop", None, True)
    assert (made[3] or {}).get("completion_tokens") == (5 if usage else None)


def test_calls_in_a_streamed_message_are_read_as_chunks():
    whole = named(message_events("one", {"model": "m", "messages": [], "tools": [TOOL]}, 5))
    text, calls, finish, _, error, ended = read_chat(through(ChatChunks(1, usage=False), whole))
    assert (text, calls) == ("", [("weather", {"town": "one"})])
    assert (finish, error, ended) == ("tool_calls", None, True)


def test_a_call_without_arguments_has_an_empty_object():
    head = {"type": "message_start", "message": {"id": "m", "model": "m"}}
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    events = [
        head,
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    assert read_chat(through(ChatChunks(1, usage=False), named(events)))[1] == [("f", {})]


def test_a_streamed_completion_is_read_as_events():
    asked = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
    made = read_message(through(MessageEvents(), data(chat_events("one", asked, 5))))
    assert made[0] == ["server=one model=m word3 word4 word5"]
    assert (made[1], made[3], made[4]) == ("end_turn", None, True)
    assert made[2]["output_tokens"] == 5


def test_calls_that_come_mingled_become_blocks_one_after_the_other():
    chunks = [
        delta(role="assistant", content="let me"),
        delta(tool_calls=[call(0, "c0", "f", '{"a"'), call(1, "c1", "g", '{"b"')]),
        delta(tool_calls=[call(1, arguments=":2}")]),
        delta(tool_calls=[call(0, arguments=":1}")]),
        delta("tool_calls"),
    ]
    made = read_message(through(MessageEvents(), data(chunks)))
    assert made[0] == ["let me", ("f", {"a": 1}), ("g", {"b": 2})]
    assert (made[1], made[4]) == ("tool_use", True)


def test_an_error_within_a_stream_is_told_and_ends_it():
    broken = {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}
    head = {"type": "message_start", "message": {"id": "m", "model": "m"}}
    *_, error, ended = read_chat(through(ChatChunks(1, usage=False), named([head, broken, head])))
    assert (error["message"], error["code"], ended) == ("later", "overloaded", False)
    chunks = [delta(content="a"), {"error": {"message": "later"}}]
    *_, error, ended = read_message(through(MessageEvents(), data(chunks)))
    assert (error["message"], ended) == ("later", False)


ANTHROPIC = named(message_events("one", {"model": "m", "messages": [], "max_tokens": 4}, 4))
OPENAI = data(chat_events("one", {"model": "m", "messages": []}, 4))


def whole(operation, raw):
    """Whether the stream guard takes it for a whole answer."""
    reading = Reading(operation)
    try:
        for event in Events().feed(raw):
            reading.see(event)
        reading.close()
    except StreamBroken:
        return False
    return True


def test_a_stream_that_is_cut_anywhere_never_ends_as_if_whole():
    for source, operation, make in (
        (ANTHROPIC, "chat/completions", lambda: ChatChunks(1, usage=True)),
        (OPENAI, "messages", MessageEvents),
    ):
        told = source.index(b'stop_reason": "end') if operation != "messages" else source.index(b': "stop"')
        for at in range(0, len(source), 7):
            made = through(make(), source[:at])
            if at < told:
                assert not whole(operation, made), at
                assert b"error" in made
        assert whole(operation, through(make(), source))


@given(
    st.lists(st.integers(0, len(ANTHROPIC)), max_size=6), st.lists(st.integers(0, len(OPENAI)), max_size=6)
)
def test_it_does_not_matter_where_parts_begin(first, second):
    assert read_chat(through(ChatChunks(1, usage=True), ANTHROPIC, first)) == read_chat(
        through(ChatChunks(1, usage=True), ANTHROPIC)
    )
    assert read_message(through(MessageEvents(), OPENAI, second)) == read_message(
        through(MessageEvents(), OPENAI)
    )


@given(st.binary(max_size=60), st.integers(0, 400))
def test_garbage_ends_a_stream_with_an_error(garbage, at):
    for source, make in ((ANTHROPIC, lambda: ChatChunks(1, usage=True)), (OPENAI, MessageEvents)):
        translation = make()
        translation.feed(source[:at] + b"\n\n" + b"data: " + garbage + b"}\n\n" + source[at:])
        translation.close()
        assert translation.ended
        assert translation.feed(source) == b""


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "choices", "delta", "index", "usage"]),
            st.none() | st.integers() | st.lists(st.none(), max_size=2) | st.just("message_start"),
            max_size=4,
        )
    )
)
def test_events_of_any_form_don_t_crash_it(events):
    for translation in (ChatChunks(1, usage=True), MessageEvents()):
        translation.feed(data(events))
        translation.close()
        assert translation.ended


def test_a_stream_says_what_the_plain_answer_says():
    asked = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
    plain = {"choices": [{"message": {"content": "server=one model=m word3"}, "finish_reason": "stop"}]}
    streamed = read_message(through(MessageEvents(), data(chat_events("one", asked, 3))))
    assert streamed[0] == [message(plain)["content"][0]["text"]]
    said = {"content": [{"type": "text", "text": "server=one model=m word3"}], "stop_reason": "end_turn"}
    chunks = read_chat(
        through(ChatChunks(1, usage=True), named(message_events("one", {"model": "m", "messages": []}, 3)))
    )
    assert chunks[0] == completion(said, 1)["choices"][0]["message"]["content"]
