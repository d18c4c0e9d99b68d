"""What do loss, jitter and bursts do to what is heard at either end of a call, with nothing else involved?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voicestack.aio.clock import SystemClock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_impair import Impairment
from voicestack.cli.bench_speech import Line
from voicestack.cli.bench_stats import percentile, summarise
from voicestack.cli.rtc_grid import SETTLED_MS, AgentHeard, Cell, UserHeard, back_after_ms, delays_of
from voicestack.cli.rtc_trial import (
    LEAD_FRAMES,
    TAIL_FRAMES,
    Record,
    Script,
    Trial,
    Weather,
    link_settings,
    script,
)
from voicestack.cli.rtc_words import errors_in
from voicestack.cli.speaker import FRAME_MS
from voicestack.core.audio import EAR_RATE_HZ

BURSTS = ("outage", "stall", "storm")
"""All is lost; all is held up and then comes at once; much is lost and the rest comes in any order."""
_BEFORE_FRAMES, _AFTER_FRAMES = 100, 150
"""Around a burst: 2 s to know the delay, 3 s to see it come back."""
_STORM_FRAMES = 100
_STORM = Impairment.of(0.3, n_burst=5, jitter_ms=120)
_NO_WAY = Impairment(p_good_to_bad=1.0, p_bad_to_good=0.0)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all networks of a run have in common.

    Attributes:
        n_calls: At a time.
        n_run: Packets lost in a row on average.
        delay_ms: Fixed, in both directions.
        keeps_order: Nothing overtakes.
        seed: Of the networks' chances.
    """

    n_calls: int = 4
    n_run: float = 2.0
    delay_ms: float = 0.0
    keeps_order: bool = False
    seed: int = 1

    def of(self, network: Cell) -> Impairment:
        """The path."""
        return network.impairment(n_burst=self.n_run, delay_ms=self.delay_ms, keeps_order=self.keeps_order)


async def _calls(scripts: Sequence[Script], weather: Weather, seed: int) -> list[Record]:
    """Hold one call for each script, all at once."""
    clock, settings = SystemClock(), link_settings()
    records: dict[int, Record] = {}

    async def hold(number: int, scope: Scope) -> None:
        trial = Trial(clock, scope, settings, seed=seed * 1000 + 2 * number)
        records[number] = await trial.run(scripts[number], weather)

    async with Scope() as scope:
        for task in [scope.start(hold(number, scope), name="trial") for number in range(len(scripts))]:
            await task
    return [records[number] for number in range(len(scripts))]


async def try_link(network: Cell, lines: Sequence[Line], given: Conditions) -> dict[str, Any]:
    """Say all lines through a network, in several calls at a time, and see what came of them.

    Raises:
        NoServer: a call does not connect.
        StageError: the recogniser cannot be used.
    """
    bad = given.of(network)

    def weather(frame: int, n_frames: int) -> Impairment:
        return bad if LEAD_FRAMES <= frame < n_frames - TAIL_FRAMES else Impairment()

    scripts = [script(lines[n :: given.n_calls]) for n in range(min(given.n_calls, len(lines)))]
    records = await _calls(scripts, weather, given.seed)
    user, agent, said = UserHeard(), AgentHeard(), []
    for one, record in zip(scripts, records, strict=True):
        _count(user, record)
        agent.add(record.arrivals, record.due_ns)
        said += [(stretch.line.words or "", record.sound_of(stretch)) for stretch in one.stretches]
    errors = await errors_in(said, SystemClock())
    return {
        **{f"user_{name}": value for name, value in user.figures().items()},
        **{f"agent_{name}": value for name, value in agent.figures().items()},
        "n_word_errors": errors.n_errors,
        "n_words": errors.n_words,
        "word_error_rate": errors.rate,
        "harness_late_ms": summarise(late for record in records for late in record.late_ms),
    }


def _count(user: UserHeard, record: Record) -> None:
    """Add one call; its good beginning and end do not count."""
    first_ns, last_ns = record.spoken_ns[LEAD_FRAMES], record.spoken_ns[-TAIL_FRAMES]
    user.delay_ms += [
        late for spoken, late in delays_of(record.delivered, record.spoken_ns) if first_ns <= spoken < last_ns
    ]
    user.held_ms += [
        (one.at_ns - one.arrived_ns) / 1e6 for one in record.delivered if first_ns <= one.arrived_ns < last_ns
    ]
    user.n_samples += (len(record.spoken_ns) - LEAD_FRAMES - TAIL_FRAMES) * EAR_RATE_HZ // 50
    user.n_recovered_samples += record.figures.n_recovered_samples
    user.n_concealed_samples += record.figures.n_concealed_samples
    user.off_ms.append(len(record.heard) * 1000 / EAR_RATE_HZ - len(record.spoken_ns) * FRAME_MS)


def burst(kind: str, n_frames: int) -> Weather:
    """A good network with one burst of `n_frames` in it, of one of the BURSTS."""
    start = LEAD_FRAMES + _BEFORE_FRAMES

    def weather(frame: int, _n_frames: int) -> Impairment:
        if not start <= frame < start + n_frames:
            return Impairment()
        if kind == "stall":
            return Impairment(delay_ms=float((start + n_frames - frame) * FRAME_MS), keeps_order=True)
        return _NO_WAY if kind == "outage" else _STORM

    return weather


async def try_burst(kind: str, burst_ms: int, lines: Sequence[Line], given: Conditions) -> dict[str, Any]:
    """Let one burst pass, and see when the delay is what it was.

    Raises:
        NoServer: a call does not connect.
    """
    n_frames = _STORM_FRAMES if kind == "storm" else burst_ms // FRAME_MS
    n_all = LEAD_FRAMES + _BEFORE_FRAMES + n_frames + _AFTER_FRAMES
    scripts = [script([line], n_frames_min=n_all) for line in lines[: given.n_calls]]
    records = await _calls(scripts, burst(kind, n_frames), given.seed)
    usual, worst, backs = [], [], []
    for record in records:
        start_ns = record.spoken_ns[LEAD_FRAMES + _BEFORE_FRAMES]
        end_ns = record.spoken_ns[LEAD_FRAMES + _BEFORE_FRAMES + n_frames]
        delays = delays_of(record.delivered, record.spoken_ns)
        usual.append(percentile([late for spoken, late in delays if spoken < start_ns], 0.95))
        worst.append(max(late for spoken, late in delays if spoken >= start_ns))
        backs.append(back_after_ms(delays, end_ns, usual[-1] + SETTLED_MS))
    return {
        "kind": kind,
        "burst_ms": n_frames * FRAME_MS,
        "usual_ms": max(usual),
        "worst_ms": max(worst),
        "back_after_ms": None if None in backs else max(back for back in backs if back is not None),
        "n_calls": len(records),
    }
