"""The server's log: one line an event, on standard error."""

from __future__ import annotations

import logging
import warnings


def configure_logging(level: str) -> None:
    """Send the log to standard error.

    level: debug, info, warning or error. NeMo and its dependencies log their set-up as warnings,
    which say nothing to the operator of a server; of them only errors are shown.
    """
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
    if level != "debug":
        warnings.simplefilter("ignore")
        for name in ("nemo_logger", "nv_one_logger", "torch", "matplotlib", "numba"):
            logging.getLogger(name).setLevel(logging.ERROR)
