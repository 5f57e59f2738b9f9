"""What becomes of a request, told without sending it. Pure: works on the compiler's intermediate form."""

from moltbot_operator.explain.evaluate import Answered, Explanation, Option, Passed, explain
from moltbot_operator.explain.failures import Course, Fault, course
from moltbot_operator.explain.request import Request, chat_body

__all__ = [
    "Answered",
    "Course",
    "Explanation",
    "Fault",
    "Option",
    "Passed",
    "Request",
    "chat_body",
    "course",
    "explain",
]
