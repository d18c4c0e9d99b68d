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
        excuse: A user of whom nothing was understood is told so. Otherwise the agent keeps silent.
        say_by_ns: Words are waited for no longer than until so much after the user's last sample, since
            something must be said by then. None for as long as `words_deadline_ns`.
    """

    create_reply: bool = True
    interrupt_reply: bool = True
    draft_replies: bool = True
    max_drafts: int = 3
    max_retries: int = 1
    words_deadline_ns: int = 3_000_000_000
    idle_ns: int | None = None
    busy: bool = False
    excuse: bool = False
    say_by_ns: int | None = None

    def words_due_ns(self, now_ns: int, speech_end_ns: int) -> int:
        """Until when the words of an utterance are waited for that has just been found to be over."""
        due_ns = now_ns + self.words_deadline_ns
        if self.say_by_ns is None:
            return due_ns
        return max(now_ns, min(due_ns, speech_end_ns + self.say_by_ns))

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
