import pytest

from moltbot_operator.explain.body import Body, Refusal, read_body, task_of

IMAGE = '{"messages": [{"content": [{"type": "image_url"}]}]}'
PRETENDED = '{"messages": [{"content": "{\\"type\\": \\"image_url\\"}"}]}'


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (None, None),
        ("", None),
        ('{"model": "a"}', "a"),
        ('{ "x" : {"model": "b"} , "model" :"\\u0061" }', "a"),
        ("{}", None),
        ('{"model": "' + "a" * 600 + '"}', "a" * 512),
    ],
)
def test_the_model_is_read(text, model):
    found = read_body(text)
    assert isinstance(found, Body)
    assert found.model == model


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"model": 1}', "string"),
        ('{"model": "a", "model": "a"}', "twice"),
        ('{"Model": "a"}', "capital"),
        ('{"model": "a\\u0001"}', "control"),
    ],
)
def test_what_the_script_refuses(text, why):
    found = read_body(text)
    assert isinstance(found, Refusal)
    assert found.status == 400
    assert why in found.message


@pytest.mark.parametrize(
    ("path", "body", "headers", "task"),
    [
        ("/v1/chat/completions", "{}", {"x-moltbot-task": "CODE"}, ("Code", "header")),
        ("/v1/embeddings", IMAGE, {}, ("Embedding", "path")),
        ("/v1/images/generations", "{}", {}, ("Multimodal", "path")),
        ("/v1/chat/completions", '{"model": "coder"}', {}, ("Code", "model")),
        ("/v1/chat/completions", IMAGE, {}, ("Multimodal", "parts")),
        ("/v1/chat/completions", PRETENDED, {}, ("Dialog", "default")),
        ("/v1/chat/completions", '{"tools": [{"type": "shell"}]}', {}, ("Code", "tools")),
        ("/v1/chat/completions", '{"tools": [{"type": "function"}]}', {}, ("Dialog", "default")),
        ("/v1/completions", '{"prompt": "```"}', {}, ("Code", "fence")),
        ("/v1/completions", '{"prompt": "```' + "x" * 9000 + '"}', {}, ("Dialog", "default")),
    ],
)
def test_the_task(path, body, headers, task):
    assert task_of(headers, path, read_body(body), {"coder": "Code"}) == task


def test_a_task_that_there_is_not():
    assert isinstance(task_of({"x-moltbot-task": "poetry"}, "/", Body(), {}), Refusal)
