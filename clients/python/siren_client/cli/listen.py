"""`siren listen`: a microphone to text, live."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from siren_client.cli.flags import ConnectionFlags, RecognitionFlags, takes_flags
from siren_client.cli.lines import without_words
from siren_client.cli.options import (
    FAILED,
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
from siren_client.cli.output import Format, OutputFile
from siren_client.cli.show import shown
from siren_client.cli.stopping import interrupt_calls
from siren_client.endpointing import EndpointDetector, Endpointing
from siren_client.microphone import (
    AudioLoss,
    InputDevice,
    Microphone,
    MicrophoneError,
    describe_loss,
    input_devices,
)
from siren_client.types import AudioEncoding


@takes_flags
def listen(
    *,
    connection: ConnectionFlags,
    recognition: RecognitionFlags,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Microphone: its number, its name or a part of it; the system's default when "
            "left out.",
            show_default=False,
        ),
    ] = None,
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="List the microphones and exit.")
    ] = False,
    rate: Annotated[
        int | None,
        typer.Option(
            min=8000,
            max=48000,
            metavar="HERTZ",
            help="Sample rate; 16000 when left out, or the microphone's own.",
            show_default=False,
        ),
    ] = None,
    output_format: FormatOption = None,
    as_json: JsonLinesOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Write the results to this file too, in the chosen format; it is up to date "
            "after every utterance.",
            show_default=False,
        ),
    ] = None,
    message_ms: MessageMsOption = 100,
    partials: PartialsOption = False,
) -> None:
    """Turn what a microphone hears into text, while it is spoken. Ctrl-C ends it.

    What will not change any more stands out, the tail that still may is dim. The first
    Ctrl-C ends the audio and waits for the last text; a second one does not.

    An utterance ends where the decoder hears 0.8 s of silence, or as the options say;
    `--endpointing off` makes everything one.

    Audio waits at most 30 s for a server that is slow; what is lost beyond that is
    reported as an error at once and once more at the end.

    **Examples**

    - `siren listen`: the default microphone
    - `siren listen --list-devices`
    - `siren listen --device 'USB' --output notes.txt`: watch it, and keep the text
    - `siren listen --format srt --output talk.srt`
    - `siren listen --json | jq -r --unbuffered 'select(.type == "final").text'`

    **JSON**: as `siren transcribe --json`, without `file`; with `--list-devices` one array.

    **Exit status**: 0 ended by Ctrl-C and nothing was lost, 1 an error of the server or of
    the microphone, or lost audio, 2 wrong usage.
    """
    try:
        if list_devices:
            _print_devices(input_devices(), as_json=as_json)
            return
    except MicrophoneError as error:
        fail(str(error), code=FAILED)
    chosen = choose_format(output_format, as_json=as_json)
    options = recognition.to_options(chosen)
    if recognition.endpointing is not EndpointDetector.OFF:
        # Who speaks to a microphone pauses, and reads what was said so far.
        options.setdefault("endpointing", Endpointing())
    with ExitStack() as stack:
        stack.enter_context(reported_errors(connection.server))
        file = _open_output(output, chosen, partials=partials)
        if file is not None:
            stack.callback(file.close)
        client = stack.enter_context(connection.make_client())
        microphone = stack.enter_context(_open_microphone(device, rate, message_ms))
        stack.enter_context(interrupt_calls(microphone.stop))
        # With a file for them, the results' form is the file's, and a terminal shows the text.
        shown_format = chosen if file is None else Format.TEXT
        show = stack.enter_context(
            shown(shown_format, file=None, duration_s=None, partials=partials)
        )
        _note(f"{microphone.name}, {microphone.sample_rate_hertz} Hz. Ctrl-C ends.")
        options["encoding"] = AudioEncoding.LINEAR16
        options["sample_rate_hertz"] = microphone.sample_rate_hertz
        results = stack.enter_context(client.stream(microphone, **options))
        try:
            for result in results:
                if file is not None:
                    file.add(result)
                # Subtitles need words; who reads along sees them only if asked for.
                show(result if recognition.words else without_words(result))
        except MicrophoneError as error:
            fail(str(error), code=FAILED)
    if microphone.n_losses:
        times = "once" if microphone.n_losses == 1 else f"{microphone.n_losses} times"
        fail(
            f"audio was lost {times}, {microphone.lost_s:.1f} s or more: the text has gaps there",
            code=FAILED,
        )


def _open_output(path: Path | None, output_format: Format, *, partials: bool) -> OutputFile | None:
    if path is None:
        return None
    try:
        return OutputFile(path, output_format, partials=partials)
    except OSError as error:
        fail(f"{path} cannot be written: {error}", code=USAGE_ERROR)


def _open_microphone(device: str | None, rate: int | None, message_ms: int) -> Microphone:
    chosen = int(device) if device is not None and device.isdecimal() else device
    try:
        return Microphone(
            chosen, sample_rate_hertz=rate, message_ms=message_ms, on_loss=_report_loss
        )
    except MicrophoneError as error:
        fail(str(error), "`siren listen --list-devices` lists the microphones.", code=FAILED)


def _report_loss(loss: AudioLoss) -> None:
    console = errors_console()
    console.print("error: ", style="bold red", end="")
    console.print(f"audio is being lost: {describe_loss(loss)}", markup=False)


def _note(text: str) -> None:
    if sys.stderr.isatty():
        errors_console().print(text, style="dim", markup=False)


def _print_devices(devices: list[InputDevice], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(device) for device in devices], ensure_ascii=False, indent=2))
        return
    table = Table("device", "name", "system", "channels", "rate")
    for device in devices:
        table.add_row(
            f"{device.index}{' *' if device.is_default else ''}",
            device.name,
            device.system,
            str(device.n_channels),
            f"{device.sample_rate_hertz} Hz",
        )
    Console(highlight=False).print(table if devices else "no microphone")
