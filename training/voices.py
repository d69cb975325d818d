"""Make digits of more people: voices of Debian's packages that were built from their recordings.

English voices read English. Voices of other languages read the digits respelled in their own
spelling (``RESPELLED``), which gives what their speakers would say with a strong accent, or are
given English by espeak-ng in their own phonemes (MBROLA's ``-en``). Writes ``TAKES/
DIGIT_VOICE_TAKE.wav`` as FSDD does, for ``training.pseudo_speakers`` and
``training.blend_speakers``, and ``TTS/train-voices-SEED.npz`` with strings of 3 to 8 digits, which
``training.train`` reads with the other synthetic speech.

Voices whose licence forbids commercial use or derivatives (``Voice.restricted``; all of MBROLA's)
are made only with ``--restricted``, and then no other: give that its own folders.

    python -m training.voices --takes build/takes
    python -m training.voices --takes build/takes --measure siren-mini-en.nemo --prune
    python -m training.voices --takes build/takes --tts build/tts
    python -m training.voices --takes build/takes-nc --restricted        # and so on

A respelled digit may come out as another word. ``--prune`` deletes the takes of such a digit when a
model recognises none of one voice. Strings are made of the digits whose takes exist.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from training import texts

RATE = 16000
#: speed and pitch of each take, as factors on the voice's own
TAKES = [
    (0.8, 1.0), (0.9, 1.06), (1.0, 1.0), (1.0, 0.94),
    (1.1, 1.03), (1.15, 0.97), (1.25, 1.0), (0.85, 0.95),
]  # fmt: skip
#: what a voice of the language is given to say zero to nine
RESPELLED = {
    "cs": "zírou uan tú srí fór fajv siks seven ejt najn",
    "de": "Siro uann tuh srie fohr faif ßicks ßewwen äit nein",
    "eo": "ziroŭ uan tu tri for fajv siks seven ejt najn",
    "es": "síro uan tu zri for faif sics seven eit nain",
    "fi": "sirou uan tuu trii foor faiv siks seven eit nain",
    "fr": "zirô ouane tou sri fôr faillve sixe sévène éïte naillne",
    "hi": "ज़ीरो वन टू थ्री फोर फाइव सिक्स सेवन एट नाइन",
    "id": "ziro wan tu tri for faiv siks seven eit nain",
    "it": "zirou uan tuu tri for fàiv sics sèven èitt nàin",
    "mk": "зироу уан ту три фор фајв сикс севен ејт најн",
    "pl": "zirou łan tu fri for fajw siks sewen ejt najn",
    "pt": "zírou uan tu tri fór faiv sics séven eit nain",
    "ru": "зироу уан ту три фор файв сикс севэн эйт найн",
    "sq": "zirou uan tu thri for fajv siks seven ejt najn",
    "te": "జీరో వన్ టూ త్రీ ఫోర్ ఫయివ్ సిక్స్ సెవెన్ ఎయిట్ నయిన్",
    "tr": "zirov van tu tri for fayv siks sevın eyt nayn",
    "uk": "зіроу уан ту срі фор файв сікс севен ейт найн",
}


@dataclass(frozen=True)
class Voice:
    """A voice, the name of its takes (no underscore) and what it is to read."""

    name: str
    engine: str
    voice: str
    language: str = "en"
    restricted: bool = False

    def spoken(self, text: str) -> str:
        """Return words of ``texts.DIGITS`` as this voice is to read them."""
        if self.language == "en":
            return text
        respelled = RESPELLED[self.language].split()
        return " ".join(respelled[texts.DIGITS.index(w)] for w in text.split())


@dataclass(frozen=True)
class Job:
    """Digits to say; speed and pitch are factors."""

    text: str
    speed: float
    pitch: float


def catalogue() -> list[Voice]:
    """Return every voice."""
    voices = [Voice(f"rh{v}", "rhvoice", v) for v in "alan bdl clb slt".split()]
    voices += [Voice(f"pico{c.lower()}", "pico", f"en-{c}") for c in ("US", "GB")]
    voices += [Voice(f"pico{c[:2]}", "pico", c, c[:2]) for c in "de-DE es-ES fr-FR it-IT".split()]
    voices += [Voice(f"fest{v}", "festival", f"{v}_diphone") for v in ("don", "rab")]
    free = {
        "ru": "aleksandr anna elena irina",
        "uk": "anatol natalia",
        "eo": "spomenka",
        "pt": "Leticia-F123",
    }
    closed = {
        "en": "evgeniy-eng lyubov",
        "ru": "artemiy arina mikhail pavel tatiana victoria vitaliy yuriy",
        "uk": "marianna volodymyr",
        "mk": "kiko suze",
        "pl": "magda natan",
        "sq": "hana",
    }
    for restricted, spoken in ((False, free), (True, closed)):
        for language, names in spoken.items():
            for name in names.split():
                short = name.split("-")[0].lower()
                voices.append(Voice(f"rh{short}", "rhvoice", name, language, restricted))
    voices += [Voice(f"rh{v}", "rhvoice", v, "ru") for v in ("azamat", "nazgul")]  # Kyrgyz
    voices.append(Voice("rhtalgat", "rhvoice", "talgat", "ru", restricted=True))  # Tatar
    festival = {
        "cs": "czech_dita czech_krb czech_machac czech_ph",
        "fi": "hy_fi_mv_diphone suo_fi_lj_diphone",
        "it": "lp_diphone pc_diphone",
        "te": "telugu_NSK_diphone",
    }
    for language, names in festival.items():
        for name in names.split():
            short = name.replace("_diphone", "").split("_")[-1].lower()
            voices.append(Voice(f"fest{language}{short}", "festival", name, language))
    english = (
        "us1 us2 us3 en1 af1-en de1-en de2-en de3-en de4-en de5-en de6-en fr1-en gr2-en "
        "hu1-en nl2-en pl1-en ro1-en sw1-en sw2-en"
    )
    voices += [
        Voice(f"mb{v.removesuffix('-en')}", "espeak", f"mb-{v}", restricted=True)
        for v in english.split()
    ]
    mbrola = {"es": "es1 mx2", "it": "it3 it4", "pt": "br3 br4 pt1", "tr": "tr1 tr2", "id": "id1"}
    mbrola |= {"hi": "in1 in2", "cs": "cz2"}
    for language, names in mbrola.items():
        for name in names.split():
            voices.append(Voice(f"mb{name}", "espeak", f"mb-{name}", language, restricted=True))
    return voices


def say(voice: Voice, jobs: list[Job]) -> Iterator[NDArray[np.int16] | None]:
    """Synthesise the jobs of one voice at 16 kHz; None where the engine fails."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        paths = [Path(folder) / f"{i}.wav" for i in range(len(jobs))]
        if voice.engine == "festival":
            _run_festival(voice, jobs, paths)
        for job, path in zip(jobs, paths, strict=True):
            try:
                if voice.engine != "festival":
                    command, stdin = _command(voice, job, path)
                    subprocess.run(
                        command, input=stdin, check=True, capture_output=True, text=True, timeout=8
                    )
                audio, rate = soundfile.read(path, dtype="float32")
            except (subprocess.SubprocessError, RuntimeError):
                yield None
                continue
            yield _finish(audio, rate, job.pitch if voice.engine == "festival" else 1.0)


def _command(voice: Voice, job: Job, path: Path) -> tuple[list[str], str | None]:
    spoken = voice.spoken(job.text)
    percent, pitch = round(100 * job.speed), round(100 * job.pitch)
    if voice.engine == "espeak":
        # -p 50 is the voice's own pitch; 10 steps are about 10 %.
        rate, height = str(round(155 * job.speed)), str(pitch - 50)
        command = ["espeak-ng", "-v", voice.voice, "-s", rate, "-p", height, "-w", str(path)]
        return [*command, spoken], None
    if voice.engine == "rhvoice":
        command = ["RHVoice-test", "-p", voice.voice, "-r", str(percent), "-t", str(pitch)]
        return [*command, "-o", str(path)], spoken + ".\n"
    tagged = f'<speed level="{percent}"><pitch level="{pitch}">{spoken}</pitch></speed>'
    return ["pico2wave", "-l", voice.voice, "-w", str(path), tagged], None


def _run_festival(voice: Voice, jobs: list[Job], paths: list[Path]) -> None:
    """Write all files with one process: starting Festival takes longer than speaking."""
    lines = [f"(voice_{voice.voice})"]
    for job, path in zip(jobs, paths, strict=True):
        lines.append(f"(Parameter.set 'Duration_Stretch {1 / job.speed:.3f})")
        lines.append(f'(set! said (utt.synth (Utterance Text "{voice.spoken(job.text)}")))')
        lines.append(f'(utt.save.wave said "{path}")')  # RIFF unless told otherwise
    script = paths[0].with_suffix(".scm")
    encoding = {"cs": "iso-8859-2", "fi": "iso-8859-1", "it": "iso-8859-1"}
    script.write_bytes("\n".join(lines).encode(encoding.get(voice.language, "utf-8")))
    subprocess.run(["festival", "-b", str(script)], capture_output=True, timeout=600, check=False)


def _finish(audio: NDArray[np.float32], rate: int, pitch: float) -> NDArray[np.int16] | None:
    """Trim to 30 ms around what is louder than -40 dB of the peak, and resample.

    A pitch other than 1 is a change of rate, which moves the formants too.
    """
    loud = np.flatnonzero(np.abs(audio) > 0.01 * float(np.abs(audio).max(initial=1e-3)))
    margin = rate * 30 // 1000
    if loud.size == 0 or loud[-1] - loud[0] < rate // 10:
        return None
    audio = audio[max(0, loud[0] - margin) : loud[-1] + margin]
    source = round(rate * pitch)
    if source != RATE:
        audio = np.asarray(soxr.resample(audio, source, RATE), np.float32)
    return (audio / float(np.abs(audio).max()) * 0.7 * 32767).astype(np.int16)


def write_takes(voice: Voice, out: Path) -> int:
    """Write ``DIGIT_VOICE_TAKE.wav`` for every digit; return how many."""
    jobs = [Job(word, *take) for word in texts.DIGITS for take in TAKES]
    count = 0
    for i, wave in enumerate(say(voice, jobs)):
        if wave is not None:
            digit, take = divmod(i, len(TAKES))
            soundfile.write(out / f"{digit}_{voice.name}_{take}.wav", wave, RATE)
            count += 1
    return count


def write_strings(voices: list[Voice], takes: Path, path: Path, *, count: int, seed: int) -> None:
    """Write one file of digit strings, as ``training.synthesise`` does."""
    audio, said, names = [], [], []
    for voice in tqdm(voices):
        rng = random.Random(f"{voice.name}{seed}")
        words = sorted({texts.DIGITS[int(p.name[0])] for p in takes.glob(f"?_{voice.name}_*.wav")})
        if not words:
            continue
        jobs = [
            Job(
                " ".join(rng.choice(words) for _ in range(rng.randint(3, 8))),
                rng.uniform(0.8, 1.25),
                rng.uniform(0.94, 1.06),
            )
            for _ in range(count)
        ]
        for job, wave in zip(jobs, say(voice, jobs), strict=True):
            if wave is not None:
                audio.append(wave)
                said.append(job.text)
                names.append(f"{voice.engine}:{voice.voice}")
    np.savez(
        path,
        audio=np.concatenate(audio),
        ends=np.cumsum([a.size for a in audio]),
        texts=np.array(said),
        voices=np.array(names),
    )
    hours = sum(a.size for a in audio) / RATE / 3600
    print(f"{path.name}: {len(audio)} utterances, {hours:.2f} h")


def measure(model: Path, work: Path, takes: Path, *, prune: bool) -> None:
    """Print each voice's digit error rate, and which digits are never recognised alone.

    The rates are those of strings of three takes of a voice with gaps of 100 ms.
    """
    from training import evaluate  # torch and NeMo, which no other part needs

    net = evaluate.load(model, work)
    respelled = {v.name for v in catalogue() if v.language != "en"}
    files: dict[str, list[Path]] = {}
    for path in sorted(takes.glob("?_*_*.wav")):
        files.setdefault(path.stem.split("_")[1], []).append(path)
    gap = np.zeros(RATE // 10, np.float32)
    for name, paths in files.items():
        random.Random(name).shuffle(paths)
        alone = [soundfile.read(path, dtype="float32")[0] for path in paths]
        spoken = [texts.DIGITS[int(path.name[0])] for path in paths]
        waves, references = [], []
        for at in range(0, len(paths) - 2, 3):
            pieces = [piece for wave in alone[at : at + 3] for piece in (wave, gap)]
            waves.append(np.concatenate(pieces[:-1]))
            references.append(" ".join(spoken[at : at + 3]))
        rnnt, ctc = evaluate.transcribe(net, waves, [70, 6])
        found = [set(pair) for pair in zip(*evaluate.transcribe(net, alone, [70, 6]), strict=True)]
        known = {word for word, heard in zip(spoken, found, strict=True) if word in heard}
        never = [word for word in texts.DIGITS if word in spoken and word not in known]
        for path, word in zip(paths, spoken, strict=True):
            if prune and name in respelled and word in never:
                path.unlink()
        seconds = np.median([wave.size / RATE for wave in alone])
        rates = f"{evaluate.wer(references, rnnt):5.1f} {evaluate.wer(references, ctc):5.1f}"
        print(f"{name:14} {len(paths):3} takes {seconds:.2f} s, RNN-T, CTC {rates} %", *never)


def main() -> None:
    """Write takes and strings, or measure a model on takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--takes", type=Path, required=True, help="folder of the takes")
    parser.add_argument("--tts", type=Path, help="instead of takes, make strings: the folder")
    parser.add_argument("--restricted", action="store_true", help="only restricted voices")
    parser.add_argument("--voices", nargs="+", help="names of voices (default: all)")
    parser.add_argument("--strings", type=int, default=30, help="strings of each voice")
    parser.add_argument("--seed", type=int, default=1, help="also part of the file's name")
    parser.add_argument("--measure", type=Path, help="instead, try a .nemo or .pt on the takes")
    parser.add_argument("--prune", action="store_true", help="delete digits it never recognises")
    parser.add_argument("--work", type=Path, default=Path("build"), help="has tokenizer/ of a .pt")
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.work, args.takes, prune=args.prune)
        return
    args.takes.mkdir(parents=True, exist_ok=True)
    voices = [v for v in catalogue() if v.restricted == args.restricted]
    voices = [v for v in voices if not args.voices or v.name in args.voices]
    if args.tts:
        args.tts.mkdir(parents=True, exist_ok=True)
        path = args.tts / f"train-voices-{args.seed}.npz"
        write_strings(voices, args.takes, path, count=args.strings, seed=args.seed)
        return
    for voice in tqdm(voices):
        tqdm.write(f"{voice.name}: {write_takes(voice, args.takes)} takes")


if __name__ == "__main__":
    main()
