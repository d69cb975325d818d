"""What gRPC logs of clients that vanish: their doing, so no error of the server's."""

from __future__ import annotations

import logging

_GRPCS_LOGGER = "grpc._cython.cygrpc"
_LOST = "ExecuteBatchError"


class _Lost(logging.Filter):
    """Makes debug lines of answers that found nobody; a connection may go within any call."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _LOST not in str(record.msg):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger().isEnabledFor(logging.DEBUG)


def quiet_lost_calls() -> None:
    """Log an answer that found nobody as what it is, without a traceback at level ERROR."""
    logging.getLogger(_GRPCS_LOGGER).addFilter(_Lost())
