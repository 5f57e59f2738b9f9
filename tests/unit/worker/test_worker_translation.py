"""Requests, answers and errors of OpenAI's API in Anthropic's words, and the other way round."""

import contextlib
import json

import pytest
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from moltbot_worker.translation import (
    AnswerUnreadable,
    Untranslatable,
    completion,
    error_for_anthropic,
    error_for_openai,
    message,
    request_for_anthropic,
    request_for_openai,
)

HI = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "messages": HI}
ASK = {"model": "m", "max_tokens": 5, "messages": HI}
SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}}
FUNCTION = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": SCHEMA, "strict": True},
}
TOOL = {"name": "weather", "description": "d", "input_schema": SCHEMA, "strict": True}
PNG = "data:image/png;base64,AAAA"
PDF = "data:application/pdf;base64,BBBB"


def test_a_chat_becomes_a_message():
    call = {"id": "call.1", "type": "function", "function": {"name": "weather", "arguments": '{"town":"x"}'}}
    again = {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": ""}}
    made = request_for_anthropic(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "developer", "content": [{"type": "text", "text": "be short"}]},
                {
                    "role": "user",
                    "name": "ann",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                        {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [call, again]},
                {"role": "tool", "tool_call_id": "call.1", "content": "sunny"},
                {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "rain"}]},
                {"role": "user", "content": "and now?"},
            ],
            "max_tokens": 7,
            "max_completion_tokens": 9,
            "temperature": 1.4,
            "top_p": 0.5,
            "stop": "END",
            "stream": True,
            "stream_options": {"include_usage": True},
            "n": 1,
            "tools": [FUNCTION],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
            "reasoning_effort": "minimal",
            "user": "u1",
            "seed": 3,
            "presence_penalty": 0.0,
            "logprobs": False,
            "logit_bias": None,
        }
    )
    assert made.document == {
        "model": "m",
        "system": [{"type": "text", "text": "be kind"}, {"type": "text", "text": "be short"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"},
                        "title": "a.pdf",
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"town": "x"}},
                    {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_1",
                        "content": [{"type": "text", "text": "sunny"}],
                    },
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_2",
                        "content": [{"type": "text", "text": "rain"}],
                    },
                    {"type": "text", "text": "and now?"},
                ],
            },
        ],
        "max_tokens": 9,
        "temperature": 1,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "stream": True,
        "tools": [TOOL],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
        "metadata": {"user_id": "u1"},
    }
    assert set(made.without) == {
        "seed",
        "temperature",
        "messages[2].name",
        "messages[2].content[1].image_url.detail",
    }


def test_a_limit_is_put_in_where_the_client_wrote_none():
    assert request_for_anthropic(CHAT).document["max_tokens"] == 8192


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("none", {"type": "none"}),
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
    ],
)
def test_choices_of_tools_are_the_same_both_ways(choice, wanted):
    there = request_for_anthropic({**CHAT, "tools": [FUNCTION], "tool_choice": choice}).document
    assert there["tool_choice"] == wanted
    assert request_for_openai({**ASK, **there}).document["tool_choice"] == choice


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"functions": [{}]}, "functions"),
        ({"brand_new": 1}, "brand_new"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"stop": [" "]}, "stop"),
        ({"temperature": "hot"}, "temperature"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp:x"}}]}
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "[]"}}],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
    ],
)
def test_what_anthropic_can_t_be_asked_is_named(more, field):
    with pytest.raises(Untranslatable) as refused:
        request_for_anthropic({**CHAT, **more})
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")


def test_a_message_becomes_a_chat():
    made = request_for_openai(
        {
            "model": "m",
            "max_tokens": 9,
            "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                        },
                        {
                            "type": "document",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"},
                        },
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "text", "text": "let me look"},
                        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"town": "x"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True},
                        {"type": "text", "text": "and?"},
                    ],
                },
            ],
            "stream": True,
            "stop_sequences": ["END"],
            "tools": [TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
            "metadata": {"user_id": "u1"},
        },
        limit="max_completion_tokens",
    )
    assert made.document == {
        "model": "m",
        "max_completion_tokens": 9,
        "messages": [
            {"role": "system", "content": "a"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "file", "file": {"filename": "document.pdf", "file_data": PDF}},
                ],
            },
            {
                "role": "assistant",
                "content": "let me look",
                "tool_calls": [
                    {
                        "id": "toolu_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"town":"x"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "no"},
            {"role": "user", "content": "and?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["END"],
        "tools": [FUNCTION],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
        "reasoning_effort": "xhigh",
        "user": "u1",
    }
    assert set(made.without) == {"thinking", "messages[2].content[0].is_error"}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"top_k": 4}, "top_k"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "search_result"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [*HI, {"role": "assistant", "content": "It is"}]}, "messages"),
    ],
)
def test_what_openai_can_t_be_asked_is_named(more, field):
    with pytest.raises(Untranslatable) as refused:
        request_for_openai({**ASK, **more})
    assert refused.value.field == field


def test_an_answer_that_was_begun_is_given_in_the_backends_own_form():
    begun = {**ASK, "messages": [*HI, {"role": "assistant", "content": "It is"}]}
    last = request_for_openai(begun, prefill="Prefix").document["messages"][-1]
    assert last == {"role": "assistant", "content": "It is", "prefix": True}
    document = request_for_openai(begun, prefill="ContinueFinalMessage").document
    assert (document["continue_final_message"], document["add_generation_prompt"]) == (True, False)
    ended = {**CHAT, "messages": [*HI, {"role": "assistant", "content": "It is \n"}]}
    said = request_for_anthropic(ended).document["messages"][-1]["content"]
    assert said == [{"type": "text", "text": "It is"}]


def test_a_message_is_given_as_a_completion():
    usage = {
        "input_tokens": 3,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 2,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 1},
    }
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "look"},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"town": "x"}},
    ]
    given = {"id": "msg_1", "model": "m", "content": blocks, "stop_reason": "tool_use", "usage": usage}
    read = ChatCompletion.model_validate(completion(given, 12))
    [choice] = read.choices
    assert (choice.message.content, choice.finish_reason, read.created) == ("look", "tool_calls", 12)
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"town": "x"}
    assert (read.usage.prompt_tokens, read.usage.completion_tokens, read.usage.total_tokens) == (10, 4, 14)
    assert read.usage.prompt_tokens_details.cached_tokens == 5
    assert read.usage.completion_tokens_details.reasoning_tokens == 1


def test_a_completion_is_given_as_a_message():
    calls = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    said = {"role": "assistant", "content": "look", "tool_calls": calls}
    choice = {"message": said, "finish_reason": "tool_calls"}
    read = Message.model_validate(message({"id": "c", "model": "m", "choices": [choice], "usage": usage}))
    assert [block.type for block in read.content] == ["text", "tool_use"]
    assert (read.content[1].input, read.stop_reason) == ({"a": 1}, "tool_use")
    assert (read.usage.input_tokens, read.usage.cache_read_input_tokens) == (4, 6)


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_use"),
    ],
)
def test_reasons_of_an_end_are_the_same_both_ways(finish, stop):
    choice = {"message": {"role": "assistant", "content": "x"}, "finish_reason": finish}
    assert message({"choices": [choice]})["stop_reason"] == stop
    answered = completion({"content": [], "stop_reason": stop}, 0)
    assert answered["choices"][0]["finish_reason"] == finish


def test_the_sequence_that_stopped_an_answer_is_told_where_the_server_tells_it():
    choice = {"message": {"content": "x"}, "finish_reason": "stop", "stop_reason": "END"}
    made = message({"choices": [choice]}, ("END",))
    assert (made["stop_reason"], made["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": {"content": 3}}]},
        {
            "choices": [
                {"message": {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}}
            ]
        },
    ],
)
def test_what_is_no_answer_is_not_taken_for_one(broken):
    with pytest.raises(AnswerUnreadable):
        message(broken)
    with pytest.raises(AnswerUnreadable):
        completion(broken, 0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (503, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_errors_have_the_clients_shape_and_the_backends_words(status, kind):
    theirs = json.dumps({"error": {"message": "no", "type": "x", "code": None}}).encode()
    made = error_for_anthropic(status, theirs)
    assert made == {"type": "error", "error": {"type": kind, "message": "no"}}
    back = error_for_openai(status, json.dumps(made).encode())["error"]
    assert (back["message"], back["type"]) == ("no", kind)
    assert error_for_openai(status, theirs) == json.loads(theirs)
    assert error_for_openai(status, b"<html>")["error"]["message"]


def test_a_prompt_that_is_too_long_has_openais_code():
    said = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"},
    }
    assert error_for_openai(400, json.dumps(said).encode())["error"]["code"] == "context_length_exceeded"


NAMES = ["model", "messages", "tools", "tool_choice", "system", "stop", "content", "role", "type", "text"]
NAMES += ["user", "assistant", "tool", "tool_calls", "function", "max_tokens", "image_url", "source"]
leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(NAMES)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(NAMES), documents, max_size=6))
def test_whatever_a_client_sends_is_translated_or_refused(document):
    for translate in (request_for_anthropic, request_for_openai):
        with contextlib.suppress(Untranslatable):
            json.dumps(translate(document).document)


@given(documents)
def test_whatever_a_backend_answers_is_translated_or_unreadable(document):
    for translate in (message, lambda given: completion(given, 0)):
        with contextlib.suppress(AnswerUnreadable):
            json.dumps(translate(document))
    body = json.dumps(document).encode()
    assert error_for_openai(400, body)["error"]
    assert error_for_anthropic(400, body)["error"]


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8).map(
    lambda text: f"a{text}z"
)
read_as_integers = st.integers(-(2**63), 2**64 - 1)
"""Any other number of a body is a float to the worker (orjson)."""
uses = st.builds(
    lambda number, given: {"type": "tool_use", "id": f"toolu_{number}", "name": "f", "input": given},
    st.integers(0, 99),
    st.dictionaries(texts, read_as_integers | texts, max_size=2),
)
turn = st.one_of(
    st.builds(lambda t: ("user", [{"type": "text", "text": t}]), texts),
    st.builds(
        lambda t, u: ("assistant", [{"type": "text", "text": t}, *u]), texts, st.lists(uses, max_size=2)
    ),
    st.builds(
        lambda u, t: (
            "user",
            [
                {"type": "tool_result", "tool_use_id": u["id"], "content": [{"type": "text", "text": t}]},
                {"type": "text", "text": t},
            ],
        ),
        uses,
        texts,
    ),
)


@given(st.lists(turn, min_size=1, max_size=5), texts)
def test_a_conversation_comes_back_as_it_was(turns, system):
    talk = []
    for role, blocks in [*turns, ("user", [{"type": "text", "text": "end"}])]:
        if talk and talk[-1]["role"] == role:
            continue  # neighbours of one role are put together
        talk.append({"role": role, "content": blocks})
    if talk[-1]["role"] != "user":
        talk.pop()
    asked = {**ASK, "system": [{"type": "text", "text": system}], "messages": talk}
    there = request_for_openai(asked)
    back = request_for_anthropic(there.document)
    assert back.document == asked
    assert not back.without
