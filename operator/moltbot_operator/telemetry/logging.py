"""One JSON object a line on stderr, whoever logs: our code by structlog, kopf and libraries by `logging`."""

import json
import logging
import sys
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor

__all__ = ["Level", "configure"]

Level = Literal["debug", "info", "warning", "error"]

QUIET: Final = {
    "kopf.objects": logging.WARNING,  # a line for each event of each object
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Loggers that would drown the rest at level info."""

TRACEBACKS: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
"""Without local variables: they may hold credentials."""


def configure(level: Level = "info", stream: TextIO | None = None) -> None:
    """Set up logging of the whole process; calling it again replaces the earlier set-up."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(TRACEBACKS),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared, _name_object],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(serializer=_dump),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, lowest in QUIET.items():
        logging.getLogger(name).setLevel(max(lowest, root.level))
    logging.captureWarnings(capture=True)


def _name_object(_: Any, __: str, event: EventDict) -> EventDict:
    """Loggers of kopf carry the object in an extra field of the record."""
    reference = getattr(event.get("_record"), "k8s_ref", None)
    if isinstance(reference, dict):
        event["object"] = "{kind} {namespace}/{name}".format_map(
            {"kind": "", "namespace": "", "name": ""} | reference
        )
    return event


def _dump(event: Any, **_: Any) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # numbers of more than 64 bits
        return json.dumps(event, default=str)
