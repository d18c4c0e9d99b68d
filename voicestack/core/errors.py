"""Everything that can go wrong on purpose, as one tree.

::

    VoiceStackError              code: stable, for programs; retryable: bool
      ConfigError                start-up only; exit code 2; names file, key and line
      ModelError                 files of a model cannot be had, or are not what they should be
      PeerProtocolError          the peer broke the wire schema
        RateLimited              it has had its share for now
      TransportLost              the peer vanished; normal
      Overloaded                 new work is refused; says when and where to try again
      StageError                 engines raise only these
        StageTimeout             over its budget; retryable before the first audible sample
          StageExpired           nobody wants it any more; never retryable
        StageUnavailable         the replica is gone; retryable before the first audible sample
          StageOverloaded        the replica is there and refuses more work for now
        StageRejected            a bad model or key; never retryable; the replica is taken out

Anything else that is raised is a bug. It ends the session in which it happens and no other.
"""

from typing import ClassVar, Literal

Stage = Literal["vad", "asr", "llm", "tts", "mcp"]


class VoiceStackError(Exception):
    """The root. `code` never changes between releases; the message may."""

    code: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False


class ConfigError(VoiceStackError):
    """The configuration cannot be used. Raised at start-up only."""

    code = "config_invalid"


class ModelError(VoiceStackError):
    """A model's files could not be fetched, kept or checked. Raised by commands only, never in a call."""

    code = "model_failed"


class PeerProtocolError(VoiceStackError):
    """The peer sent something that the protocol does not allow.

    Args:
        message: For a person.
        code: The wire code to answer with, from the Realtime API's list.
        param: The offending field, dotted, if one is to blame.
    """

    def __init__(self, message: str, *, code: str = "invalid_event", param: str | None = None):
        super().__init__(message)
        self.wire_code = code
        self.param = param


class RateLimited(PeerProtocolError):
    """The peer has had as many replies, or tokens, as it may have for now."""

    retryable = True

    def __init__(self, message: str):
        super().__init__(message, code="rate_limit_exceeded")


class TransportLost(VoiceStackError):
    """The peer is gone. Logged at INFO."""

    code = "transport_lost"


class Overloaded(VoiceStackError):
    """New work is refused so that the turns in progress stay within budget."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, *, retry_after_ms: int, region: str | None = None):
        super().__init__(message)
        self.retry_after_ms = retry_after_ms
        self.region = region


class StageError(VoiceStackError):
    """An engine could not do its part of a turn."""

    code = "stage_failed"

    def __init__(self, message: str, *, stage: Stage):
        super().__init__(message)
        self.stage: Stage = stage


class StageTimeout(StageError):
    """The stage did not answer within what was left of the turn's budget."""

    code = "stage_timeout"
    retryable = True


class StageExpired(StageTimeout):
    """The limit of the turn has passed while the work waited, or was done: nobody wants it any more."""

    code = "deadline_exceeded"
    retryable = False


class StageUnavailable(StageError):
    """The replica that serves the stage is gone."""

    code = "stage_unavailable"
    retryable = True


class StageOverloaded(StageUnavailable):
    """The replica is there but refuses more work for now: its queue is full. Nothing was begun."""

    code = "stage_overloaded"


class StageRejected(StageError):
    """The replica answered that it will never serve this (bad model, bad key)."""

    code = "stage_rejected"
