"""What the things in a conversation are called: one type per kind of identifier."""

from typing import NewType

SessionId = NewType("SessionId", str)
"""One conversation with one peer."""

UtteranceId = NewType("UtteranceId", int)
"""One stretch of user speech, numbered from 1 within a session."""

TurnId = NewType("TurnId", int)
"""One attempt of the agent to answer (a reply), numbered from 1 within a session; it only rises."""

ItemId = NewType("ItemId", str)
"""One entry of the conversation, as peers see it on the wire."""

OWN_SESSION = "own-"
"""How the names of sessions begin that no user is in: they warm the engines, and are nobody's figures."""


def own_session(purpose: str) -> SessionId:
    """The name of a session of our own."""
    return SessionId(OWN_SESSION + purpose)


def is_own(session: SessionId) -> bool:
    """Whether no user is in it."""
    return session.startswith(OWN_SESSION)
