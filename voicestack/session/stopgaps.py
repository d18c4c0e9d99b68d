"""What is said when there is no answer, or not yet? Prepared sentences, each true whatever was asked."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from voicestack.aio.scope import Scope
from voicestack.core.errors import Stage, StageError, StageOverloaded, StageTimeout
from voicestack.core.marks import Mark
from voicestack.core.rungs import Rung
from voicestack.core.settings import SessionSettings
from voicestack.ports import SpeechRequest
from voicestack.session.ledger import Ledger
from voicestack.session.mouth import LiveReply, Mouth
from voicestack.session.tuning import Engines, Tuning


class GivenUp(StageTimeout):
    """The turn's time is up. To begin the reply once more would take time that is not there."""

    retryable = False


class Stopgaps:
    """The agent's way out of a silence. Satisfies `pace.Paced`.

    Args:
        mouth: Says them.
        ledger: Knows how far a reply is.
        engines: What they are made with.
        tuning: The sentences.
        scope: Owns the task that prepares them.
        fail: Is told that a reply has come to nothing.

    Attributes:
        unheard: Why the user's newest words were lost.
    """

    def __init__(
        self,
        mouth: Mouth,
        ledger: Ledger,
        engines: Engines,
        tuning: Tuning,
        scope: Scope,
        fail: Callable[[LiveReply, StageError], None],
    ) -> None:
        self._mouth, self._ledger, self._engines, self._tuning = mouth, ledger, engines, tuning
        self._scope, self._fail = scope, fail
        self._voice: SpeechRequest | None = None
        self.unheard: StageError | None = None

    def prepare(self, settings: SessionSettings) -> None:
        """Have the sentences ready in the session's voice."""
        voice = SpeechRequest("", settings.voice, settings.speed)
        if self._tuning.budget.enforced and settings.modality == "audio" and voice != self._voice:
            self._voice = voice
            work = self._engines.prompts.prepare(self._engines.tts, self._sentences(), voice)
            self._scope.start(work, name="prompts")

    def on_late(self, live: LiveReply, reason: str) -> bool:
        """Say something before the answer. Returns whether there was something to say."""
        fillers = self._tuning.fillers
        text = fillers[min(live.n_filled, len(fillers) - 1)]
        if not live.n_filled and self._is_about_tool(live):
            text = self._tuning.tool_filler
        is_said = self._mouth.fill(live, text)
        if is_said and live.request.trail is not None:
            live.request.trail.took(Rung.FILLER, reason)
        return is_said

    def on_given_up(self, live: LiveReply) -> None:
        """End the work on the answer, and say so."""
        self._mouth.break_off(live)
        stage: Stage = "llm" if self._ledger.at(live.turn, Mark.LLM_FIRST_TOKEN) is None else "tts"
        live.error = GivenUp("no answer before nobody waits for it", stage=stage)
        self._fail(live, live.error)

    def apologise(self, live: LiveReply) -> None:
        """Say why there is no answer, or no more of it."""
        is_allowed = self._tuning.budget.allows(Rung.REFUSAL)
        is_whole = is_allowed and not live.n_frames  # nothing of the answer was heard
        self._mouth.apologise(live, self._tuning.refusal if is_whole else self._tuning.apology)
        if is_allowed and live.request.trail is not None:
            live.request.trail.took(Rung.REFUSAL, _reason_of(live.error))

    def excuse(self, live: LiveReply, *, is_coming: bool) -> None:
        """Say that nothing was understood, or, while the words may still come, that it takes a moment."""
        rung = Rung.FILLER if is_coming and self._tuning.budget.allows(Rung.FILLER) else Rung.REFUSAL
        text = self._tuning.fillers[0] if rung is Rung.FILLER else self._tuning.excuse
        trail = self._ledger.begin(live.turn, draft=False)
        live.request = replace(live.request, trail=trail)
        self._ledger.commit(live.turn, answers=not is_coming)
        trail.took(rung, "late" if is_coming else "failed")
        if not is_coming:
            live.error, self.unheard = self.unheard, None
        self._mouth.excuse(live, text)

    def _is_about_tool(self, live: LiveReply) -> bool:
        messages = live.request.messages
        return bool(live.calls or (messages and messages[-1].role == "tool"))

    def _sentences(self) -> Iterable[str]:
        tuning = self._tuning
        return (*tuning.fillers, tuning.tool_filler, tuning.excuse, tuning.refusal, tuning.apology)


def _reason_of(error: StageError | None) -> str:
    match error:
        case GivenUp():
            return "gave_up"
        case StageOverloaded():
            return "overloaded"
        case _:
            return "failed"
