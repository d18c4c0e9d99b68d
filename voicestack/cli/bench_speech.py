"""What do the callers of a bench say, and where exactly does their speech begin and end?"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from voicestack.cli.speaker import CALL_RATE_HZ
from voicestack.cli.waveform import BadWav, decode_wav, first_audible, last_audible, resample
from voicestack.core.audio import Pcm

INDEX = "index.json"


def add_speech_argument(
    parser: argparse.ArgumentParser, about: str = "recordings and their index.json"
) -> None:
    """Declare `--speech`, the folder for `read_folder`."""
    parser.add_argument(
        "--speech",
        type=Path,
        default=Path("tests/data/speech"),
        metavar="DIR",
        help=f"{about} (default: %(default)s)",
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One recording.

    Attributes:
        file: Its name.
        words: What is said in it, None when nobody wrote that down.
        pcm: int16 mono at CALL_RATE_HZ.
        first_speech: Index into `pcm` of the first sample that a listener would call speech.
        last_speech: The same for the last one.
    """

    file: str
    words: str | None
    pcm: Pcm
    first_speech: int
    last_speech: int


def read_line(path: Path, words: str | None = None) -> Line:
    """Read a WAV file. The bounds of the speech are found at the file's own rate, before any resampling.

    Raises:
        BadWav: it cannot be used, or holds no speech.
    """
    try:
        sound = decode_wav(path.read_bytes())
    except BadWav as bad:
        raise BadWav(f"{path}: {bad}") from bad
    except OSError as bad:
        raise BadWav(f"{path}: {bad.strerror}") from bad
    first, last = first_audible(sound.pcm, sound.rate_hz), last_audible(sound.pcm, sound.rate_hz)
    if first is None or last is None:
        raise BadWav(f"{path}: there is nothing to hear in it")
    scale = CALL_RATE_HZ / sound.rate_hz
    pcm = resample(sound.pcm, sound.rate_hz, CALL_RATE_HZ)
    return Line(path.name, words, pcm, int(first * scale), min(len(pcm) - 1, int(last * scale)))


def read_folder(folder: Path) -> list[Line]:
    """Every recording that the folder's index.json names, with its words; without one, every WAV file.

    Raises:
        BadWav: there is nothing usable.
    """
    try:
        index = json.loads((folder / INDEX).read_text("utf-8"))
        wanted = [(folder / str(entry["file"]), str(entry["words"])) for entry in index]
    except FileNotFoundError:
        return read_files(sorted(folder.glob("*.wav")), missing=f"{folder}: no {INDEX} and no WAV files")
    except (OSError, ValueError, TypeError, KeyError) as bad:
        raise BadWav(f"{folder / INDEX}: not a list of file and words ({bad})") from bad
    return [read_line(path, words) for path, words in wanted]


def read_files(paths: list[Path], *, missing: str) -> list[Line]:
    """Single recordings; the words of `x.wav` are in `x.txt` beside it, if it is there.

    Raises:
        BadWav: with `missing` as its message when there are none.
    """
    if not paths:
        raise BadWav(missing)
    lines = []
    for path in paths:
        beside = path.with_suffix(".txt")
        lines.append(read_line(path, beside.read_text("utf-8").strip() if beside.is_file() else None))
    return lines
