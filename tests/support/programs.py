"""Programs of the system that some tests run."""

from __future__ import annotations

import os
import shutil

import pytest


def needs_program(name: str, package: str) -> str:
    """Return a program's path; without it skip the test, or fail it in CI, which installs it."""
    folders = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    path = shutil.which(name, path=folders)
    if path is not None:
        return path
    message = f"{name} is not installed (apt-get install {package})"
    if os.environ.get("CI_RUN"):
        pytest.fail(f"{message}; .ci/run installs it")
    pytest.skip(message)
