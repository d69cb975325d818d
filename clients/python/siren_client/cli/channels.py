"""The choice `--channels`: what is recognised of a recording with several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from siren_client.cli.lines import channel_name
from siren_client.types import ChannelMode, Final, Partial, RecognitionOptions, Result

ChannelsOption = Annotated[
    str,
    typer.Option(
        metavar="mix|separate|N",
        help="Of several channels: their mean, each by itself, or channel N, counted from 0.",
    ),
]


@dataclass(frozen=True, slots=True)
class Channels:
    """What is recognised of several channels. selected: with SELECT, from 0."""

    mode: ChannelMode = ChannelMode.MIX
    selected: int = 0

    @classmethod
    def parse(cls, text: str) -> Channels:
        """Read the choice. Raises ValueError for anything else."""
        if text.isascii() and text.isdigit():
            return cls(ChannelMode.SELECT, int(text))
        if text not in (ChannelMode.MIX.value, ChannelMode.SEPARATE.value):
            raise ValueError(f"{text!r} is not mix, separate or a number from 0")
        return cls(ChannelMode(text))

    def to_options(self, n_channels: int) -> RecognitionOptions:
        """Give the options for audio with so many channels; 0 for what it says itself."""
        options = RecognitionOptions()
        if n_channels > 1 or (n_channels and self.mode is not ChannelMode.MIX):
            options["channel_count"] = n_channels
        if self.mode is not ChannelMode.MIX:
            options["channel_mode"] = self.mode
        if self.mode is ChannelMode.SELECT:
            options["channel"] = self.selected
        return options

    @property
    def are_named(self) -> bool:
        """Whether text is to tell its channel."""
        return self.mode is ChannelMode.SEPARATE


def with_channel(result: Result) -> Result:
    """Begin the text of a result with the channel it is of, for people to read. Pure."""
    if not isinstance(result, (Partial, Final)) or not result.text:
        return result
    name = channel_name(result)
    if isinstance(result, Partial):
        return replace(result, text=name + result.text, stable_len=len(name) + result.stable_len)
    return replace(result, text=name + result.text)
