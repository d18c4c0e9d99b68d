"""Which replicas does a configuration name, and how do they join this server's own engines?"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from voicestack.aio.clock import Clock
from voicestack.config.fleet import LOCAL, AsrReplicaSection, LlmReplicaSection, ReplicaSection
from voicestack.config.schema import Config
from voicestack.core.errors import Stage
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.openai_asr import ListeningServer, OpenAiAsr
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.openai_tts import OpenAiTts, SpeechServer
from voicestack.engines.replica_ping import ReplicaPing
from voicestack.fleet.asr_pool import AsrPool, probe_asr
from voicestack.fleet.breaker import BreakerPolicy
from voicestack.fleet.choose import ChoosePolicy
from voicestack.fleet.figures import Pace
from voicestack.fleet.guests import Guests
from voicestack.fleet.keeper import Keeper, Kept, Ping
from voicestack.fleet.llm_pool import Hedging, LlmPool, probe_llm
from voicestack.fleet.member import About, Health, Member
from voicestack.fleet.replica import ReplicaView, State
from voicestack.fleet.roster import Roster
from voicestack.fleet.tts_pool import TtsPool, probe_tts
from voicestack.ports import Asr, Forecaster, Llm, Tts
from voicestack.server.supervised import Supervised

E = TypeVar("E")

MANY = 64
"""Requests that an engine computes at the same time of which that is not known."""


@dataclass(frozen=True, slots=True)
class Own:
    """This server's own engines, and what runs for each of them."""

    asr: Asr
    llm: Llm
    tts: Tts
    asr_runs: tuple[Supervised, ...] = ()
    llm_runs: tuple[Supervised, ...] = ()
    tts_runs: tuple[Supervised, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """All replicas of this server.

    Attributes:
        asr: The recognisers,
        llm: the language models,
        tts: and the voices, as one of each.
        small_llm: The small language models, which begin answers; None without any.
        spill: This server's own language model, for other servers.
        keeper: Looks after the replicas.
        closes: Connections to them.
    """

    asr: AsrPool
    llm: LlmPool
    tts: TtsPool
    small_llm: LlmPool | None
    spill: Guests
    keeper: Keeper
    closes: tuple[Callable[[], Awaitable[None]], ...]

    @property
    def supervised(self) -> tuple[Supervised, ...]:
        """What must run for them."""
        return (Supervised("fleet", self.keeper.run, lambda: (self.keeper,)),)

    def replicas(self) -> list[ReplicaView]:
        """Every replica of every stage, as operators see it. Cheap."""
        return [view for pool in self.pools().values() for view in pool.replicas()]

    def pools(self) -> dict[str, AsrPool | LlmPool | TtsPool]:
        """Every pool, by a name for figures."""
        pools: dict[str, AsrPool | LlmPool | TtsPool] = {
            "asr_pool": self.asr,
            "llm_pool": self.llm,
            "tts_pool": self.tts,
        }
        return pools if self.small_llm is None else pools | {"llm_small_pool": self.small_llm}

    def tell_times(self, forecaster: Forecaster) -> None:
        """Tell the forecaster how long each language model takes."""
        for pool in (self.llm, self.small_llm):
            for name, member in pool.roster.members.items() if pool is not None else ():
                member.on_time.append(partial(_observe, forecaster, name))

    async def close(self) -> None:
        """Close all connections to other servers."""
        for close in self.closes:
            await close()


def fleet_of(config: Config, own: Own, clock: Clock) -> Fleet:
    """The pools, and what looks after them. Nothing is started yet."""
    making = _Making(config, clock)
    llm_local = making.local(own.llm, "llm", own.llm_runs)
    asr = [making.local(own.asr, "asr", own.asr_runs), *making.asr_members()]
    tts = [making.local(own.tts, "tts", own.tts_runs), *making.tts_members()]
    big, small = making.llm_members()
    llms = [llm_local, *big]
    kept = [*making.kept(asr, probe_asr), *making.kept(tts, probe_tts)]
    kept += making.kept([*llms, *small], probe_llm, measure_s=config.fleet.measure_s)
    fleet = config.fleet
    return Fleet(
        AsrPool(making.roster(asr, stay_ms=fleet.asr_patience_ms), patience_ms=fleet.asr_patience_ms),
        making.llm_pool(llms),
        TtsPool(making.roster(tts, stay_ms=fleet.tts_patience_ms), patience_ms=fleet.tts_patience_ms),
        making.llm_pool(small) if small else None,
        Guests(making.roster([llm_local])),
        Keeper(kept, fleet.probe_s),
        tuple(making.closes),
    )


class _Making:
    """Makes the members of a fleet."""

    def __init__(self, config: Config, clock: Clock) -> None:
        fleet = config.fleet
        self._config, self._clock = config, clock
        self._policy = ChoosePolicy(fleet.region, fleet.cold_ms, fleet.margin_ms, fleet.stay_ms)
        if not config.ladder.enforce or "shed" not in config.ladder.rungs:
            self._policy = replace(self._policy, may_shed=False)
        self._breaker = BreakerPolicy(
            failures=fleet.breaker_failures,
            failure_ratio=fleet.breaker_failure_ratio,
            slow_ratio=fleet.breaker_slow_ratio,
            slow_ms=fleet.breaker_slow_ms or config.budget.turn_ms,
            open_ms=fleet.breaker_open_ms,
        )
        self._pings: dict[int, Callable[[], Awaitable[Ping]]] = {}
        self.closes: list[Callable[[], Awaitable[None]]] = []

    def roster(self, members: Sequence[Member[E]], *, stay_ms: float | None = None) -> Roster[E]:
        """They, as a choice. `stay_ms`: what must be gained by not asking the usual one."""
        policy = self._policy if stay_ms is None else replace(self._policy, stay_ms=stay_ms)
        return Roster(members, clock=self._clock, policy=policy, sticky_s=self._config.fleet.sticky_s)

    def llm_pool(self, members: Sequence[Member[Llm]]) -> LlmPool:
        """They, as one."""
        fleet = self._config.fleet
        may_hedge = self._config.ladder.enforce and "hedge" in self._config.ladder.rungs
        ratio = fleet.hedge_ratio if may_hedge else 0.0
        hedging = Hedging(ratio, fleet.hedge_busy_ratio, fleet.hedge_away)
        return LlmPool(self.roster(members), clock=self._clock, hedging=hedging)

    def kept(
        self, members: Sequence[Member[E]], probe: Callable[[E], Awaitable[None]], *, measure_s: float = 0.0
    ) -> list[Kept[Any]]:
        """They, as the keeper wants them. One alone is not tried: it is asked whatever its breaker says."""
        if len(members) == 1:
            return []
        return [Kept(member, probe, self._pings.get(id(member)), measure_s) for member in members]

    def local(self, engine: E, stage: Stage, runs: tuple[Supervised, ...]) -> Member[E]:
        """This server's own engine."""
        config = self._config
        places = {"llama_server": config.llm.slots, "vllm": config.vllm.max_requests}
        n_places = places.get(config.llm.engine, MANY) if stage == "llm" else MANY
        cap = config.fleet.max_requests or None
        about = About(LOCAL, config.fleet.region, stage, "local", n_places, cap if stage == "llm" else None)
        drafts = config.llm.engine == "vllm" and config.vllm.speculation != "off"
        about = replace(about, speculates=drafts and stage == "llm")
        return self._member(engine, about, partial(_state_of, engine, runs))

    def llm_members(self) -> tuple[list[Member[Llm]], list[Member[Llm]]]:
        """The language models elsewhere: those that answer, and the small ones."""
        big: list[Member[Llm]] = []
        small: list[Member[Llm]] = []
        for name, section in self._config.fleet.llm.items():
            llm = self._llm(section)
            self.closes.append(llm.close)
            engine: Llm = llm
            (small if section.small else big).append(self._remote(engine, name, section, "llm"))
        return big, small

    def asr_members(self) -> list[Member[Asr]]:
        """The recognisers elsewhere."""
        members = []
        for name, section in self._config.fleet.asr.items():
            asr = self._asr(section)
            self.closes.append(asr.close)
            engine: Asr = asr
            members.append(self._remote(engine, name, section, "asr"))
        return members

    def tts_members(self) -> list[Member[Tts]]:
        """The voices elsewhere."""
        members = []
        for name, section in self._config.fleet.tts.items():
            server = SpeechServer(section.model, section.voice, section.voices, section.rate_hz)
            tts = OpenAiTts(section.url, server, api_key=_key(section))
            self.closes.append(tts.close)
            engine: Tts = tts
            members.append(self._remote(engine, name, section, "tts"))
        return members

    def _llm(self, section: LlmReplicaSection) -> OpenAiLlm:
        llm = self._config.llm
        settings = LlmSettings(
            temperature=llm.temperature,
            top_p=llm.top_p,
            max_tokens=llm.max_tokens,
            first_token_ms=llm.first_token_ms,
            token_gap_ms=llm.token_gap_ms,
            stop=llm.stop,
            dialect="auto",
            tells_session=True,
        )
        return OpenAiLlm(
            section.url, section.model, clock=self._clock, settings=settings, api_key=_key(section)
        )

    def _asr(self, section: AsrReplicaSection) -> OpenAiAsr:
        asr = self._config.asr_server
        server = ListeningServer(
            section.model, section.language, asr.partial_ms, asr.window_s, asr.deadline_ms
        )
        return OpenAiAsr(section.url, server, api_key=_key(section))

    def _remote(self, engine: E, name: str, section: ReplicaSection, stage: Stage) -> Member[E]:
        cap = section.max_requests
        drafts = isinstance(section, LlmReplicaSection) and section.speculates
        about = About(name, section.region, stage, "openai", cap, cap, section.rtt_ms, drafts)
        member = self._member(engine, about, None)
        member.health = Health(section.rtt_ms, "cold")  # until it has been asked
        ping = ReplicaPing(section.url, clock=self._clock, api_key=_key(section))
        self._pings[id(member)] = partial(_pinged, ping)
        self.closes.append(ping.close)
        return member

    def _member(self, engine: E, about: About, state: Callable[[], State] | None) -> Member[E]:
        budget = self._config.budget
        shares_ms = {"asr": budget.asr_ms, "llm": budget.llm_ms, "tts": budget.tts_ms}
        pace = Pace(first_ms=shares_ms.get(about.stage, 100))
        return Member(engine, about, self._clock, self._breaker, pace, state)


def _observe(forecaster: Forecaster, replica: str, took_ms: float, finished: bool) -> None:
    forecaster.observe("llm", replica, took_ms, finished=finished)


async def _pinged(ping: ReplicaPing) -> Ping:
    pong = await ping.ping()
    return Ping(pong.state, pong.rtt_ms, pong.is_sure)


def _state_of(engine: object, runs: tuple[Supervised, ...]) -> State:
    """How this server's own engine is."""
    if not all(part.is_ready for part in runs):
        return "down"
    is_warm = not isinstance(engine, OpenAiLlm) or engine.measures.is_warm
    return "warm" if is_warm else "cold"


def _key(section: ReplicaSection) -> str | None:
    return section.api_key.get_secret_value() or None
