"""`siren transcribe`: sound files to text, live."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from siren_client.blocking import SirenClient
from siren_client.cli.audio_file import AudioFile, AudioFileError, paced, probe, read_messages
from siren_client.cli.lines import to_json_line, to_plain_line
from siren_client.cli.live import LiveView, render_legend
from siren_client.cli.options import (
    DEFAULT_SERVER,
    INTERRUPTED,
    USAGE_ERROR,
    CaFileOption,
    ServerOption,
    TlsOption,
    TokenOption,
    errors_console,
    fail,
    make_client,
    reported_errors,
)
from siren_client.types import AudioEncoding, Decoder, RecognitionOptions, Result

Show = Callable[[Result], None]


def transcribe(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="WAV, FLAC or another file that libsndfile reads, 8 to 48 kHz.",
            show_default=False,
        ),
    ],
    server: ServerOption = DEFAULT_SERVER,
    model: Annotated[
        str | None, typer.Option(help="Id of a model; see `siren models`.", show_default=False)
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="BCP-47 code such as en-US.", metavar="CODE", show_default=False),
    ] = None,
    chunk_frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Look-ahead in 80 ms frames, of those the model has: more is more accurate, "
            "less is quicker.",
            show_default=False,
        ),
    ] = None,
    decoder: Annotated[
        Decoder | None, typer.Option(help="Decoder of a hybrid model.", show_default=False)
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Send as quickly as the server takes it, not at the pace of speech."
        ),
    ] = False,
    message_ms: Annotated[
        int, typer.Option(min=1, max=10_000, help="Audio in each message, in milliseconds.")
    ] = 100,
    partials: Annotated[
        bool,
        typer.Option(
            "--partials",
            help="Without a terminal: print partials too, the stable part in brackets.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every result as a JSON object on its own line.")
    ] = False,
    token: TokenOption = None,
    tls: TlsOption = False,
    ca_file: CaFileOption = None,
) -> None:
    """Turn sound files into text, as it would come from a microphone.

    On a terminal it shows the text while it is recognised: what will not change any more
    stands out, the tail that still may is dim. Elsewhere it prints one line per utterance.

    **Examples**

    - `siren transcribe talk.wav`: watch it, at the pace of speech
    - `siren transcribe --fast *.flac > talks.txt`: only the text, as quickly as possible
    - `siren transcribe --chunk-frames 2 call.wav`: the quickest answers
    - `siren transcribe --json talk.wav | jq -r 'select(.type == "final").text'`

    **JSON**

    Each object has `type` and `file`, and by type:

    - `started`: session_id, model, language_code, encoding, sample_rate_hertz,
      chunk_frames, latency_ms, decoder
    - `partial`: text, stable_len, seq, audio_processed_s
    - `final`: text, seq, start_s, end_s
    - `event`: event (speech_started, speech_ended), time_s

    **Exit status**: 0 all recognised, 1 a server or recognition error (the files after it are
    not sent), 2 wrong usage or a file that cannot be read.
    """
    recordings = _probe_all(files)
    options = RecognitionOptions(encoding=AudioEncoding.LINEAR16)
    if model is not None:
        options["model"] = model
    if language is not None:
        options["language_code"] = language
    if chunk_frames is not None:
        options["chunk_frames"] = chunk_frames
    if decoder is not None:
        options["decoder"] = decoder
    console = Console(highlight=False)
    is_live = console.is_terminal and not as_json
    if is_live:
        console.print(render_legend())
    with (
        reported_errors(server),
        make_client(server, token=token, tls=tls, ca_file=ca_file) as client,
    ):
        for recording in recordings:
            if len(recordings) > 1 and not as_json:
                console.print(f"==> {recording.path} <==", markup=False, soft_wrap=True)
            messages = _messages(recording, message_ms=message_ms, fast=fast)
            with _shown(
                console, recording, is_live=is_live, partials=partials, as_json=as_json
            ) as show:
                _stream(client, recording, messages, options, show)


def _probe_all(paths: Iterable[Path]) -> list[AudioFile]:
    """Look at every file before any is sent, so that a wrong name costs no time."""
    recordings = []
    for path in paths:
        try:
            recording = probe(path)
        except AudioFileError as error:
            fail(str(error), code=USAGE_ERROR)
        if recording.n_channels > 1:
            errors_console().print(
                f"note: {path}: {recording.n_channels} channels, mixed down to one",
                style="dim",
                markup=False,
            )
        recordings.append(recording)
    return recordings


def _messages(recording: AudioFile, *, message_ms: int, fast: bool) -> Iterator[bytes]:
    messages = read_messages(recording, message_ms=message_ms)
    if fast:
        return messages
    return paced(
        messages,
        sample_rate_hertz=recording.sample_rate_hertz,
        clock=time.monotonic,
        sleep=time.sleep,
    )


def _stream(
    client: SirenClient,
    recording: AudioFile,
    messages: Iterator[bytes],
    options: RecognitionOptions,
    show: Show,
) -> None:
    options["sample_rate_hertz"] = recording.sample_rate_hertz
    with client.stream(messages, **options) as results:
        try:
            for result in results:
                show(result)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def _shown(
    console: Console, recording: AudioFile, *, is_live: bool, partials: bool, as_json: bool
) -> Iterator[Show]:
    if is_live:
        with LiveView(console, duration_s=recording.duration_s) as view:
            yield view.show
        return

    def print_line(result: Result) -> None:
        if as_json:
            line: str | None = to_json_line(result, file=str(recording.path))
        else:
            line = to_plain_line(result, partials=partials)
        if line is not None:
            print(line, flush=True)

    yield print_line
