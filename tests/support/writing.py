"""Driving a `Writing` without a process."""

from __future__ import annotations

from siren_grpc.text.normalisation import Grammar, write
from siren_grpc.text.written_form import Shown, Writing


def finish(writing: Writing, grammar: Grammar) -> Shown:
    """Do what it asks for with a grammar, and return what it returns."""
    try:
        task = next(writing)
        while True:
            task = writing.send(write(task, grammar))
    except StopIteration as stop:
        return stop.value
