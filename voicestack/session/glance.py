"""What does a conversation look like to whoever watches?"""

from voicestack.core.glance import Glance
from voicestack.core.rungs import Rung
from voicestack.session.session import Session


def glance(session: Session, now_ns: int) -> Glance:
    """A look at it, without touching it."""
    state, rung = session.state, session.pace.rung
    return Glance(
        session=session.id,
        user=state.user.value,
        reply=state.reply.progress.value if state.reply else None,
        turn=state.turn,
        since_ms=max(0, now_ns - session.fed_ns) / 1e6 if session.fed_ns else 0.0,
        rung=rung if state.reply and rung is not Rung.FULL else None,
    )
