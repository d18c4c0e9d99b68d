"""What a session is made of, and how it behaves where its peer has no say."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from voicestack.core.budget import Budget
from voicestack.core.rungs import Rung
from voicestack.core.served import ToolServers
from voicestack.ports import Asr, Forecaster, Llm, Tts, Vad
from voicestack.session.ears import Hearing
from voicestack.session.prompts import Prompts
from voicestack.turn.policy import Policy


@dataclass(frozen=True, slots=True)
class Engines:
    """What a session hears, thinks and speaks with, and where its LLM finds tools (None: nowhere).

    `forecaster` knows how long they take now; without one, only the clock counts. `prompts` are the
    sentences that must be there whatever happens to the engines.
    """

    vad: Vad
    asr: Asr
    llm: Llm
    tts: Tts
    tool_servers: ToolServers | None = None
    forecaster: Forecaster | None = None
    prompts: Prompts = field(default_factory=Prompts)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a session behaves where the peer has no say.

    Attributes:
        policy: Turn-taking; the peer's turn detection settings are put on top.
        hearing: Endpointing details.
        lead_ms: Audio is sent so far ahead of its time.
        queue_ms: Audio held between TTS and peer at most.
        context_tokens: What the LLM can be given; older parts of the conversation are left out.
        prime: Compute the prompt's KV while the user speaks.
        apology: Said when a reply cannot be finished.
        continue_replies: The agent answers by itself after the calls of a reply that nobody asked for.
        keep_audio_s: What items sounded like is kept to be retrieved, so much of it, the newest. 0 is none.
        idle_prompt: What the LLM is told, as if the user had said it, when the user says nothing.
        budget: What a turn may take, and what is done about it.
        fillers: Said, in turn, while no answer is there. True whatever was asked.
        excuse: Said when nothing was understood of what the user said.
        tool_filler: Said instead while a tool is at work.
        refusal: Said when there will be no answer.
        sheds_drafts: Whether no drafts are to be made now, because there is too much else to do.
        keep_words: What was said and heard goes into the records of turns, too.
    """

    policy: Policy = Policy()
    hearing: Hearing = Hearing()
    lead_ms: float = 120
    queue_ms: float = 400
    context_tokens: int = 2048
    prime: bool = True
    apology: str = "Sorry, I lost my train of thought. Could you say that again?"
    continue_replies: bool = False
    keep_audio_s: float = 0
    idle_prompt: str = "(I have said nothing for a while. Ask me, in a few words, whether I am still there.)"
    budget: Budget = Budget()
    fillers: tuple[str, ...] = ("One moment, please.",)
    excuse: str = "Sorry, I didn't catch that."
    tool_filler: str = "I'm looking that up."
    refusal: str = "I'm sorry, I can't answer that right now."
    keep_words: bool = False
    sheds_drafts: Callable[[], bool] = bool

    @property
    def turn_policy(self) -> Policy:
        """Turn-taking within the budget: nobody is left without a word."""
        if not self.budget.enforced:
            return self.policy
        say_by_ns = round((self.budget.say_by_ms - SAY_MS) * 1e6)
        return replace(self.policy, excuse=self.budget.allows(Rung.REFUSAL), say_by_ns=say_by_ns)


SAY_MS = 150.0
"""What it takes from the decision to say something until it is heard: two windows of VAD by which the user's
last sample is known late, a frame each way, the sentence's onset, and a turn of the loop on a busy machine.
Measured on the waveform: 50-76 ms on a loopback."""
