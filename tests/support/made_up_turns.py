"""Turns as they could have been: all verdicts, rungs, regions and releases, with one bad hour. Seeded."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from voicestack.core.marks import Mark, TurnMarks
from voicestack.core.rungs import Rung, Taken
from voicestack.core.turn_record import Origin, Outcome, TurnRecord, Use

TENANTS = ("default", "acme", "north-bank", "ringo")
ROUTES = ("websocket", "webrtc", "sip", "twilio")
REGIONS = ("eu-west", "us-east", "ap-south")
PROFILES = ("gpu", "cpu")
RELEASES = ("0.4.0", "0.4.1", "0.5.0-rc1")
SAID = (
    ("What time do you open tomorrow?", "We open at nine tomorrow."),
    ("I'd like to change my appointment.", "Of course. Which day suits you?"),
    ("Where is my parcel?", "It left the depot this morning."),
    ("Can you tell me my balance?", "Your balance is forty two euros."),
    ("No, the other one.", "The blue one, then. I have changed it."),
)
HOUR_MS = 3_600_000


@dataclass
class Turns:
    """Makes turns.

    Args:
        seed: The same one gives the same turns.
        bad_from_ms: When the bad hour begins, Unix time.
        p_cold: Share of turns that meet a cold replica; eight times as many in the bad hour.
    """

    seed: int = 6
    bad_from_ms: int = -1
    p_cold: float = 0.01
    random: np.random.Generator = field(init=False)
    n_made: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def many(self, n: int, from_ms: int, to_ms: int) -> Iterator[TurnRecord]:
        """So many, in the order of time, in conversations of six turns or so."""
        for at_ms in np.sort(self.random.integers(from_ms, to_ms, n)).tolist():
            yield self.one(at_ms)

    def one(self, began_ms: int) -> TurnRecord:
        """A turn that began then."""
        random, n = self.random, self.n_made
        self.n_made += 1
        is_bad = self.bad_from_ms <= began_ms < self.bad_from_ms + HOUR_MS and self.bad_from_ms >= 0
        call = n // 7
        of_call = np.random.default_rng([self.seed, call])
        origin = Origin(
            tenant=str(of_call.choice(TENANTS, p=[0.4, 0.3, 0.2, 0.1])),
            route=str(of_call.choice(ROUTES, p=[0.3, 0.4, 0.2, 0.1])),
            profile=str(of_call.choice(PROFILES, p=[0.9, 0.1])),
            region=str(of_call.choice(REGIONS, p=[0.5, 0.35, 0.15])),
            release=str(of_call.choice(RELEASES, p=[0.3, 0.6, 0.1])),
        )
        session = f"sess_{call:08x}{self.seed:04x}"
        base_ns = 10_000_000_000 + n * 1_000_000_000
        if random.random() < 0.03:  # a typed turn, or a call of a tool
            return TurnRecord(
                id=f"{session}.{n % 7 + 1}",
                session=session,
                turn=n % 7 + 1,
                origin=origin,
                began_unix_ms=began_ms,
                budget_ms=800.0,
                marks=TurnMarks({Mark.LLM_SENT: base_ns, Mark.LLM_FIRST_TOKEN: base_ns + 80_000_000}),
                outcome="silent",
            )
        return self._spoken(session, n, origin, began_ms, base_ns, is_bad)

    def _spoken(
        self, session: str, n: int, origin: Origin, began_ms: int, base_ns: int, is_bad: bool
    ) -> TurnRecord:
        random = self.random
        slow = {"us-east": 1.25, "ap-south": 1.6}.get(origin.region, 1.0) * (2.4 if is_bad else 1.0)
        is_cold = bool(random.random() < self.p_cold * (8 if is_bad else 1))
        drafted = bool(random.random() < 0.8)

        def ms(median: float, spread: float = 0.35) -> float:
            return float(median * np.exp(random.normal(0, spread)))

        endpoint = ms(540, 0.08)
        sent = ms(70, 0.2) if drafted else endpoint + ms(35) + ms(2)
        token = sent + ms(110 * slow, 0.45) + (ms(1_400) if is_cold else 0)
        audio = token + ms(70 * slow)
        final = endpoint + ms(30)
        first = max(audio, final) + ms(3)
        at_ms = {
            Mark.SPEECH_END: 0.0,
            Mark.ENDPOINT: endpoint,
            Mark.ASR_FINAL: final,
            Mark.LLM_SENT: sent,
            Mark.LLM_FIRST_TOKEN: token,
            Mark.TTS_FIRST_AUDIO: audio,
            Mark.FIRST_SENT: first,
        }
        taken = (
            [Taken(Rung.DRAFT, "soft_end", round(base_ns + sent * 1e6), 800 - sent, sent + 300)]
            if drafted
            else []
        )
        outcome: Outcome = "answered"
        failure = ""
        if first > 700:
            rung = [
                Rung.SHORT_CLAUSE,
                Rung.SPECULATION,
                Rung.HEDGE,
                Rung.SMALL_OPENER,
                Rung.CACHED,
                Rung.SHED,
            ][int(random.integers(6))]
            decided = ms(610, 0.05)
            taken.append(Taken(rung, "forecast", round(base_ns + decided * 1e6), 800 - decided, ms(180)))
        if first > 1_100 and random.random() < 0.85:
            at_ms[Mark.FILLER_SENT] = min(ms(1_050, 0.1), first - 5)
            filler_at = at_ms[Mark.FILLER_SENT] - 40
            taken.append(
                Taken(Rung.FILLER, "silence", round(base_ns + filler_at * 1e6), 800 - filler_at, None)
            )
        if is_bad and random.random() < 0.06:
            failure, outcome = "stage_unavailable", "refused" if random.random() < 0.7 else "failed"
            for mark in (Mark.LLM_FIRST_TOKEN, Mark.TTS_FIRST_AUDIO, Mark.FIRST_SENT):
                at_ms.pop(mark)
            if outcome == "refused":
                at_ms[Mark.FILLER_SENT] = 1_300.0
                taken.append(Taken(Rung.REFUSAL, "unavailable", round(base_ns + 1.25e9), -450.0, 50.0))
        said = SAID[int(random.integers(len(SAID)))]
        lasts = ms(2_400, 0.4)
        spoken_at = at_ms.get(Mark.FIRST_SENT)
        interrupted = spoken_at is not None and bool(random.random() < 0.09)
        if spoken_at is not None:
            at_ms[Mark.FLUSHED] = spoken_at + (lasts * float(random.random()) if interrupted else lasts)
            if origin.route in ("webrtc", "websocket") and random.random() < 0.8:
                at_ms[Mark.FIRST_HEARD] = spoken_at + ms(95, 0.3)
            outcome = "interrupted" if interrupted else outcome
        written = int(random.integers(8, 40))
        wasted = int(random.integers(4, 20)) if drafted and random.random() < 0.35 else 0
        uses = [
            Use("asr", f"asr-{origin.region}", origin.region, first_ms=ms(35)),
            Use(
                "llm",
                f"llm-{int(random.integers(2)) + 1}-{origin.region}",
                origin.region,
                not is_cold,
                None if failure else token - sent,
            ),
        ]
        if any(one.rung is Rung.HEDGE for one in taken):
            uses.append(
                Use("llm", f"llm-3-{origin.region}", origin.region, True, token - sent + 40, won=False)
            )
        if spoken_at is not None:
            uses.append(Use("tts", f"tts-{origin.region}", origin.region, first_ms=audio - token))
        return TurnRecord(
            id=f"{session}.{n % 7 + 1}",
            session=session,
            turn=n % 7 + 1,
            origin=origin,
            began_unix_ms=began_ms,
            budget_ms=800.0,
            marks=TurnMarks(
                {mark: base_ns + round(ms_ * 1e6) for mark, ms_ in at_ms.items()}, drafted, interrupted
            ),
            outcome=outcome,
            taken=tuple(taken),
            uses=tuple(uses),
            n_drafts=int(drafted) + (wasted > 0),
            drafted_tokens=wasted + (written if drafted else 0),
            wasted_tokens=wasted,
            read_tokens=int(random.integers(80, 900)),
            written_tokens=written,
            failure=failure,
            user_text=said[0],
            agent_text="" if failure else said[1][: 12 if interrupted else None],
        )
