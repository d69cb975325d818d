"""Fetching a checkpoint before it is needed."""

from __future__ import annotations

from pathlib import Path

from siren_grpc.models.loader import checkpoint_path, fetch


def pull(name: str) -> Path:
    """Make sure a model's checkpoint lies on this machine and return where.

    name: a hub name, a `.nemo` path or the embedded model's name. Raises FileNotFoundError for a
    path that does not exist, and what `fetch` raises.
    """
    return checkpoint_path(name) or fetch(name)
