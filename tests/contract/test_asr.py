"""What every ASR must do: the scripted one, PocketSphinx and Whisper in their processes, and a server."""

import asyncio
import itertools
import math
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import tone_whisper
from tests.support.speech import Utterance, frames_of, hiss, silence, utterances
from voicestack.aio.clock import SystemClock
from voicestack.aio.prefetch import Channel
from voicestack.aio.scope import Scope
from voicestack.core.audio import AudioFrame, Pcm
from voicestack.core.errors import StageUnavailable
from voicestack.core.hints import Hints
from voicestack.engines.openai_asr import ListeningServer, OpenAiAsr
from voicestack.engines.pocketsphinx_asr import PocketSphinxAsr, is_audible, written
from voicestack.engines.pocketsphinx_worker import Listener, Loudness, load
from voicestack.engines.scripted import ScriptedAsr
from voicestack.ports import PAUSE, Asr, Certainty, Pause, Transcript

LIMIT_S = 60.0
START_NS = 30_000_000_000
BREATH_FRAMES = 20
"""Of 20 ms: what Whisper waits for before it decodes again."""
CLEAR = [u for u in utterances() if u.name in ("01_slt.wav", "03_slt.wav", "05_slt.wav", "18_rms.wav")]
"""Questions that are understood word for word."""


@dataclass(frozen=True)
class Trial:
    """An ASR with what it understands word for word.

    Attributes:
        asr: It.
        clear: Questions.
        breathe: Waits until it has done all that it can do about the sound so far.
    """

    asr: Asr
    clear: Sequence[Utterance]
    breathe: Callable[[], Coroutine[Any, Any, None]]


OnAsr = Callable[[Trial], Coroutine[Any, Any, None]]
WithAsr = Callable[[OnAsr], None]


@asynccontextmanager
async def pocketsphinx(n_workers: int = 1, n_waiting_max: int = 16) -> AsyncIterator[PocketSphinxAsr]:
    asr = PocketSphinxAsr(
        clock=SystemClock(), n_workers_min=1, n_workers_max=n_workers, n_waiting_max=n_waiting_max
    )
    async with Scope() as scope:
        scope.start(asr.run(), name="pocketsphinx")
        await asr.ready(START_NS)
        yield asr


@pytest.fixture(scope="module")
def tone_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone_whisper.build(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(params=["scripted", "pocketsphinx", "whisper", "openai"])
def with_asr(request: pytest.FixtureRequest, tone_model: Path) -> WithAsr:
    """Runs a coroutine with an ASR."""

    async def main(on_asr: OnAsr) -> None:
        async with asyncio.timeout(LIMIT_S):
            if request.param == "scripted":
                scripted = ScriptedAsr([one.words.capitalize() for one in CLEAR])
                await on_asr(Trial(scripted, CLEAR, at_once))
            elif request.param == "pocketsphinx":
                async with pocketsphinx() as asr:
                    await on_asr(Trial(asr, CLEAR, at_once))
            elif request.param == "openai":
                await on_server(on_asr, request.getfixturevalue("replica_url"))
            else:
                await on_whisper(on_asr)

    async def on_server(on_asr: OnAsr, url: str) -> None:
        remote = OpenAiAsr(url, ListeningServer("asr", "en", partial_ms=700, window_s=3.0))
        try:
            await on_asr(Trial(remote, CLEAR[:2], lambda: until_answered(remote)))
        finally:
            await remote.close()

    async def on_whisper(on_asr: OnAsr) -> None:
        whisper = tone_whisper.tone_asr(tone_model)
        async with Scope() as scope:
            scope.start(whisper.run(), name="whisper")
            await whisper.ready(START_NS)
            await on_asr(Trial(whisper, tone_whisper.TALK, lambda: tone_whisper.until_quiet(whisper)))

    return lambda on_asr: asyncio.run(main(on_asr))


async def at_once() -> None:
    """For an ASR that takes all sound as it comes."""


async def until_answered(asr: OpenAiAsr) -> None:
    for _ in range(3):
        await asyncio.sleep(0)
        while asr.figures()["open_requests"]:  # noqa: ASYNC110 (one may follow the last: there is no event)
            await asyncio.sleep(0.001)


def heard_as(utterance: Utterance) -> list[AudioFrame | Pause]:
    """As the ears give it: some silence, the speech, a pause, more silence."""
    speech = np.concatenate([silence(200), utterance.pcm, silence(60)])
    return [*frames_of(speech), PAUSE, *frames_of(silence(100))]


async def sounds_of(
    sounds: Iterable[AudioFrame | Pause], breathe: Callable[[], Coroutine[Any, Any, None]] = at_once
) -> AsyncIterator[AudioFrame | Pause]:
    for n, sound in enumerate(sounds, start=1):
        yield sound
        if isinstance(sound, Pause) or n % BREATH_FRAMES == 0:
            await breathe()


async def transcribed(asr: Asr, sounds: Iterable[AudioFrame | Pause]) -> list[Transcript]:
    async with aclosing(asr.transcribe(sounds_of(sounds))) as transcripts:
        return [transcript async for transcript in transcripts]


async def spoken_to(trial: Trial, sounds: Iterable[AudioFrame | Pause]) -> list[Transcript]:
    """As `transcribed`, with sounds that come no faster than they are understood."""
    async with aclosing(trial.asr.transcribe(sounds_of(sounds, trial.breathe))) as transcripts:
        return [transcript async for transcript in transcripts]


def decided(got: list[Transcript]) -> list[Transcript]:
    """Without the quick guess at a pause where a better one follows."""
    settled = Certainty.SETTLED
    return [
        one
        for one, after in zip(got, [*got[1:], None], strict=True)
        if one.certainty is not settled or after is None or after.certainty is not settled
    ]


def texts(transcripts: list[Transcript], certainty: Certainty) -> list[str]:
    return [one.text for one in transcripts if one.certainty is certainty]


def test_partials_then_settled_then_final(with_asr: WithAsr) -> None:
    async def main(trial: Trial) -> None:
        for utterance in trial.clear:
            got = decided(await spoken_to(trial, heard_as(utterance)))
            words = utterance.words.capitalize()
            assert [one.text for one in got[-2:]] == [words, words]
            assert [one.certainty for one in got[-2:]] == [Certainty.SETTLED, Certainty.FINAL]
            assert {one.certainty for one in got[:-2]} == {Certainty.PARTIAL}
            partials = [one.text for one in got[:-2]]
            assert all(before != after for before, after in itertools.pairwise(partials))
            assert len(partials) >= 2

    with_asr(main)


def test_hints_are_taken_by_every_recogniser(with_asr: WithAsr) -> None:
    async def main(trial: Trial) -> None:
        utterance = trial.clear[0]
        hints = Hints("en", "Ada, Nginx. This is about the weather.")
        async with aclosing(trial.asr.transcribe(sounds_of(heard_as(utterance)), hints)) as transcripts:
            got = [one async for one in transcripts]
        assert (got[-1].certainty, got[-1].text) == (Certainty.FINAL, utterance.words.capitalize())
        assert got[-1].language in ("", "en")

    with_asr(main)


def test_every_pause_is_answered_in_order(with_asr: WithAsr) -> None:
    async def main(trial: Trial) -> None:
        frames = [*frames_of(np.concatenate([silence(200), trial.clear[0].pcm, silence(60)]))]
        got = await spoken_to(trial, [frames[0], PAUSE, *frames[1:], PAUSE, PAUSE])
        order = [one.certainty for one in got if one.certainty is not Certainty.PARTIAL]
        assert order[:-1] == [Certainty.SETTLED] * (len(order) - 1)
        assert 3 <= len(order) - 1 <= 6, "one or two for each pause"
        assert texts(got, Certainty.SETTLED)[-1] == texts(got, Certainty.FINAL)[0]
        assert got[-1].certainty is Certainty.FINAL

    with_asr(main)


def test_answers_come_while_sound_still_comes(with_asr: WithAsr) -> None:
    async def main(trial: Trial) -> None:
        sounds: Channel[AudioFrame | Pause] = Channel(1000, name="sounds")
        for sound in heard_as(trial.clear[0]):
            sounds.put(sound)
        async with aclosing(trial.asr.transcribe(sounds)) as transcripts:
            async for one in transcripts:
                if one.certainty is Certainty.SETTLED and one.text == trial.clear[0].words.capitalize():
                    sounds.close()
            assert one.certainty is Certainty.FINAL

    with_asr(main)


def test_a_closed_transcription_leaves_nothing_to_the_next(with_asr: WithAsr) -> None:
    async def main(trial: Trial) -> None:
        sounds: Channel[AudioFrame | Pause] = Channel(1000, name="sounds")
        for frame in frames_of(trial.clear[0].pcm):
            sounds.put(frame)
        async with aclosing(trial.asr.transcribe(sounds)) as transcripts:
            assert (await anext(transcripts)).certainty is Certainty.PARTIAL
        got = await spoken_to(trial, heard_as(trial.clear[1]))
        assert texts(got, Certainty.FINAL) == [trial.clear[1].words.capitalize()]
        assert len(texts(decided(got), Certainty.SETTLED)) == 1

    with_asr(main)


def test_no_sound_is_an_utterance_too(with_asr: WithAsr) -> None:
    async def main(trial: Trial) -> None:
        assert [one.certainty for one in await spoken_to(trial, [])] == [Certainty.FINAL]
        paused = await spoken_to(trial, [PAUSE])
        assert [one.certainty for one in decided(paused)] == [Certainty.SETTLED, Certainty.FINAL]

    with_asr(main)


@pytest.mark.parametrize(
    "pcm",
    [silence(2000), hiss(2000, -55), hiss(5, -20), np.full(640, 32767, np.int16), hiss(1000, -10)],
    ids=["silence", "hiss", "click", "step", "noise"],
)
def test_what_is_no_speech_is_survived(pcm: Pcm) -> None:
    async def main() -> None:
        async with pocketsphinx() as asr:
            got = await transcribed(asr, [*frames_of(pcm), PAUSE, *frames_of(pcm)])
            assert len(texts(decided(got), Certainty.SETTLED)) == 1
            assert got[-1].certainty is Certainty.FINAL
            after = await transcribed(asr, heard_as(CLEAR[0]))
            assert after[-1].text == CLEAR[0].words.capitalize()

    asyncio.run(main())


@pytest.mark.parametrize("silence_ms", [0, 300, 3000])
def test_an_utterance_goes_on_after_a_pause(silence_ms: int) -> None:
    async def main() -> None:
        async with pocketsphinx() as asr:
            first, second = CLEAR[0], CLEAR[1]
            sounds = [*heard_as(first), *frames_of(silence(silence_ms)), *heard_as(second)]
            got = await transcribed(asr, sounds)
            settled = texts(decided(got), Certainty.SETTLED)
            assert settled[0] == first.words.capitalize()
            assert settled[1] == f"{first.words} {second.words}".capitalize()
            assert got[-1].text == settled[1]

    asyncio.run(main())


def test_sure_words_stay_however_the_utterance_goes_on(with_asr: WithAsr) -> None:
    """A dictation of sixteen seconds, most of which is sure before its end."""

    async def main(trial: Trial) -> None:
        sounds = [sound for one in [*trial.clear] * 2 for sound in heard_as(one)]
        got = await spoken_to(trial, sounds)
        for before, after in itertools.combinations(got, 2):
            assert f"{after.text} ".startswith(f"{before.sure} ".lstrip())
        partials = [one for one in got if one.certainty is Certainty.PARTIAL]
        assert partials[-1].sure

    with_asr(main)


def test_what_is_understood_does_not_depend_on_who_spoke_before() -> None:
    def score(listener: Listener, *sounds: Pcm) -> float:
        """How good the decoder finds its best guess: the words alone are rarely so near to a change."""
        listener.forget()
        for frame in frames_of(np.concatenate(sounds)):
            listener.hear(frame.pcm.tobytes())
        return float(listener.decoder.hyp().best_score)

    listener = Listener(load())
    question = (hiss(300, -72), utterances()[8].pcm)
    score(listener, *question)  # the very first utterance of a decoder is a little different
    alone = score(listener, *question)
    score(listener, utterances()[7].pcm, hiss(1000, -30))
    assert score(listener, *question) == alone


@pytest.mark.parametrize("gain_db", [0, -12, -24])
def test_most_words_are_right_however_loud_they_are(gain_db: float) -> None:
    """On ten of the fifty recordings, five of either voice; the benches have them all."""

    async def main() -> None:
        n_words = n_errors = 0
        async with pocketsphinx() as asr:
            for one in utterances()[::5]:
                quiet = (one.pcm * 10 ** (gain_db / 20)).astype(np.int16)
                pcm = np.concatenate([silence(300), quiet, silence(100)])
                got = await transcribed(asr, frames_of(pcm))
                said, heard = one.words.split(), got[-1].text.lower().split()
                n_words += len(said)
                n_errors += distance(said, heard)
        assert n_errors <= 0.15 * n_words

    asyncio.run(main())


def distance(said: list[str], heard: list[str]) -> int:
    """Words that must be added, removed or changed (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for n, word in enumerate(said, start=1):
        corner, row[0] = row[0], n
        for m, other in enumerate(heard, start=1):
            corner, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, corner + (word != other))
    return row[-1]


def test_speakers_at_once_are_not_mixed_and_one_more_waits() -> None:
    async def main() -> None:
        async with pocketsphinx(n_workers=2) as asr:
            heard: dict[str, str] = {}

            async def listen(utterance: Utterance) -> None:
                heard[utterance.words] = (await transcribed(asr, heard_as(utterance)))[-1].text

            async with asyncio.TaskGroup() as group:
                for one in CLEAR:
                    group.create_task(listen(one))
                await asyncio.sleep(0.01)
                assert asr.n_waiting == len(CLEAR) - 2
            assert heard == {one.words: one.words.capitalize() for one in CLEAR}
            assert len(asr.workers) == 2
            assert asr.n_waiting == 0

    asyncio.run(main())


def test_too_many_speakers_are_told_so() -> None:
    async def main() -> None:
        async with pocketsphinx(n_workers=1, n_waiting_max=1) as asr, Scope() as scope:
            busy: Channel[AudioFrame | Pause] = Channel(1000, name="busy")
            for frame in frames_of(CLEAR[0].pcm):
                busy.put(frame)

            async def listen(sounds: AsyncIterator[AudioFrame | Pause]) -> None:
                async with aclosing(asr.transcribe(sounds)) as transcripts:
                    async for _ in transcripts:
                        pass

            scope.start(listen(busy), name="first")
            second = scope.start(listen(sounds_of(heard_as(CLEAR[1]))), name="second")
            await asyncio.sleep(0.01)
            assert asr.n_waiting == 1
            with pytest.raises(StageUnavailable, match="decoders are busy") as caught:
                await transcribed(asr, heard_as(CLEAR[2]))
            assert caught.value.stage == "asr"
            # Silence needs no decoder: an open microphone takes none away.
            assert (await transcribed(asr, frames_of(silence(1000))))[-1].text == ""
            second.cancel()
            await asyncio.sleep(0.01)
            assert asr.n_waiting == 0
            busy.close()
            assert (await transcribed(asr, heard_as(CLEAR[3])))[-1].text == CLEAR[3].words.capitalize()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", ""),
        ("<s> <sil> </s> [NOISE] ++UH++", ""),
        ("<sil> what(2) do i [NOISE] know", "What do I know"),
        ("i'm sure i'll see it's in", "I'm sure I'll see it's in"),
    ],
)
def test_words_are_written_as_a_person_would(words: str, text: str) -> None:
    assert written(words) == text


def test_audible_is_what_is_louder_than_a_silent_room() -> None:
    assert not is_audible(silence(20))
    assert not is_audible(np.zeros(0, np.int16))
    assert not is_audible(hiss(20, -66))
    assert is_audible(hiss(20, -54))


@pytest.mark.parametrize("lead_ms", [0, 300, 1000])
@pytest.mark.parametrize("level_dbfs", [-50.0, -20.0, -8.0])
@pytest.mark.parametrize("n_chunk", [1, 320, 100_000])
def test_the_loudness_is_that_of_the_speech(lead_ms: int, level_dbfs: float, n_chunk: int) -> None:
    amplitude = 32768 * math.sqrt(2) * 10 ** (level_dbfs / 20)
    tone = np.rint(amplitude * np.sin(np.arange(8000) * 2 * np.pi / 32)).clip(-32768, 32767)
    pcm = np.concatenate([hiss(lead_ms, -80), tone.astype(np.int16)])
    loudness = Loudness()
    n_needed = 0
    for at in range(0, len(pcm), n_chunk):
        n_needed = at + n_chunk
        if loudness.push(array("h", pcm[at : at + n_chunk].tolist()).tobytes()):
            break
    assert loudness.speech_dbfs() == pytest.approx(level_dbfs, abs=0.6)
    assert n_needed <= max(n_chunk, (lead_ms + 320) * 16)
