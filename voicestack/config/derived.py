"""What does the configuration mean to the turn machine and to a new session?"""

from pathlib import PurePath

from voicestack.config.schema import Config
from voicestack.config.whisper import LANGUAGES
from voicestack.core.budget import Budget
from voicestack.core.marks import STAGES
from voicestack.core.rungs import Rung
from voicestack.core.settings import ServerVad, SessionSettings
from voicestack.turn.policy import Policy


def policy_of(config: Config) -> Policy:
    """How turns are taken, until the peer changes its turn detection."""
    turn = config.turn
    return Policy(
        create_reply=turn.create_response,
        interrupt_reply=turn.interrupt_response,
        draft_replies=turn.draft_replies and "draft" in config.ladder.rungs,
        max_drafts=turn.max_drafts,
        words_deadline_ns=turn.words_deadline_ms * 1_000_000,
    )


def budget_of(config: Config) -> Budget:
    """What turns may take, and what may be done about it."""
    return Budget(
        turn_ms=config.budget.turn_ms,
        say_by_ms=config.budget.say_by_ms,
        give_up_ms=config.budget.give_up_ms,
        shares_ms={stage: getattr(config.budget, f"{stage}_ms") for stage in STAGES},
        rungs=frozenset(Rung(name) for name in config.ladder.rungs),
        enforced=config.ladder.enforce,
        hysteresis_ratio=config.ladder.hysteresis_ratio,
    )


def settings_of(config: Config) -> SessionSettings:
    """What a session is like until its peer says otherwise."""
    turn = config.turn
    return SessionSettings(
        instructions=config.session.instructions,
        voice=config.session.voice,
        turn_detection=ServerVad(
            threshold=turn.threshold,
            prefix_padding_ms=turn.prefix_padding_ms,
            silence_duration_ms=turn.silence_duration_ms,
            create_response=turn.create_response,
            interrupt_response=turn.interrupt_response,
        ),
        tool_places=config.mcp.allowed_hosts,
        takes_images=config.llm.images,
        languages=languages_of(config) if config.asr.engine == "whisper" else (),
    )


def languages_of(config: Config) -> tuple[str, ...]:
    """What the recogniser knows, as ISO 639-1; empty if that does not matter to it."""
    if config.asr.engine == "whisper":
        return ("en",) if PurePath(config.whisper.model).name.endswith(".en") else LANGUAGES
    return ("en",) if config.asr.engine == "pocketsphinx" else ()
