"""Between OpenAI's chat completions and Anthropic's messages, both ways. Pure.

::

    client                       backend
    chat/completions ─ request_for_anthropic ─► messages
                     ◄─ completion, ChatChunks, error_for_openai ─
    messages         ─ request_for_openai ────► chat/completions
                     ◄─ message, MessageEvents, error_for_anthropic ─

What can't be said in the other API is refused (`Untranslatable`), naming field and remedy. What may be left
out without changing what is answered is left out and told (`Translated.without`). docs/translation.md has
both lists.

Sources: https://platform.openai.com/docs/api-reference/chat,
https://platform.claude.com/docs/en/api/messages, and, where the two differ in what they allow, how Anthropic
itself does it for OpenAI's clients: https://docs.anthropic.com/en/api/openai-sdk.
"""

from moltbot_worker.translation.answers import completion, message
from moltbot_worker.translation.chat_chunks import ChatChunks
from moltbot_worker.translation.failures import error_for_anthropic, error_for_openai
from moltbot_worker.translation.message_events import MessageEvents
from moltbot_worker.translation.request_for_anthropic import request_for_anthropic
from moltbot_worker.translation.request_for_openai import request_for_openai
from moltbot_worker.translation.terms import AnswerUnreadable, Translated, Untranslatable

__all__ = [
    "AnswerUnreadable",
    "ChatChunks",
    "MessageEvents",
    "Translated",
    "Untranslatable",
    "completion",
    "error_for_anthropic",
    "error_for_openai",
    "message",
    "request_for_anthropic",
    "request_for_openai",
]
