"""How is a transcript written: as JSON, plain text, or subtitles?"""

import zlib
from collections.abc import Sequence

from voicestack.server.stages.listening import Piece
from voicestack.server.stages.wire import (
    DurationUsage,
    TranscriptFormat,
    Transcription,
    TranscriptionSegment,
    TranscriptionWord,
    VerboseTranscription,
)

MEDIA_TYPES: dict[TranscriptFormat, str] = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}


def written(
    kind: TranscriptFormat,
    pieces: Sequence[Piece],
    duration_s: float,
    language: str,
    *,
    with_words: bool = False,
) -> str:
    """The whole transcript in that format; `with_words`, where it has a place for them, with single words."""
    text = " ".join(piece.text for piece in pieces)
    usage = DurationUsage(seconds=round(duration_s, 3))
    match kind:
        case "json":
            return Transcription(text=text, usage=usage).model_dump_json()
        case "verbose_json":
            segments = tuple(_segment(n, piece) for n, piece in enumerate(pieces))
            verbose = VerboseTranscription(
                language=language, duration_s=usage.seconds, text=text, segments=segments, usage=usage
            )
            if with_words:
                verbose = verbose.model_copy(update={"words": _words(pieces)})
            return verbose.model_dump_json(by_alias=True, exclude_none=True)
        case "text":
            return f"{text}\n"
        case "srt":
            cues = [f"{n}\n{_cue(piece, ',')}\n" for n, piece in enumerate(pieces, start=1)]
            return "\n".join(cues)
        case "vtt":
            return "\n".join(["WEBVTT\n", *(f"{_cue(piece, '.')}\n" for piece in pieces)])


def timestamp(at_s: float, point: str) -> str:
    """`hh:mm:ss.mmm`, as subtitles have it.

    >>> timestamp(3723.5, ",")
    '01:02:03,500'
    """
    minutes, ms = divmod(round(at_s * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{point}{ms % 1000:03}"


def _cue(piece: Piece, point: str) -> str:
    text = piece.text.replace("-->", "->")  # the one thing that a cue must not hold
    return f"{timestamp(piece.start_s, point)} --> {timestamp(piece.end_s, point)}\n{text}"


def _words(pieces: Sequence[Piece]) -> tuple[TranscriptionWord, ...]:
    words = [word for piece in pieces for word in piece.words]
    return tuple(
        TranscriptionWord(word=word.text.strip(), start=round(word.start_s, 3), end=round(word.end_s, 3))
        for word in words
    )


def _segment(n: int, piece: Piece) -> TranscriptionSegment:
    data = piece.text.encode()
    return TranscriptionSegment(
        id=n,
        seek=round(piece.start_s * 100),
        start=round(piece.start_s, 3),
        end=round(piece.end_s, 3),
        text=piece.text,
        compression_ratio=round(len(data) / len(zlib.compress(data)), 3),
        p_no_speech=round(1 - piece.p_speech, 3),
    )
