"""Options that several commands share, as dataclasses a command takes whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from siren_client.blocking import SirenClient
from siren_client.cli.options import (
    DEFAULT_SERVER,
    USAGE_ERROR,
    CaFileOption,
    ClientCertOption,
    ClientKeyOption,
    PlaintextTokenOption,
    ServerOption,
    TlsOption,
    TokenFileOption,
    TokenOption,
    fail,
    make_client,
)
from siren_client.cli.output import Format
from siren_client.cli.phrases import PhraseFlag, PhrasesFileFlag, phrases_of
from siren_client.cli.stopping import quiet_on_broken_pipe
from siren_client.endpointing import EndpointDetector, Endpointing
from siren_client.tls import Tls
from siren_client.token import FileToken, Token, read_token
from siren_client.types import Decoder, RecognitionOptions


@dataclass(frozen=True, kw_only=True)
class ConnectionFlags:
    """How to reach the server."""

    server: ServerOption = DEFAULT_SERVER
    token: TokenOption = None
    token_file: TokenFileOption = None
    plaintext_token: PlaintextTokenOption = False
    tls: TlsOption = False
    ca_file: CaFileOption = None
    client_cert: ClientCertOption = None
    client_key: ClientKeyOption = None

    def make_client(self, *, timeout_s: float = 10.0) -> SirenClient:
        """Make the client they ask for; exit if they contradict each other."""
        return make_client(
            self.server,
            token=self._token(),
            plaintext_token=self.plaintext_token,
            tls=self._tls(),
            timeout_s=timeout_s,
        )

    def _token(self) -> Token | None:
        if self.token and self.token_file:
            fail("--token and --token-file (or their variables) name two", code=USAGE_ERROR)
        token = FileToken(self.token_file) if self.token_file else self.token or None
        try:
            if token is not None:
                read_token(token)
        except UnicodeDecodeError:
            fail(f"{self.token_file}: no token, for it is no text", code=USAGE_ERROR)
        except (OSError, ValueError) as error:
            fail(f"{self.token_file or '--token'}: {error}", code=USAGE_ERROR)
        return token

    def _tls(self) -> Tls | None:
        files = (self.ca_file, self.client_cert, self.client_key)
        if not self.tls and files == (None, None, None):
            return None
        try:
            return Tls.from_files(
                ca_file=self.ca_file, cert_file=self.client_cert, key_file=self.client_key
            )
        except ValueError:
            fail("--client-cert and --client-key belong together", code=USAGE_ERROR)


@dataclass(frozen=True, kw_only=True)
class RecognitionFlags:
    """How to recognise: an option of `RecognitionOptions` that a person may want is added here.

    It is then an option of every command that recognises.
    """

    model: Annotated[
        str | None, typer.Option(help="Id of a model; see `siren models`.", show_default=False)
    ] = None
    language: Annotated[
        str | None,
        typer.Option(
            help="BCP-47 code such as en-US, or auto; see `siren models`.",
            metavar="CODE",
            show_default=False,
        ),
    ] = None
    chunk_frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Look-ahead in 80 ms frames, of those the model has: more is more accurate, "
            "less is quicker.",
            show_default=False,
        ),
    ] = None
    decoder: Annotated[
        Decoder | None, typer.Option(help="Decoder of a hybrid model.", show_default=False)
    ] = None
    phrase: PhraseFlag = None
    phrases_file: PhrasesFileFlag = None
    words: Annotated[
        bool,
        typer.Option(
            "--words",
            help="Give the words of each utterance with their times, in seconds, and how certain "
            "each is, 0 to 1.",
        ),
    ] = False
    alternatives: Annotated[
        int | None,
        typer.Option(
            "--alternatives",
            min=1,
            max=10,
            metavar="N",
            help="Give up to N other readings of each utterance, and how likely each is, 0 to 1.",
            show_default=False,
        ),
    ] = None
    endpointing: Annotated[
        EndpointDetector | None,
        typer.Option(
            help="End utterances by themselves, at silence the decoder or a voice activity "
            "detector finds, or at the model's own end token.",
            show_default=False,
        ),
    ] = None
    min_silence_ms: Annotated[
        int | None,
        typer.Option(
            metavar="MS", help="Silence that ends an utterance, 100 to 60000.", show_default=False
        ),
    ] = None
    max_utterance_ms: Annotated[
        int | None,
        typer.Option(
            metavar="MS", help="Speech after which an utterance is ended.", show_default=False
        ),
    ] = None
    request_id: Annotated[
        str | None,
        typer.Option(
            help="Your own name for the calls, to find them in the server's log.",
            metavar="ID",
            show_default=False,
        ),
    ] = None

    lower_case: Annotated[
        bool, typer.Option("--lower-case", help="Small letters, without punctuation.")
    ] = False
    inverse_text_normalization: Annotated[
        bool,
        typer.Option(
            "--itn", help='Write numbers and dates as people do: "$25" (if the server can).'
        ),
    ] = False
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="Make a word unreadable; may be repeated.", metavar="WORD", show_default=False
        ),
    ] = None
    mask_profanity: Annotated[
        bool, typer.Option("--mask-profanity", help="Mask the words of the server's own list.")
    ] = False

    def to_options(self, output_format: Format) -> RecognitionOptions:
        """Give those that were set, and what a form of results needs.

        The server chooses the others.
        """
        options = RecognitionOptions()
        if self.model is not None:
            options["model"] = self.model
        if self.language is not None:
            options["language_code"] = self.language
        if self.chunk_frames is not None:
            options["chunk_frames"] = self.chunk_frames
        if self.decoder is not None:
            options["decoder"] = self.decoder
        if self.request_id is not None:
            options["request_id"] = self.request_id
        if phrases := phrases_of(self.phrase, self.phrases_file):
            options["phrases"] = phrases
        if self.words or output_format.is_subtitles:
            options["words"] = True
        if self.words and output_format is Format.JSON:
            options["partial_words"] = True
        if self.alternatives is not None:
            options["max_alternatives"] = self.alternatives
        if (endpointing := self._endpointing()) is not None:
            options["endpointing"] = endpointing
        if self.lower_case:
            options["lower_case"] = True
        if self.inverse_text_normalization:
            options["inverse_text_normalization"] = True
        if self.mask:
            options["mask"] = self.mask
        if self.mask_profanity:
            options["mask_profanity"] = True
        return options

    def _endpointing(self) -> Endpointing | None:
        if self.endpointing is EndpointDetector.OFF:
            return None
        if (self.endpointing, self.min_silence_ms, self.max_utterance_ms) == (None, None, None):
            return None
        return Endpointing(
            detector=self.endpointing or EndpointDetector.DECODER,
            min_silence_ms=self.min_silence_ms,
            max_utterance_ms=self.max_utterance_ms,
        )


def takes_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have parameters that are dataclasses of options, and readers that go away.

    To typer, which reads signatures, each such parameter is its fields, at its place.
    """
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    # Not get_type_hints: for None as a default, Python 3.10's hides an option in an Optional.
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        annotation = parameter.annotation
        if isinstance(annotation, type) and is_dataclass(annotation):
            groups[name] = annotation
            parameters += _parameters_of(annotation)
        else:
            parameters.append(parameter.replace(kind=_KEYWORD))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        with quiet_on_broken_pipe():
            command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _parameters_of(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(field.name, _KEYWORD, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]
