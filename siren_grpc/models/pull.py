"""Fetching a checkpoint before it is needed."""

from __future__ import annotations

from pathlib import Path

from nemo.collections.asr.models import ASRModel

from siren_grpc.models.loader import checkpoint_path


def pull(name: str) -> Path:
    """Make sure a model's checkpoint lies on this machine and return where.

    name: a hub name, a `.nemo` path or the embedded model's name. The hub's client shows its
    progress and resumes a download that broke off. Raises FileNotFoundError for a path that does
    not exist, and what the hub's client raises when it cannot be reached or knows no such model.
    """
    path = checkpoint_path(name)
    if path is not None:
        return path
    return Path(str(ASRModel.from_pretrained(name, return_model_file=True)))
