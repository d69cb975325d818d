"""The server's log: one line an event, on standard error. Neither text nor audio is ever in it."""

from __future__ import annotations

import json
import logging
import warnings
from datetime import datetime, timezone
from typing import Any, Literal

from siren_grpc.observe.log_context import current_call

LogFormat = Literal["text", "json"]
_NEMO = "nemo_logger"
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, message, process, and whose call it was.

    Absent is what does not apply: `session_id` and the client's `request_id`, `principal`,
    `engine_session` and `trace_id` outside of calls; `exception` without one.
    """

    def __init__(self, process: str) -> None:
        """Write for a process: `engine`, `front_end_1` and so on."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": record.getMessage(),
        }
        call = current_call()
        if call is not None:
            fields = {
                "session_id": call.names.session,
                "request_id": call.names.request,
                "principal": call.names.principal_name,
                "engine_session": call.engine_session,
                "trace_id": call.trace_id,
            }
            line.update((name, value) for name, value in fields.items() if value)
        engine_session = getattr(record, "engine_session", None)
        if engine_session is not None:  # the stepper has no call
            line["engine_session"] = engine_session
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def take_in_nemo(level: str) -> None:
    """Make NeMo's log part of the server's, in its form; called behind NeMo's import.

    The import gives NeMo's logger a level and handlers of its own, one for standard output.
    """
    logger = logging.getLogger(_NEMO)
    logger.handlers.clear()
    logger.propagate = True
    if level != "debug":
        logger.setLevel(logging.ERROR)


def configure_logging(
    level: str, log_format: LogFormat = "text", *, process: str = "engine"
) -> None:
    """Send the log to standard error.

    level: debug, info, warning or error. NeMo and its dependencies log their set-up as warnings,
    which say nothing to the operator of a server; of them only errors are shown. process: named
    in JSON lines.
    """
    logging.basicConfig(level=level.upper(), format=_TEXT, force=True)
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter(process))
    if level != "debug":
        warnings.simplefilter("ignore")
        for name in (_NEMO, "nv_one_logger", "torch", "matplotlib", "numba"):
            logging.getLogger(name).setLevel(logging.ERROR)
