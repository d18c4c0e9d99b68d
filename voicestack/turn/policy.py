"""The knobs of turn-taking. A session's policy may change between two events, never during one."""

from dataclasses import dataclass


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
    """

    create_reply: bool = True
    interrupt_reply: bool = True
    draft_replies: bool = True
    max_drafts: int = 3
    max_retries: int = 1
    words_deadline_ns: int = 3_000_000_000
