"""Callers whose audio travels beside their messages, on virtual time; and two kinds of callers in turn."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson
import pytest

from tests.support.pipe import Pipe, ServerEnd
from tests.support.virtual_loop import run_virtual
from voicestack.aio.clock import LoopClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_echo import EchoCall, buzz, calibration_lines, error_of
from voicestack.cli.bench_lanes import Lane, compare, measure_lanes
from voicestack.cli.bench_v2v import Outcome, Plan, Turn, measure
from voicestack.cli.conversation import Conversation, decode_audio
from voicestack.cli.dialing import Link, MediaLink
from voicestack.cli.rtc_caller import calls_url
from voicestack.cli.speaker import CALL_RATE_HZ, Speaker, Timeline, append_message
from voicestack.core.audio import Pcm

MS = CALL_RATE_HZ // 1000
SECOND_NS = 1_000_000_000


class MediaPipe(Pipe):
    """The same with a way of its own for audio, which comes before the event that names it."""

    def __init__(self) -> None:
        super().__init__()
        self._speaker: Speaker | None = None
        self._item: Callable[[], str] = str

    def speak(self, pcm: Pcm) -> None:
        self.to_server.put(append_message(pcm))

    def attach(self, speaker: Speaker, item: Callable[[], str]) -> None:
        self._speaker, self._item = speaker, item

    async def recv(self) -> str | bytes:
        while True:
            message = await super().recv()
            event = orjson.loads(message)
            if event["type"] != "response.output_audio.delta":
                return message
            assert self._speaker is not None
            self._speaker.push(self._item(), decode_audio(event["delta"]), LoopClock().now_ns())


def dial_of(make: type[Pipe], delay_ms: float, servers: Scope) -> Callable[[str], Awaitable[Link]]:
    async def dial(_url: str) -> Link:
        pipe = make()

        async def serve() -> None:
            await EchoCall(ServerEnd(pipe), LoopClock(), delay_ms).run()

        servers.start(serve(), name="server")
        return pipe

    return dial


def test_a_media_link_is_told_from_others_by_what_it_can_do() -> None:
    assert isinstance(MediaPipe(), MediaLink)
    assert not isinstance(Pipe(), MediaLink)


def test_the_harness_is_exact_over_a_media_link_too() -> None:
    lines = calibration_lines(4, seed=3)

    async def run() -> Outcome:
        outcome = Outcome()
        async with Scope() as servers:
            dial = dial_of(MediaPipe, 300, servers)
            await measure(Plan("", n_turns=4), lines, LoopClock(), outcome=outcome, dial=dial)
        return outcome

    found = error_of(run_virtual(run()).turns, lines, 300)
    assert found.n_missing == 0
    assert found.error_ms is not None
    assert found.codec_ms is None
    assert abs(found.error_ms.p50) < 0.1  # two samples
    assert abs(found.error_ms.max) < 0.1


def test_what_the_codec_is_known_to_cost_is_not_the_harnesss_error() -> None:
    lines = calibration_lines(2, seed=3)
    turns = [Turn(0, line.file, None, wait_ms=350.0) for line in lines]
    plain, coded = error_of(turns, lines, 300), error_of(turns, lines, 300, codec=lambda _line: 26.5)
    assert plain.error_ms is not None
    assert coded.error_ms is not None
    assert coded.error_ms.p50 == pytest.approx(plain.error_ms.p50 - 26.5)
    assert coded.codec_ms is not None


def test_two_lanes_are_asked_the_same_in_turn_and_compared() -> None:
    lines, finished = calibration_lines(5, seed=2), []

    def lane(make: type[Pipe], delay_ms: float, servers: Scope) -> Lane:
        outcome = Outcome(on_turn=lambda turn: finished.append((make.__name__, turn.file)))
        return Lane(dial_of(make, delay_ms, servers), outcome)

    async def run() -> list[Lane]:
        async with Scope() as servers:
            lanes = [lane(Pipe, 200, servers), lane(MediaPipe, 260, servers)]
            await measure_lanes(Plan("", n_turns=5), lines, LoopClock(), lanes)
        return lanes

    lanes = run_virtual(run())
    added = compare(lanes[0].outcome, lanes[1].outcome)
    assert added.n_pairs == 5
    assert added.p50_ms == pytest.approx(60, abs=0.1)
    assert added.pairs_ms is not None
    assert added.pairs_ms.max == pytest.approx(60, abs=0.1)
    assert [name for name, _ in finished] == ["Pipe", "MediaPipe"] * 5
    assert [file for _, file in finished[::2]] == [file for _, file in finished[1::2]]


# --- a server that plays by itself ------------------------------------------------------------------------


class Call:
    """A conversation with such a server, event by event."""

    def __init__(self) -> None:
        self.speaker = Speaker(Timeline(0))
        self.conversation = Conversation(self.speaker, server_plays=True)

    def event(self, kind: str, at_ms: int, **fields: Any) -> list[dict[str, Any]]:
        return self.conversation.receive({"type": kind, **fields}, at_ms * 1_000_000)

    def audio(self, at_ms: int, ms: int = 20) -> None:
        self.speaker.push(self.conversation.item_playing(), buzz(ms * MS), at_ms * 1_000_000)

    def answer(self, name: str, at_ms: int) -> None:
        self.event("response.created", at_ms, response={"id": f"resp_{name}"})
        self.event("response.output_item.added", at_ms, response_id=f"resp_{name}", item={"id": name})
        self.event("output_audio_buffer.started", at_ms, response_id=f"resp_{name}")

    def heard_ms(self, name: str) -> int:
        return int(np.count_nonzero(self.speaker.render(item_id=name))) // MS


def test_who_is_interrupted_falls_silent_by_himself() -> None:
    call = Call()
    call.answer("a", 1000)
    call.audio(1010, ms=200)
    assert call.event("input_audio_buffer.speech_started", 1100) == []
    assert call.speaker.end_sample == 1210 * MS
    call.event("output_audio_buffer.cleared", 1110, response_id="resp_a")
    assert call.conversation.replies[0].cut_ms == 100


def test_audio_that_comes_before_its_name_belongs_to_the_next_answer() -> None:
    call = Call()
    call.audio(995)
    call.answer("a", 1000)
    call.audio(1015)
    call.event("output_audio_buffer.stopped", 1040, response_id="resp_a")
    call.audio(5000)
    call.answer("b", 5003)
    call.audio(5020)
    assert (call.heard_ms("a"), call.heard_ms("b")) == (40, 40)
    assert call.speaker.n_gaps == 0


def test_an_answer_is_over_when_the_server_has_played_it_and_it_was_heard() -> None:
    call = Call()
    call.answer("a", 1000)
    call.audio(1010)
    call.event("response.done", 1020, response={"id": "resp_a", "status": "completed"})
    assert not call.conversation.is_settled(2 * SECOND_NS)
    call.event("output_audio_buffer.stopped", 2000, response_id="resp_a")
    call.audio(2005)
    assert not call.conversation.is_settled(2_100_000_000)
    assert call.conversation.is_settled(2_226_000_000)


@pytest.mark.parametrize("url", ["ws://host:8080", "http://host:8080/", "host:8080"])
def test_calls_begin_at_the_same_server(url: str) -> None:
    assert calls_url(url) == "http://host:8080/v1/realtime/calls?model=voicestack&voicestack_events=1"
    assert calls_url("wss://host").startswith("https://host/v1/")
