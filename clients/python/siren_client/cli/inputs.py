"""Which files a command line means, and where their results go."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SOUND_SUFFIXES = frozenset(
    ".aif .aifc .aiff .au .caf .flac .mp3 .oga .ogg .opus .rf64 .snd .w64 .wav .weba .webm".split()
)
"""What the files taken from a folder end with. A file that is named may end with anything."""


class InputError(Exception):
    """Names that cannot be meant; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file to be recognised."""

    path: Path
    relative: Path
    """Its name below the folder it was found in: where it lies below an output folder."""


def find_inputs(names: Iterable[str], *, recursive: bool) -> list[Input]:
    """Find the files of a command line: files, folders, and patterns no shell has resolved.

    Of a folder the sound files are taken, in the order of their names, those of its folders
    too where `recursive`. A file that is named twice is taken once.

    Raises:
        InputError: A name that is nowhere, or a folder or pattern without a file.
    """
    found: dict[Path, Input] = {}
    for name in names:
        try:
            for given in _resolve(name, recursive=recursive):
                found.setdefault(given.path.resolve(), given)
        except OSError as error:
            raise InputError(f"{name}: {error.strerror}") from error
    return list(found.values())


def _resolve(name: str, *, recursive: bool) -> Iterator[Input]:
    path = Path(name)
    if path.is_dir():
        yield from _list_folder(path, recursive=recursive)
    elif path.exists():
        yield Input(path, Path(path.name))
    elif glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]
        files = [match for match in matches if not match.is_dir()]
        if not files:
            hint = " (a folder does: name it without a pattern)" if matches else ""
            raise InputError(f"{name}: no file matches{hint}")
        yield from (Input(file, Path(file.name)) for file in files)
    else:
        raise InputError(f"{name}: no such file or folder")


def _list_folder(folder: Path, *, recursive: bool) -> list[Input]:
    paths = folder.rglob("*") if recursive else folder.glob("*")
    inputs = [
        Input(path, path.relative_to(folder))
        for path in sorted(paths)
        if path.suffix.lower() in SOUND_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not inputs:
        hint = "" if recursive else " (--recursive looks in its folders too)"
        raise InputError(f"{folder}: no sound file in this folder{hint}")
    return inputs


def readable(path: Path) -> str:
    """Write a name as text that every output can take: a file's name may be any bytes."""
    return os.fsencode(path).decode("utf-8", "replace")


def place_outputs(inputs: Sequence[Input], *, suffix: str, output_dir: Path | None) -> list[Path]:
    """Say where the result of each input goes: beside it, or below a folder.

    talk.wav becomes talk.srt; where that would be two files' name, talk.wav.srt.

    Raises:
        InputError: Two results would have the same place.
    """
    bases = [given.path if output_dir is None else output_dir / given.relative for given in inputs]
    short = [base.with_suffix(suffix) for base in bases]
    n_uses = Counter(short)
    outputs = [
        path if n_uses[path] == 1 else base.with_name(base.name + suffix)
        for path, base in zip(short, bases, strict=True)
    ]
    if twice := [path for path, n in Counter(outputs).items() if n > 1]:
        raise InputError(
            f"{twice[0]}: the result of two files; give their folder instead of the files, "
            "or leave --output-dir out and take --beside"
        )
    if taken := set(outputs) & {given.path for given in inputs}:
        raise InputError(f"{taken.pop()}: a result would take the place of a recording")
    return outputs
