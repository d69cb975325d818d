"""`siren transcribe`: recordings to text, one live or many at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from siren_client.cli.audio_file import AudioFile, AudioFileError, paced, probe, read_messages
from siren_client.cli.channels import Channels, ChannelsOption
from siren_client.cli.flags import ConnectionFlags, RecognitionFlags, takes_flags
from siren_client.cli.inputs import Input, InputError, find_inputs, place_outputs, readable
from siren_client.cli.lines import to_json_error_line
from siren_client.cli.options import (
    FAILED,
    INTERRUPTED,
    USAGE_ERROR,
    FormatOption,
    JsonLinesOption,
    MessageMsOption,
    PartialsOption,
    choose_format,
    errors_console,
    fail,
    reported_errors,
)
from siren_client.cli.output import Format
from siren_client.cli.show import shown
from siren_client.cli.standard_input import StandardInput, StandardInputError
from siren_client.cli.stopping import interrupt_calls
from siren_client.cli.transcribe_many import transcribe_many
from siren_client.errors import Reason, SirenError
from siren_client.types import AudioEncoding, ChannelMode, RecognitionOptions

STANDARD_INPUT = "-"
_SAMPLE_BYTES = {
    AudioEncoding.LINEAR16: 2,
    AudioEncoding.FLOAT32: 4,
    AudioEncoding.MULAW: 1,
    AudioEncoding.ALAW: 1,
}
_MOST_COMPRESSED_BYTES_PER_S = 64 * 1024
"""Of a message that may hold more than it is to hold; what is there comes at once anyhow."""


@takes_flags
def transcribe(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            allow_dash=True,
            help="WAV, FLAC, MP3, Opus in Ogg or WebM, or another file that libsndfile reads, 8 to "
            "48 kHz; a folder of them; a pattern such as 'talks/**/*.wav'; or `-` for standard "
            "input.",
            show_default=False,
        ),
    ],
    *,
    connection: ConnectionFlags,
    recognition: RecognitionFlags,
    output_format: FormatOption = None,
    as_json: JsonLinesOption = False,
    beside: Annotated[
        bool,
        typer.Option("--beside", help="Write each result beside its file: talk.wav, talk.txt."),
    ] = False,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Write each result into this folder.",
            show_default=False,
        ),
    ] = None,
    parallel: Annotated[
        int, typer.Option(min=1, max=256, help="How many of several files to send at a time.")
    ] = 4,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look in the folders of folders too.")
    ] = False,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Send a single file as quickly as the server takes it, not at the pace of "
            "speech; several always are.",
        ),
    ] = False,
    message_ms: MessageMsOption = 100,
    partials: PartialsOption = False,
    channels: ChannelsOption = "mix",
    encoding: Annotated[
        AudioEncoding | None,
        typer.Option(
            help="What `-` brings; linear16 when left out, auto for a file of any kind.",
            show_default=False,
        ),
    ] = None,
    channel_count: Annotated[
        int,
        typer.Option(min=0, max=8, help="Its channels; 0 for 1, or what it says itself."),
    ] = 0,
    rate: Annotated[
        int | None,
        typer.Option(
            metavar="HERTZ", help="Its sample rate; 16000 when left out.", show_default=False
        ),
    ] = None,
) -> None:
    """Turn recordings into text: one as it would come from a microphone, or many at once.

    A single file is sent at the pace of speech. On a terminal it shows the text while it is
    recognised: what will not change any more stands out, the tail that still may is dim.
    Elsewhere it prints one line per utterance.

    Several files, and results that are written to files, are sent as quickly as the server
    takes them, with a progress bar. One that fails leaves the others alone; those that
    failed are named at the end. The first Ctrl-C ends the audio and keeps what there is.

    **Examples**

    - `siren transcribe talk.wav`: watch it, at the pace of speech
    - `siren transcribe *.flac > talks.txt`: only the text, as quickly as possible
    - `siren transcribe --format srt talk.wav > talk.srt`: subtitles; vtt for WebVTT
    - `siren transcribe -r --format vtt --beside talks/`: subtitles beside every recording
    - `siren transcribe --parallel 16 --output-dir texts talks/`: more at a time
    - `siren transcribe --phrase siren --phrase "winter river:4" talk.wav`: names to listen for
    - `siren transcribe --words talk.wav`: when each word was said, and how certain it is
    - `siren transcribe --alternatives 3 talk.wav`: what else it may have been
    - `siren transcribe --json talk.wav | jq -r 'select(.type == "final").text'`
    - `arecord -t raw -f S16_LE -r 16000 | siren transcribe -`: audio as it comes
    - `curl -s $URL | siren transcribe --encoding auto -`: an MP3 stream, for one
    - `siren transcribe --channels separate call.wav`: who is on which channel

    **JSON**

    One object a line, with `type`, `file`, and by type:

    - `started`: session_id, model, language_code, encoding, sample_rate_hertz,
      chunk_frames, latency_ms, decoder, request_id, channel_count, channel_mode
    - `partial`: text, stable_len, seq, audio_processed_s, audio_received_s, words,
      channel; in files only with `--partials`
    - `final`: text, seq, start_s, end_s, cause, audio_received_s, delay_s, spoken_text,
      words, confidence, language_code, alternatives, channel; a word, with `--words`: text,
      start_s, end_s, confidence, is_stable; an alternative: text, probability
    - `event`: event (speech_started, speech_ended, server_draining), time_s, channel,
      grace_left_s
    - `error`: message, status, reason: this recording failed

    **Exit status**: 0 all recognised; 1 a recording failed, or the server; 2 wrong usage, or
    a single file that cannot be read; 130 ended by Ctrl-C.
    """
    chosen = choose_format(output_format, as_json=as_json)
    options = recognition.to_options(chosen)
    chosen_channels = _choose_channels(channels, chosen)
    if [str(file) for file in files] == [STANDARD_INPUT]:
        if beside or output_dir is not None:
            fail(
                "standard input has no place beside it",
                "Send the output where you want it: `siren transcribe - > talk.txt`.",
                code=USAGE_ERROR,
            )
        source = _open_standard_input(encoding, rate, message_ms, chosen_channels, channel_count)
        _transcribe_one(
            source, connection, options, chosen, partials=partials, channels=chosen_channels
        )
        return
    if encoding is not None or rate is not None or channel_count:
        fail(
            "--encoding, --rate and --channel-count are for `-`; a file says itself what is in it",
            "For a file of raw audio: `siren transcribe - --encoding mulaw --rate 8000 < FILE`.",
            code=USAGE_ERROR,
        )
    inputs, outputs = _find(
        files, chosen, recursive=recursive, beside=beside, output_dir=output_dir
    )
    if len(inputs) == 1 and outputs is None:
        is_paced = not (fast or chosen.is_subtitles)
        source = _open_file(inputs[0].path, message_ms, chosen_channels, is_paced=is_paced)
        _transcribe_one(
            source, connection, options, chosen, partials=partials, channels=chosen_channels
        )
    else:
        transcribe_many(
            [given.path for given in inputs],
            connection,
            options,
            chosen,
            outputs=outputs,
            parallel=parallel,
            message_ms=message_ms,
            partials=partials,
            channels=chosen_channels,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Audio for one stream."""

    name: str
    messages: Iterable[bytes]
    options: RecognitionOptions
    """How its audio is to be read."""
    duration_s: float | None
    stop: Callable[[], None]
    """End it, without waiting."""


def _find(
    files: Iterable[Path],
    output_format: Format,
    *,
    recursive: bool,
    beside: bool,
    output_dir: Path | None,
) -> tuple[list[Input], list[Path] | None]:
    names = [str(file) for file in files]
    if STANDARD_INPUT in names:
        fail("`-` goes alone: it is one recording", code=USAGE_ERROR)
    if beside and output_dir is not None:
        fail("--beside and --output-dir name two places", code=USAGE_ERROR)
    try:
        inputs = find_inputs(names, recursive=recursive)
        if beside or output_dir is not None:
            return inputs, place_outputs(inputs, suffix=output_format.suffix, output_dir=output_dir)
    except InputError as error:
        fail(str(error), code=USAGE_ERROR)
    if output_format.is_subtitles and len(inputs) > 1:
        fail(
            "subtitles of several files cannot follow one another",
            "Say where they go: --beside, or --output-dir FOLDER.",
            code=USAGE_ERROR,
        )
    return inputs, None


def _open_file(path: Path, message_ms: int, channels: Channels, *, is_paced: bool) -> _Source:
    try:
        recording = probe(path, channels)
    except AudioFileError as error:
        fail(str(error), code=USAGE_ERROR)
    note_channels(recording)
    messages = read_messages(recording, message_ms=message_ms)
    rate = recording.bytes_per_s
    if is_paced and rate is not None:
        messages = paced(
            messages,
            bytes_per_s=rate,
            clock=time.monotonic,
            sleep=time.sleep,
        )
    return _Source(
        name=readable(path),
        messages=messages,
        options=recording.options,
        duration_s=recording.duration_s,
        stop=lambda: None,  # the messages are guarded
    )


def _open_standard_input(
    encoding: AudioEncoding | None,
    rate: int | None,
    message_ms: int,
    channels: Channels,
    channel_count: int,
) -> _Source:
    if os.isatty(0):
        fail(
            "standard input is this terminal, and `-` takes audio that comes through a pipe",
            "Such as `arecord -t raw -f S16_LE -r 16000 | siren transcribe -`. `siren listen` is "
            "for a microphone.",
            code=USAGE_ERROR,
        )
    encoding = encoding or AudioEncoding.LINEAR16
    if channels.mode is ChannelMode.SEPARATE and not channel_count:
        fail("--channels separate takes --channel-count with `-`", code=USAGE_ERROR)
    options = channels.to_options(channel_count)
    options["encoding"] = encoding
    if encoding in _SAMPLE_BYTES:
        options["sample_rate_hertz"] = rate = rate or 16000
        second_bytes = rate * _SAMPLE_BYTES[encoding] * (channel_count or 1)
    else:
        if rate is not None:
            options["sample_rate_hertz"] = rate
        second_bytes = _MOST_COMPRESSED_BYTES_PER_S
    try:
        audio = StandardInput(
            message_bytes=max(1, second_bytes * message_ms // 1000),
            is_raw=encoding in _SAMPLE_BYTES,
        )
    except OSError:
        fail("standard input is closed: there is no audio to read", code=USAGE_ERROR)
    return _Source(
        name=STANDARD_INPUT,
        messages=audio,
        options=options,
        duration_s=None,
        stop=audio.stop,
    )


def _choose_channels(choice: str, output_format: Format) -> Channels:
    try:
        channels = Channels.parse(choice)
    except ValueError as error:
        fail(f"--channels: {error}", code=USAGE_ERROR)
    if channels.mode is ChannelMode.SEPARATE and output_format.is_subtitles:
        fail(
            "subtitles are of one transcript",
            "Say which: --channels mix, or the number of a channel.",
            code=USAGE_ERROR,
        )
    return channels


def note_channels(recording: AudioFile) -> None:
    """Say that channels are mixed, where there are several."""
    if recording.n_channels > 1 and recording.channels.mode is ChannelMode.MIX:
        errors_console().print(
            f"note: {recording.path}: {recording.n_channels} channels, mixed down to one",
            style="dim",
            markup=False,
        )


def _transcribe_one(
    source: _Source,
    connection: ConnectionFlags,
    options: RecognitionOptions,
    output_format: Format,
    *,
    partials: bool,
    channels: Channels,
) -> None:
    options.update(source.options)
    with (
        interrupt_calls(source.stop) as interrupt,
        reported_errors(connection.server),
        connection.make_client() as client,
        shown(
            output_format,
            file=source.name,
            duration_s=source.duration_s,
            partials=partials,
            channels=channels.are_named,
        ) as show,
        client.stream(interrupt.guard(source.messages), **options) as results,
    ):
        try:
            for result in results:
                show(result)
        except (SirenError, AudioFileError, StandardInputError) as error:
            if interrupt.is_set and getattr(error, "reason", None) is Reason.INVALID_AUDIO:
                raise typer.Exit(INTERRUPTED) from None  # the rest of it was not sent
            if output_format is Format.JSON:
                print(to_json_error_line(error, file=source.name), flush=True)
            if isinstance(error, SirenError):
                raise
            fail(str(error), code=FAILED)
    if interrupt.is_set and source.duration_s is not None:
        raise typer.Exit(INTERRUPTED)  # the recording goes on
