"""The gate's quality figures, with scripted engines on a virtual loop: exact, and worse when an engine is."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.cli.gate_figures import PerItem, Times
from voicestack.cli.gate_quality import (
    Measured,
    measure_answers,
    measure_asr,
    measure_tools,
    measure_tts,
    write,
)
from voicestack.cli.gate_set import DEFAULT_SET, LabelledSet, read_set
from voicestack.cli.gate_verdict import Run, Terms, Verdict, compare
from voicestack.core.audio import AudioFrame, SpokenFrame
from voicestack.core.errors import ConfigError, StageUnavailable
from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.history import Message
from voicestack.core.tools import ToolCall
from voicestack.engines.scripted import ScriptedAsr, ScriptedLlm, ScriptedTts
from voicestack.ports import Pause, SpeechRequest, Transcript

SET = read_set(DEFAULT_SET)
SMALL = replace(
    SET.quick(),
    recordings=SET.recordings[:6],
    dialogues=(*SET.dialogues[:6], *(replace(one, key=f"{one.key} again") for one in SET.dialogues[:6])),
    sentences=dict(list(SET.sentences.items())[:10]),
)
INSTRUCTIONS = Message("system", "Be brief.")
TERMS = Terms(SET.limits, frozenset({"asr", "llm", "tools", "tts"}))
RIGHT = {
    "capital of france": "It is Paris.",
    "days are in a week": "There are seven.",
    "colour is the sky": "It is blue.",
    "romeo and juliet": "That was Shakespeare.",
    "largest planet": "That is Jupiter.",
    "bees make": "They make honey.",
}


def silent(_line: str) -> None: ...


def answer(messages: Sequence[Message]) -> str:
    said = messages[-1].text.lower()
    return next((text for asked, text in RIGHT.items() if asked in said), "I do not know.")


def rightly_called(messages: Sequence[Message]) -> str | ToolCall:
    assert SMALL.questions is not None
    spoken = next(one for one in SMALL.questions.spoken if one.text == messages[-1].text)
    if spoken.arguments is None:
        return "That is nice."
    arguments = {key: values[0] for key, values in spoken.arguments.items()}
    return ToolCall("call_1", spoken.tool, re.sub("'", '"', str(arguments)))


class DeafAsr:
    """Fails on everything."""

    async def transcribe(
        self, sounds: AsyncIterator[AudioFrame | Pause], hints: Hints = NO_HINTS
    ) -> AsyncGenerator[Transcript, None]:
        raise StageUnavailable("no decoder", stage="asr")
        yield  # an async generator


class MuteTts(ScriptedTts):
    """Fails on every sentence."""

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[SpokenFrame, None]:
        raise StageUnavailable("no voice", stage="tts")
        yield  # an async generator


def asr_run(asr: ScriptedAsr | DeafAsr) -> Measured:
    found = Measured()
    run_virtual(measure_asr(asr, LoopClock(), SMALL, found, silent))
    return found


def answers_run(llm: ScriptedLlm) -> Measured:
    found = Measured()
    run_virtual(measure_answers(llm, LoopClock(), INSTRUCTIONS, SMALL, found, silent))
    return found


def tools_run(answers: Callable[[tuple[Message, ...]], str | ToolCall]) -> Measured:
    found = Measured()
    assert SMALL.questions is not None
    llm = ScriptedLlm(answers)
    run_virtual(measure_tools(llm, LoopClock(), INSTRUCTIONS, SMALL.questions, found, silent))
    return found


def tts_run(tts: ScriptedTts, ear: ScriptedAsr) -> Measured:
    found = Measured()
    run_virtual(measure_tts(tts, ear, LoopClock(), SMALL, found, silent))
    return found


def failing(before: Measured, now: Measured) -> list[str]:
    findings = compare(Run(before.figures, before.texts), Run(now.figures, now.texts), TERMS)
    return [one.name for one in findings if one.fails]


def per_item(found: Measured, name: str) -> tuple[int, int]:
    figure = found.figures[name]
    assert isinstance(figure, PerItem)
    return figure.n_wrong, figure.n_of


def test_words_are_counted_per_recording() -> None:
    words = [recording.words for recording in SMALL.recordings]
    good = asr_run(ScriptedAsr(words))
    assert per_item(good, "asr.word_errors") == (0, sum(len(one.split()) for one in words))
    assert list(good.heard.values()) == words
    bad = asr_run(ScriptedAsr([f"{one.split()[0]} whatever {one.split()[-1]}" for one in words]))
    assert failing(good, bad) == ["asr.word_errors"]
    assert failing(bad, good) == failing(good, good) == []


def test_a_recogniser_that_fails_has_everything_wrong_and_says_why() -> None:
    found = asr_run(DeafAsr())
    n_wrong, n_of = per_item(found, "asr.word_errors")
    assert n_wrong == n_of > 0
    assert set(found.errors.values()) == {"stage_unavailable"}


def test_answers_are_looked_through() -> None:
    good = answers_run(ScriptedLlm(answer, first_token_ms=100, token_ms=10))
    assert per_item(good, "llm.wrong_answers") == (0, 12)
    assert "It is Paris." in good.texts.values()
    dull = answers_run(ScriptedLlm(["I forgot it."], first_token_ms=100, token_ms=10))
    assert failing(good, dull) == ["llm.wrong_answers"]
    broken = answers_run(ScriptedLlm(answer, fail_after_tokens=1))
    assert per_item(broken, "llm.wrong_answers") == (12, 12)
    assert set(broken.errors.values()) == {"stage_unavailable"}


def test_a_slower_model_fails() -> None:
    quick = answers_run(ScriptedLlm(answer, first_token_ms=100, token_ms=10))
    times = quick.figures["llm.first_text_ms"]
    assert isinstance(times, Times)
    assert times.values == pytest.approx([100.0] * 12)
    slow = answers_run(ScriptedLlm(answer, first_token_ms=130, token_ms=10))
    assert failing(quick, slow) == ["llm.first_text_ms.p50", "llm.first_clause_ms.p50"]
    slow_words = answers_run(ScriptedLlm(answer, first_token_ms=100, token_ms=30))
    assert failing(quick, slow_words) == ["llm.first_clause_ms.p50", "llm.word_ms.p50"]


def test_the_first_clause_is_what_could_be_spoken_first() -> None:
    llm = ScriptedLlm(["Well, of course: the answer is yes."], first_token_ms=100, token_ms=10)
    written = run_virtual(write(llm, LoopClock(), "s", [Message("user", "?")]))
    assert written.text == "Well, of course: the answer is yes."
    assert written.first_ms == pytest.approx(100)
    assert written.clause_ms is not None
    assert 100 < written.clause_ms < 160
    assert written.word_ms == pytest.approx(10)
    assert run_virtual(write(ScriptedLlm(["Yes."]), LoopClock(), "s", [Message("user", "?")])).word_ms is None


def test_calls_are_judged() -> None:
    good = tools_run(rightly_called)
    for way in ("one", "all"):
        assert per_item(good, f"tools.{way}.wrong_call")[0] == 0
        assert per_item(good, f"tools.{way}.false_calls")[0] == 0
        assert per_item(good, f"tools.{way}.invalid")[0] == 0
    lazy = tools_run(lambda _messages: "I am not sure.")
    assert failing(good, lazy) == [
        *("tools.one.wrong_function", "tools.one.wrong_call"),
        *("tools.all.wrong_function", "tools.all.wrong_call"),
    ]
    eager = tools_run(lambda _messages: ToolCall("call_1", "get_weather", "{}"))
    found = compare(Run(), Run(eager.figures), TERMS)
    assert [one.name for one in found if one.verdict is Verdict.TOO_BAD] == ["tools.one.false_calls"]
    assert per_item(eager, "tools.one.invalid")[0] == per_item(eager, "tools.one.invalid")[1]


def test_the_voice_is_what_a_recogniser_understands() -> None:
    sentences = list(SMALL.sentences.values())
    good = tts_run(ScriptedTts(first_audio_ms=20), ScriptedAsr(sentences))
    assert per_item(good, "tts.word_errors")[0] == 0
    mumbled = tts_run(ScriptedTts(first_audio_ms=90), ScriptedAsr(["what"]))
    assert failing(good, mumbled) == ["tts.word_errors", "tts.first_audio_ms.p50"]
    mute = tts_run(MuteTts(), ScriptedAsr(sentences))
    assert per_item(mute, "tts.word_errors")[0] == per_item(mute, "tts.word_errors")[1]
    assert set(mute.errors.values()) == {"stage_unavailable"}


# --- the labelled set -------------------------------------------------------------------------------------


def test_the_set_that_ships() -> None:
    assert (len(SET.recordings), len(SET.dialogues), len(SET.sentences)) == (25, 20, 12)
    assert SET.questions is not None
    assert set(SET.limits) == {"tools.one.false_calls"}
    keys = [*(one.key for one in SET.recordings), *(one.key for one in SET.dialogues)]
    assert len(set(keys)) == len(keys)
    assert SET.dialogues[-1].messages[-2].role == "agent"
    assert SET.dialogues[0].is_right("It's PARIS!")
    assert not SET.dialogues[0].is_right("London")
    n_bytes = sum(path.stat().st_size for path in DEFAULT_SET.rglob("*") if path.is_file())
    assert n_bytes < 2_000_000


def test_a_quick_run_has_a_part_of_everything() -> None:
    part: LabelledSet = SET.quick()
    assert (part.recordings, part.dialogues) == (SET.recordings, SET.dialogues)
    assert part.questions is not None
    asked = [spoken.arguments is not None for spoken in part.questions.spoken]
    assert (sum(asked), len(asked)) == (10, 20)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "No such file"),
        ("schema = 1\nname =", "set.toml: Invalid value"),
        ('name = "x"', "schema: Field required"),
        ('schema = 2\nname = "x"', "schema: Input should be 1"),
        ('schema = 1\nname = "x"\nsentence = []', "sentence: Extra inputs"),
        ('schema = 1\nname = "x"\n[[dialogues]]\nlines = []', "dialogues.0.lines"),
        ('schema = 1\nname = "x"\n[[dialogues]]\nlines = ["a"]\nexpect = ["("]', "not a regular expression"),
        ('schema = 1\nname = "x"\n[[recordings]]\nfile = "no.wav"\nwords = "a"', "no.wav"),
        ('schema = 1\nname = "x"\n[tools]\nfile = "no.json"', "no.json"),
    ],
)
def test_a_set_that_cannot_be_used(tmp_path: Path, manifest: str | None, message: str) -> None:
    if manifest is not None:
        (tmp_path / "set.toml").write_text(manifest)
    with pytest.raises(ConfigError) as failed:
        read_set(tmp_path)
    assert str(tmp_path) in str(failed.value)
    assert message in str(failed.value)


def test_another_question_is_another_item(tmp_path: Path) -> None:
    def key(extra: str) -> str:
        (tmp_path / "set.toml").write_text(
            f'schema = 1\nname = "x"\n[[dialogues]]\nlines = ["what is it"]\n{extra}'
        )
        return read_set(tmp_path).dialogues[0].key

    assert key("") == key("")
    assert key("") != key('expect = ["a"]') != key('reject = ["a"]')
    assert key("").startswith("what is it #")
