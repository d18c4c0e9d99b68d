"""The knobs of turn-taking. A session's policy may change between two events, never during one."""

from dataclasses import dataclass, replace

from voicestack.core.settings import ServerVad


@dataclass(frozen=True, slots=True)
class Policy:
    """How the machine decides.

    Attributes:
        create_reply: Answer by itself when the user has finished (`turn_detection.create_response`).
        interrupt_reply: Stop speaking when the user speaks (`turn_detection.interrupt_response`).
        draft_replies: Begin a reply at a soft end, before it is certain that the user has finished.
        max_drafts: Drafts begun per answered turn at most. Three is LiveKit's `max_tries` for preemptive
            generation; beyond it the user is hesitating and drafts are waste.
        max_retries: Times that a reply is begun again after a retryable failure before the first sample.
        words_deadline_ns: Longest wait for the final words of an utterance that has ended.
        idle_ns: Silence after a reply in which the user is expected to speak; then the agent speaks again.
            None waits for ever.
        busy: A tool is at work for the user, who has every reason to say nothing.
    """

    create_reply: bool = True
    interrupt_reply: bool = True
    draft_replies: bool = True
    max_drafts: int = 3
    max_retries: int = 1
    words_deadline_ns: int = 3_000_000_000
    idle_ns: int | None = None
    busy: bool = False

    def detecting(self, detection: ServerVad | None) -> "Policy":
        """This policy with what the peer's turn detection says; None is a peer who takes turns by hand."""
        if detection is None:
            return replace(self, create_reply=False, interrupt_reply=False, idle_ns=None)
        idle_ms = detection.idle_timeout_ms
        return replace(
            self,
            create_reply=detection.create_response,
            interrupt_reply=detection.interrupt_response,
            idle_ns=None if idle_ms is None else idle_ms * 1_000_000,
        )
