"""How well do the configured engines understand, answer, call functions and speak? Without a server.

Every engine is asked through its port, in this process, one request after the other. What is compared is
what comes out, so recordings are not paced: an engine hears them as fast as it takes them.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from voicestack.aio.clock import Clock
from voicestack.cli.bench_stats import word_errors
from voicestack.cli.gate_figures import Figure, PerItem, Times
from voicestack.cli.gate_set import LabelledSet, key_of
from voicestack.cli.tool_requests import Questions, Verdict, ask, request
from voicestack.cli.waveform import resample
from voicestack.core.audio import EAR_RATE_HZ, AudioFrame, Pcm
from voicestack.core.errors import StageError
from voicestack.core.history import Message
from voicestack.core.ids import SessionId, TurnId
from voicestack.core.phrases import Phrases
from voicestack.core.tools import Toolbox
from voicestack.ports import PAUSE, Asr, Certainty, Llm, LlmRequest, Pause, SpeechRequest, Tts

FRAME_SAMPLES = EAR_RATE_HZ // 50
_TAIL_SAMPLES = EAR_RATE_HZ // 5
"""Silence around what the recogniser hears: the last word must not be cut."""
WAYS = ("one", "all")
"""As in `bench tools`: one function offered, all of them offered."""

Tell = Callable[[str], None]


@dataclass(slots=True)
class Measured:
    """What was found.

    Attributes:
        figures: By name.
        texts: Greedy answers, by the question's key.
        heard: What was understood, by the recording's or sentence's key.
        errors: Codes of engines that failed, by the item's key.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    heard: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


async def measure_asr(asr: Asr, clock: Clock, labelled: LabelledSet, found: Measured, tell: Tell) -> None:
    """Hear every recording. One that the engine fails on has all its words wrong."""
    wrong = {}
    for recording in labelled.recordings:
        heard, error = await hear(asr, clock, recording.pcm)
        errors = word_errors(recording.words, heard)
        wrong[recording.key] = (errors.n_errors, errors.n_words)
        _keep(found, recording.key, heard, error)
        tell(f"asr  {recording.words}  ->  {error or heard}")
    found.figures["asr.word_errors"] = PerItem(wrong)


def _keep(found: Measured, key: str, heard: str, error: str | None) -> None:
    found.heard[key] = heard
    if error is not None:
        found.errors[key] = error


async def hear(asr: Asr, clock: Clock, pcm: Pcm) -> tuple[str, str | None]:
    """The final words of one utterance, and the code of what went wrong. `pcm` is int16 at EAR_RATE_HZ."""
    text = ""
    try:
        async with aclosing(asr.transcribe(_sounds(pcm, clock))) as transcripts:
            async for transcript in transcripts:
                if transcript.certainty is Certainty.FINAL:
                    text = transcript.text
    except StageError as failed:
        return "", failed.code
    return text, None


async def _sounds(pcm: Pcm, clock: Clock) -> AsyncIterator[AudioFrame | Pause]:
    """As a session would deliver it: the utterance, a pause, and its end."""
    padded = np.concatenate([pcm, np.zeros(_TAIL_SAMPLES, dtype=np.int16)])
    for at in range(0, len(padded), FRAME_SAMPLES):
        yield AudioFrame(padded[at : at + FRAME_SAMPLES], at, clock.now_ns())
    yield PAUSE


@dataclass(slots=True)
class Written:
    """One answer. Times run from the request; `pieces` are as they came."""

    pieces: list[str] = field(default_factory=list)
    first_ms: float | None = None
    clause_ms: float | None = None
    last_ms: float = 0.0
    error: str | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    @property
    def word_ms(self) -> float | None:
        """Time for each word after the first text; None of less than two. A piece may be several tokens."""
        n_words = len(self.text.split())
        if self.first_ms is None or self.error is not None or n_words < 2:
            return None
        return (self.last_ms - self.first_ms) / (n_words - 1)


async def write(llm: Llm, clock: Clock, session: str, messages: Sequence[Message]) -> Written:
    """Let the language model answer, and note when the first text and the first clause are there."""
    written, phrases = Written(), Phrases()
    start_ns = clock.now_ns()

    def passed_ms() -> float:
        return (clock.now_ns() - start_ns) / 1e6

    try:
        async with aclosing(llm.reply(LlmRequest(SessionId(session), TurnId(1), tuple(messages)))) as deltas:
            async for delta in deltas:
                if not delta.text:
                    continue
                written.pieces.append(delta.text)
                written.last_ms = passed_ms()
                written.first_ms = written.last_ms if written.first_ms is None else written.first_ms
                if written.clause_ms is None and phrases.push(delta.text):
                    written.clause_ms = written.last_ms
    except StageError as failed:
        written.error = failed.code
    if written.clause_ms is None and written.error is None and written.text.strip():
        written.clause_ms = passed_ms()  # an answer of one clause
    return written


async def warm_up(llm: Llm, clock: Clock, instructions: Message) -> None:
    """Ask once, so that no figure is that of a cold engine."""
    await ask(llm, clock, "warm", (instructions, Message("user", "hello")), Toolbox())


async def measure_answers(
    llm: Llm, clock: Clock, instructions: Message, labelled: LabelledSet, found: Measured, tell: Tell
) -> None:
    """Ask every question, and look for what must be in the answer."""
    wrong, first_ms, clause_ms, word_ms = {}, [], [], []
    for dialogue in labelled.dialogues:
        written = await write(llm, clock, "dialogue", (instructions, *dialogue.messages))
        is_right = written.error is None and dialogue.is_right(written.text)
        wrong[dialogue.key] = (int(not is_right), 1)
        first_ms.append(written.first_ms)
        clause_ms.append(written.clause_ms)
        if written.word_ms is not None:
            word_ms.append(written.word_ms)
        found.texts[dialogue.key] = written.text
        if written.error is not None:
            found.errors[dialogue.key] = written.error
        mark = "     " if is_right else "WRONG"
        tell(f"llm  {mark} {dialogue.messages[-1].text}  ->  {written.error or written.text}")
    found.figures["llm.wrong_answers"] = PerItem(wrong)
    found.figures["llm.first_text_ms"] = Times((tuple(first_ms),))
    found.figures["llm.first_clause_ms"] = Times((tuple(clause_ms),))
    found.figures["llm.word_ms"] = Times((tuple(word_ms),))


async def measure_tools(
    llm: Llm, clock: Clock, instructions: Message, questions: Questions, found: Measured, tell: Tell
) -> None:
    """Ask for functions, and for none."""
    for way in WAYS:
        verdicts: dict[str, Verdict] = {}
        for spoken in questions.spoken:
            verdict = await request(llm, clock, instructions, spoken, questions, way)
            verdicts[key_of(spoken.text, spoken.tool, str(spoken.arguments))] = verdict
            if verdict.answer.error is not None:
                found.errors[f"{way} {spoken.text}"] = verdict.answer.error
            answer = verdict.answer
            said = f"{answer.name} {answer.arguments}" if verdict.called else answer.text
            found.texts[f"{way} {spoken.text}"] = said
            tell(f"tools {way}  {spoken.text}  ->  {answer.error or said}")
        found.figures |= tool_figures(way, verdicts)


def tool_figures(way: str, verdicts: dict[str, Verdict]) -> dict[str, Figure]:
    """What was wrong with the calls. A request that is met with an error is met wrongly, also in chat."""
    asked = {key: v for key, v in verdicts.items() if v.spoken.arguments is not None}
    chat = {key: v for key, v in verdicts.items() if v.spoken.arguments is None}
    called = {key: v for key, v in verdicts.items() if v.called}
    return {
        f"tools.{way}.wrong_function": PerItem(
            {k: (int(v.right_tool is not True), 1) for k, v in asked.items()}
        ),
        f"tools.{way}.wrong_call": PerItem({k: (int(not v.right_arguments), 1) for k, v in asked.items()}),
        f"tools.{way}.invalid": PerItem({k: (int(v.valid is not True), 1) for k, v in called.items()}),
        f"tools.{way}.false_calls": PerItem(
            {k: (int(v.called or v.answer.error is not None), 1) for k, v in chat.items()}
        ),
    }


async def measure_tts(
    tts: Tts, ear: Asr, clock: Clock, labelled: LabelledSet, found: Measured, tell: Tell
) -> None:
    """Say every sentence, and let a recogniser hear it. What failed to be said has all its words wrong."""
    wrong, first_ms = {}, []
    for key, text in labelled.sentences.items():
        pcm, waited_ms, error = await say(tts, clock, text)
        heard = ""
        if error is None:
            heard, error = await hear(ear, clock, _as_heard(pcm, tts.rate_hz))
        errors = word_errors(text, heard)
        wrong[key] = (errors.n_errors, errors.n_words)
        first_ms.append(waited_ms)
        _keep(found, key, heard, error)
        tell(f"tts  {text}  ->  {error or heard}")
    found.figures["tts.word_errors"] = PerItem(wrong)
    found.figures["tts.first_audio_ms"] = Times((tuple(first_ms),))


async def say(tts: Tts, clock: Clock, text: str) -> tuple[Pcm, float | None, str | None]:
    """The sound of a text at the voice's rate, the wait for its beginning, and the code of an error."""
    frames: list[Pcm] = []
    first_ms = None
    start_ns = clock.now_ns()
    try:
        async with aclosing(tts.speak(SpeechRequest(text))) as spoken:
            async for frame in spoken:
                if first_ms is None and len(frame.pcm):
                    first_ms = (clock.now_ns() - start_ns) / 1e6
                frames.append(frame.pcm)
    except StageError as failed:
        return np.zeros(0, dtype=np.int16), None, failed.code
    return np.concatenate([np.zeros(0, dtype=np.int16), *frames]), first_ms, None


def _as_heard(pcm: Pcm, rate_hz: int) -> Pcm:
    silence = np.zeros(_TAIL_SAMPLES, dtype=np.int16)
    return np.concatenate([silence, resample(pcm, rate_hz, EAR_RATE_HZ)])
