"""What stands before the configured language model so that an answer comes in time: openers and a memory."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from voicestack.aio.clock import Clock
from voicestack.config.schema import Config
from voicestack.core.history import Message
from voicestack.engines.chat_body import LlmSettings
from voicestack.engines.llama_server import LlamaOptions, LlamaServer
from voicestack.engines.model_store import find_model, models_folder
from voicestack.engines.openai_llm import OpenAiLlm
from voicestack.engines.phrase_cache import PhraseCache
from voicestack.fleet.answers import AnswersLlm, Policy
from voicestack.fleet.opened_reply import Small
from voicestack.fleet.opener import OpenerLlm
from voicestack.fleet.questions import phrases_of
from voicestack.fleet.rehearsal import Rehearsal
from voicestack.fleet.remembered import Rules
from voicestack.ports import Llm, Measured, Tts
from voicestack.server.supervised import Supervised

QUESTION = "What can you do for me?"
"""What is rehearsed with."""
KNOWN_BYTES = 64 * 1024 * 1024
"""For the sound of known answers: twenty minutes of speech."""


FIRST_S = 3.0
"""The voice needs a moment to start ..."""
AGAIN_S = 30.0
"""... and what could not be made is tried again then."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """The language model with what stands before it, and what must run for that."""

    llm: Llm
    supervised: tuple[Supervised, ...] = ()
    measured: Mapping[str, Measured] = field(default_factory=dict)
    small: OpenAiLlm | None = None


def rungs_of(config: Config, llm: Llm, clock: Clock, *, small: Llm | None = None) -> Rungs:
    """Put before `llm` what is configured.

    Args:
        config: The configuration.
        llm: Who answers.
        clock: For all of it.
        small: A smaller LLM that is there already: the small replicas of the fleet.

    Raises:
        ConfigError: a model or a program is missing.
    """
    own, runs = _small_of(config, clock)
    measured: dict[str, Measured] = {} if own is None else {"opener_llm": own}
    if (opens := own or small) is not None:
        opener = Small(opens, "opener", config.fleet.region, config.opener.avoid)
        llm = measured["opener"] = OpenerLlm(llm, opener, clock=clock)
        asked = (Message("system", config.session.instructions), Message("user", QUESTION))
        rehearsal = Rehearsal(opener, asked, clock=clock, every_s=config.opener.rehearse_s)
        runs = (*runs, Supervised("opener-rehearsal", rehearsal.run, lambda: (rehearsal,)))
    if config.answers.mode != "off":
        answers = AnswersLlm(llm, _policy(config), clock=clock, region=config.fleet.region)
        llm = measured["answers"] = answers
        runs = (*runs, Supervised("answer-audits", answers.run, lambda: (answers,)))
    return Rungs(llm, runs, measured, own)


def voiced(config: Config, tts: Tts) -> tuple[Tts, tuple[Supervised, ...]]:
    """The voice with the operator's answers in memory, phrase by phrase; itself where there are none."""
    known = config.answers.known.values() if config.answers.mode != "off" else ()
    phrases = [phrase for answer in known for phrase in phrases_of(answer)]
    if not phrases:
        return tts, ()
    cache = PhraseCache(tts, max_bytes=KNOWN_BYTES, fixed=phrases, voice=config.session.voice)
    warming = _Warming(cache)
    return cache, (Supervised("known-answers", warming.run, lambda: (warming,)),)


class _Warming:
    """Makes fixed phrases once the voice can."""

    def __init__(self, cache: PhraseCache) -> None:
        self._cache = cache
        self.is_ready, self.n_restarts = True, 0

    async def run(self) -> None:
        """Until cancelled. What is there already is not made again."""
        await asyncio.sleep(FIRST_S)
        while True:
            await self._cache.warm()
            await asyncio.sleep(AGAIN_S)


def _policy(config: Config) -> Policy:
    section = config.answers
    return Policy(
        section.mode,
        section.known,
        config.session.instructions,
        Rules(section.ttl_s * 1_000_000_000, section.max_answers, section.wrong_ratio_max),
        section.audit_ratio,
    )


def _small_of(config: Config, clock: Clock) -> tuple[OpenAiLlm | None, tuple[Supervised, ...]]:
    section = config.opener
    settings = LlmSettings(
        temperature=config.llm.temperature,
        top_p=config.llm.top_p,
        stop=config.llm.stop,
        first_token_ms=config.llm.first_token_ms,
        token_gap_ms=config.llm.token_gap_ms,
        slots=section.slots if section.engine == "llama_server" else None,
        dialect="auto",
    )
    if section.engine == "openai":
        key = section.api_key.get_secret_value() or None
        return OpenAiLlm(section.url, section.model, clock=clock, settings=settings, api_key=key), ()
    if section.engine == "off":
        return None, ()
    server = LlamaServer(
        clock=clock,
        binary=config.llm.binary,
        model=section.model and str(find_model(section.model, models_folder(config.models.folder))),
        options=LlamaOptions(section.slots, section.context_tokens, section.threads),
    )
    llm = OpenAiLlm(server.url, "opener", clock=clock, settings=settings, child=server.child)
    return llm, (Supervised("opener", server.run, lambda: (server.child,)),)
