"""Who speaks, and what happens next. Everything that changes a conversation's state is in this file.

::

    user   QUIET --SpeechStarted--> SPEAKING --SpeechPaused--> PAUSED --SpeechEnded--> QUIET
                                        ^----SpeechResumed-------'
    reply  none --WordsSettled--> DRAFT --the final words agree--> THINKING --ReplyAudible--> AUDIBLE --> none
             '--words heard, or a reply asked for--------------------^

`step` is a pure function: no clock, no I/O, no await. Time comes in with the events and goes out as
`State.wake_at_ns`. It is total: every event is legal in every state, and an event that has become
meaningless (the `ReplyEnded` of a reply that was stopped, say) changes nothing.

What holds in every reachable state (`tests/property/test_machine.py`):

- at most one reply is live, and only the live one is ever stopped or committed;
- while the user speaks no reply is live, unless the policy forbids interruptions;
- every word heard is answered by exactly one committed reply, in order;
- a user of whom nothing was understood is told so, where the policy wants it;
- nobody waits for ever: while words are awaited a timer is armed, and when nothing is awaited, words that
  want an answer have a live reply.
"""

from dataclasses import replace

from voicestack.core.ids import TurnId, UtteranceId
from voicestack.turn.actions import (
    Action,
    Apologise,
    CommitReply,
    Excuse,
    NoteSilence,
    RetryReply,
    StartReply,
    StopReply,
)
from voicestack.turn.events import (
    Event,
    ReplyAudible,
    ReplyCancelled,
    ReplyEnded,
    ReplyFailed,
    ReplyRequested,
    SpeechEnded,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    StopReason,
    Tick,
    WordsHeard,
    WordsSettled,
)
from voicestack.turn.policy import Policy
from voicestack.turn.state import Progress, Reply, State, User

Step = tuple[State, tuple[Action, ...]]


def step(s: State, e: Event, policy: Policy) -> Step:  # noqa: PLR0911 (it is a table)
    """Return the next state and what to do now, in order."""
    match e:
        case SpeechStarted(utterance=utterance) if utterance > s.utterance:
            s = replace(s, user=User.SPEAKING, utterance=utterance, idle_at_ns=None)
            if s.reply and (policy.interrupt_reply or s.reply.progress is Progress.DRAFT):
                return _stop(s, s.reply, "turn_detected")
            return s, ()

        case SpeechPaused(utterance=u) if u == s.utterance and s.user is User.SPEAKING:
            return replace(s, user=User.PAUSED), ()

        case SpeechResumed(utterance=u) if u == s.utterance and s.user is User.PAUSED:
            return _drop_draft(replace(s, user=User.SPEAKING))

        case WordsSettled(utterance=u, text=text) if u == s.utterance and s.user is User.PAUSED:
            return _draft(s, text, policy)

        case SpeechEnded(at_ns=now, utterance=u, speech_end_ns=end) if u > s.ended and u >= s.utterance:
            due = s.words_due_ns or policy.words_due_ns(now, end)
            s = replace(s, user=User.QUIET, utterance=u, awaited=(*s.awaited, u))
            return replace(s, words_due_ns=due, idle_at_ns=None), ()

        case WordsHeard(at_ns=now, utterance=u, text=text, lost=lost) if u in s.awaited or u in s.overdue:
            # Who was told to wait for the answer must be told that there is none.
            lost = lost or (u in s.overdue and not text)
            return _answer(_hear(replace(s, lost=s.lost or lost), now, u, text, policy), policy)

        case Tick(at_ns=now):
            return _wake(s, now, policy)

        case ReplyRequested():
            return _answer(replace(s, asked=True), policy)

        case ReplyCancelled():
            s = replace(s, asked=False)
            return _stop(s, s.reply, "client_cancelled") if s.reply else (s, ())

        case ReplyAudible(turn=turn) if s.reply and s.reply.turn == turn:
            return replace(s, reply=replace(s.reply, progress=Progress.AUDIBLE)), ()

        case ReplyEnded(at_ns=now, turn=turn) if (
            s.reply and s.reply.turn == turn and s.reply.progress is not Progress.DRAFT
        ):
            s, actions = _answer(replace(s, reply=None), policy)
            return _watch_idle(s, now, policy), actions

        case ReplyFailed(turn=turn, retryable=retryable) if s.reply and s.reply.turn == turn:
            return _recover(s, s.reply, retryable, policy)

        case _:  # stale or meaningless here
            return s, ()


def _hear(s: State, now_ns: int, utterance: UtteranceId, text: str, policy: Policy) -> State:
    awaited = tuple(u for u in s.awaited if u != utterance)
    # Late words change nothing about how long others are waited for.
    due_ns = policy.words_due_ns(now_ns, now_ns) if awaited != s.awaited else s.words_due_ns
    return replace(
        s,
        heard=join_words(s.heard, text),
        awaited=awaited,
        overdue=tuple(u for u in s.overdue if u != utterance),
        words_due_ns=due_ns if awaited else None,
    )


def _wake(s: State, now_ns: int, policy: Policy) -> Step:
    if s.words_due_ns is not None and now_ns >= s.words_due_ns:
        return _answer(_overdue(s, policy), policy)
    if s.idle_at_ns is not None and now_ns >= s.idle_at_ns:
        if policy.idle_ns is None:  # the peer has changed its mind meanwhile
            return replace(s, idle_at_ns=None), ()
        if policy.busy:
            return replace(s, idle_at_ns=now_ns + policy.idle_ns), ()
        turn = TurnId(s.turn + 1)
        return _begun(s, Reply(turn, Progress.THINKING, "")), (NoteSilence(), StartReply(turn, ""))
    return s, ()


def _overdue(s: State, policy: Policy) -> State:
    """Words that do not come: answer what was understood, and take the others when they are there.

    A draft says what was understood at a soft end. If it is committed, the words are not taken again.
    """
    if policy.excuse and s.reply and s.reply.progress is Progress.DRAFT and len(s.awaited) == 1:
        return replace(s, heard=s.reply.words, awaited=(), words_due_ns=None)
    overdue = (*s.overdue, *s.awaited)
    return replace(s, awaited=(), overdue=overdue, words_due_ns=None, lost=bool(s.awaited) or s.lost)


def _watch_idle(s: State, now_ns: int, policy: Policy) -> State:
    """The agent has spoken: from now on the user's silence counts, unless something else goes on."""
    if policy.idle_ns is None or s.reply or s.user is not User.QUIET or s.awaited:
        return s
    return replace(s, idle_at_ns=now_ns + policy.idle_ns)


def _draft(s: State, text: str, policy: Policy) -> Step:
    """Begin to answer on what was understood up to a soft end, if that is worth a try."""
    words = join_words(s.heard, text)
    wanted = policy.draft_replies and policy.create_reply and bool(text) and not s.awaited
    if not wanted or s.n_drafts >= policy.max_drafts:
        return s, ()
    if s.reply and (s.reply.progress is not Progress.DRAFT or s.reply.words == words):
        return s, ()
    s, stopped = _drop_draft(s)
    turn = TurnId(s.turn + 1)
    s = replace(s, turn=turn, reply=Reply(turn, Progress.DRAFT, words), n_drafts=s.n_drafts + 1)
    return s, (*stopped, StartReply(turn, words, draft=True))


def _answer(s: State, policy: Policy) -> Step:
    """Begin, or commit, the answer that is due; drop a draft that nothing is due for."""
    if s.user is not User.QUIET or s.awaited:
        return s, ()
    if not (s.asked or (s.heard and policy.create_reply)):
        s, stopped = _drop_draft(s)
        return (s, stopped) if s.reply or not (s.lost and policy.excuse) else _excuse(s, stopped, policy)
    drafted = s.reply is not None and s.reply.progress is Progress.DRAFT and not s.asked
    if s.reply and drafted and s.reply.words == s.heard:
        committed = replace(s.reply, progress=Progress.THINKING)
        return _begun(s, committed), (CommitReply(committed.turn, s.heard),)
    s, stopped = _drop_draft(s)
    if s.reply:  # not to be interrupted: what was heard waits until it ends
        return s, stopped
    turn = TurnId(s.turn + 1)
    return _begun(s, Reply(turn, Progress.THINKING, s.heard)), (*stopped, StartReply(turn, s.heard))


def _excuse(s: State, stopped: tuple[Action, ...], policy: Policy) -> Step:
    if not policy.create_reply:  # whoever answers by hand has been told that there are no words
        return replace(s, lost=False), stopped
    turn = TurnId(s.turn + 1)
    excuse = Reply(turn, Progress.THINKING, "", apologising=True)
    return _begun(s, excuse), (*stopped, Excuse(turn))


def _begun(s: State, reply: Reply) -> State:
    return replace(
        s, reply=reply, turn=reply.turn, heard="", lost=False, asked=False, n_drafts=0, idle_at_ns=None
    )


def _recover(s: State, reply: Reply, retryable: bool, policy: Policy) -> Step:
    if reply.progress is Progress.DRAFT:  # nobody was promised anything
        return replace(s, reply=None), (StopReply(reply.turn, "discarded"),)
    may_retry = retryable and not reply.apologising and reply.retries < policy.max_retries
    if may_retry and reply.progress is Progress.THINKING:
        return replace(s, reply=replace(reply, retries=reply.retries + 1)), (RetryReply(reply.turn),)
    if not reply.apologising:
        return replace(s, reply=replace(reply, apologising=True)), (Apologise(reply.turn),)
    return _answer(replace(s, reply=None), policy)  # even the apology failed


def _drop_draft(s: State) -> Step:
    if s.reply and s.reply.progress is Progress.DRAFT:
        return _stop(s, s.reply, "discarded")
    return s, ()


def _stop(s: State, reply: Reply, reason: StopReason) -> Step:
    if reply.progress is Progress.DRAFT:
        reason = "discarded"
    return replace(s, reply=None), (StopReply(reply.turn, reason),)


def join_words(before: str, after: str) -> str:
    """Put two pieces of speech one after the other."""
    return f"{before} {after}".strip()
