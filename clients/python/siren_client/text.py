"""Text that must not take back what was shown. Pure."""

from __future__ import annotations


def keep_stable(stable: str, text: str, stable_len: int) -> tuple[str, int]:
    """Return a text and its stable length such that it begins with what was stable before.

    It does already, unless another recogniser heard the same audio otherwise: then its words
    behind as many as were stable follow those.
    """
    if text.startswith(stable):
        return text, max(stable_len, len(stable))
    rest = text.split()[len(stable.split()) :]
    joined = " ".join([stable, *rest])
    return joined, max(len(stable), min(len(joined), stable_len))
