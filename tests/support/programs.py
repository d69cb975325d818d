"""Programs of the system that some tests run."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import NoReturn

import pytest


def needs_program(name: str, package: str) -> str:
    """Return a program's path; without it skip the test, or fail it in CI, which installs it."""
    folders = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    path = shutil.which(name, path=folders)
    if path is not None:
        return path
    miss(f"{name} is not installed (apt-get install {package})")


def needs_module(name: str, extra: str) -> None:
    """Skip the test, or its module, without a module; fail in CI, which installs the extra."""
    if importlib.util.find_spec(name) is None:
        miss(f"{name} is not installed: the extra `{extra}` has it")


def miss(what: str) -> NoReturn:
    """Skip the test for what is missing, or fail it in CI, which has everything."""
    if os.environ.get("CI_RUN"):
        pytest.fail(f"{what}; .ci/run installs it")
    pytest.skip(what, allow_module_level=True)
