"""Whatever happens in whatever order, these hold for the turn machine."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from voicestack.core.ids import TurnId, UtteranceId
from voicestack.turn.actions import Action, Apologise, CommitReply, Excuse, RetryReply, StartReply, StopReply
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
    Tick,
    WordsHeard,
    WordsSettled,
)
from voicestack.turn.machine import step
from voicestack.turn.policy import Policy
from voicestack.turn.state import Progress, State, User

MS = 1_000_000

policies = st.builds(
    Policy,
    create_reply=st.booleans(),
    interrupt_reply=st.booleans(),
    draft_replies=st.booleans(),
    max_drafts=st.integers(0, 3),
    max_retries=st.integers(0, 2),
    idle_ns=st.sampled_from([None, 3, 5_000 * MS]),
    excuse=st.booleans(),
    say_by_ns=st.sampled_from([None, 0, 1_000 * MS]),
)
small = st.integers(0, 5)
words = st.sampled_from(["", "a", "b", "a b", "c"])
any_event = st.one_of(
    st.builds(SpeechStarted, small, small.map(UtteranceId)),
    st.builds(SpeechPaused, small, small.map(UtteranceId), small),
    st.builds(SpeechResumed, small, small.map(UtteranceId)),
    st.builds(SpeechEnded, small, small.map(UtteranceId), small),
    st.builds(WordsSettled, small, small.map(UtteranceId), words),
    st.builds(WordsHeard, small, small.map(UtteranceId), words, st.booleans()),
    st.builds(ReplyRequested, small),
    st.builds(ReplyCancelled, small),
    st.builds(ReplyAudible, small, small.map(TurnId)),
    st.builds(ReplyEnded, small, small.map(TurnId)),
    st.builds(ReplyFailed, small, small.map(TurnId), st.booleans()),
    st.builds(Tick, st.integers(0, 10_000 * MS)),
)


def check_actions(before: State, event: Event, actions: tuple[Action, ...], after: State) -> None:
    """At most one reply is live, and only the live one is touched."""
    live = None if before.reply is None else before.reply.turn
    if before.reply and isinstance(event, ReplyEnded) and event.turn == live:
        live = live if before.reply.progress is Progress.DRAFT else None
    if before.reply and isinstance(event, ReplyFailed) and event.turn == live and before.reply.apologising:
        live = None
    newest = before.turn
    for action in actions:
        match action:
            case StartReply(turn=turn) | Excuse(turn=turn):
                assert live is None, "two live replies"
                assert turn > newest, "turn ids rise"
                live = newest = turn
            case StopReply(turn=turn):
                assert turn == live
                live = None
            case CommitReply(turn=turn) | RetryReply(turn=turn) | Apologise(turn=turn):
                assert turn == live
    assert live == (None if after.reply is None else after.reply.turn)


@settings(max_examples=150)
@given(policies, st.lists(any_event, max_size=40))
def test_any_events_in_any_order(policy: Policy, events: list[Event]) -> None:
    s = State()
    for event in events:
        before = s
        s, actions = step(s, event, policy)
        check_actions(before, event, actions, s)
        if s.user is not User.QUIET and s.reply is not None and policy.interrupt_reply:
            started = any(isinstance(a, StartReply | CommitReply | Excuse) for a in actions)
            draft = s.reply.progress is Progress.DRAFT
            assert draft or not started, "a reply began while the user speaks"
        assert (s.words_due_ns is not None) == bool(s.awaited), (
            "a timer is armed exactly while words are awaited"
        )
        if s.idle_at_ns is not None:
            assert policy.idle_ns is not None
            assert (s.user, s.reply, s.awaited) == (User.QUIET, None, ()), "silence counts when nobody speaks"


class World:
    """A driver and a user who behave: what really can happen, in random order.

    Keeps what the user said, and what was answered, to compare them.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.state = State()
        self.now = 0
        self.said: list[str] = []  # words in the order in which the recogniser delivered them
        self.answered: list[str] = []
        self.live: TurnId | None = None
        self.draft = False
        self.draft_words = ""
        self.utterance = 0
        self.speaking = False
        self.paused = False
        self.outstanding: list[int] = []
        self.n_words = 0
        self.n_excuses = 0

    def feed(self, event: Event) -> None:
        before = self.state
        self.state, actions = step(self.state, event, self.policy)
        check_actions(before, event, actions, self.state)
        for action in actions:
            match action:
                case StartReply(turn=turn, words=words, draft=draft):
                    self.live, self.draft = turn, draft
                    if draft:
                        self.draft_words = words
                    else:
                        self.answered += words.split()
                case Excuse(turn=turn):
                    assert self.policy.excuse
                    assert not before.heard, "words that were understood are answered, not excused"
                    self.live, self.draft = turn, False
                    self.n_excuses += 1
                case CommitReply(words=words):
                    assert self.draft
                    assert words == self.draft_words, "a draft is committed on other words than it answers"
                    if isinstance(event, Tick):  # the draft's guess stands for words that have not come
                        self.said += words.split()[len(self.said) - len(self.answered) :]
                        self.outstanding.clear()
                    self.draft = False
                    self.answered += words.split()
                case StopReply():
                    self.live, self.draft = None, False

    def play(self, choice: str, word: bool) -> None:
        self.now += 10 * MS
        u = UtteranceId(self.utterance)
        match choice:
            case "start" if not self.speaking:
                self.utterance += 1
                self.speaking, self.paused = True, False
                self.feed(SpeechStarted(self.now, UtteranceId(self.utterance)))
            case "pause" if self.speaking and not self.paused:
                self.paused = True
                self.feed(SpeechPaused(self.now, u, self.now))
            case "settle" if self.paused:
                self.feed(WordsSettled(self.now, u, f"w{self.n_words}" if word else ""))
            case "resume" if self.paused:
                self.paused = False
                self.feed(SpeechResumed(self.now, u))
            case "end" if self.speaking:
                self.speaking = self.paused = False
                self.outstanding.append(self.utterance)
                self.feed(SpeechEnded(self.now, u, self.now))
            case "heard" if self.outstanding:
                heard = self.outstanding.pop(0)
                text = f"w{self.n_words}" if word else ""
                self.n_words += 1
                self.said += text.split()
                self.feed(WordsHeard(self.now, UtteranceId(heard), text))
            case "lost" if self.outstanding:
                heard = self.outstanding.pop(0)
                self.feed(WordsHeard(self.now, UtteranceId(heard), "", lost=True))
            case "late":
                self.now += self.policy.words_deadline_ns
                self.feed(Tick(self.now))
            case "audible" if self.live and not self.draft:
                self.feed(ReplyAudible(self.now, self.live))
            case "said" if self.live and not self.draft:
                turn, self.live = self.live, None
                self.feed(ReplyEnded(self.now, turn))
            case "failed" if self.live:
                self.feed(ReplyFailed(self.now, self.live, retryable=word))
            case "ask":
                self.feed(ReplyRequested(self.now))
            case "cancel":
                self.feed(ReplyCancelled(self.now))

    def settle_down(self) -> None:
        """The user stops, everything that is outstanding comes, every reply is said."""
        for choice in ("end", *["heard"] * len(self.outstanding), "heard", "late", *["said"] * 3):
            self.play(choice, word=True)


CHOICES = (
    "start",
    "pause",
    "settle",
    "resume",
    "end",
    "heard",
    "lost",
    "late",
    "audible",
    "said",
    "failed",
    "ask",
    "cancel",
)
moves = st.lists(st.tuples(st.sampled_from(CHOICES), st.booleans()), max_size=60)


@settings(max_examples=300)
@given(policies.map(lambda p: replace(p, create_reply=True)), moves)
def test_every_word_heard_is_answered_exactly_once_in_order(
    policy: Policy, choices: list[tuple[str, bool]]
) -> None:
    world = World(policy)
    for choice, word in choices:
        world.play(choice, word)
        assert world.answered == world.said[: len(world.answered)], "answered out of order, or twice"
    world.settle_down()
    assert world.answered == world.said
    assert world.state.heard == ""


@settings(max_examples=150)
@given(policies, moves)
def test_no_reply_is_live_while_the_user_speaks(policy: Policy, choices: list[tuple[str, bool]]) -> None:
    world = World(replace(policy, interrupt_reply=True))
    for choice, word in choices:
        world.play(choice, word)
        if world.state.user is User.SPEAKING:
            assert world.state.reply is None


@settings(max_examples=150)
@given(policies, moves)
def test_nobody_waits_for_ever(policy: Policy, choices: list[tuple[str, bool]]) -> None:
    world = World(policy)
    for choice, word in choices:
        world.play(choice, word)
        s = world.state
        if s.user is User.QUIET and not s.awaited:
            wants = s.asked or (s.heard and policy.create_reply)
            assert not wants or s.reply is not None, "an answer is due and nobody makes it"
            assert s.reply is None or s.reply.progress is not Progress.DRAFT, "a draft that nobody decides on"
        else:
            assert s.user is not User.QUIET or s.wake_at_ns is not None


@settings(max_examples=150)
@given(policies, moves, any_event)
def test_stale_events_change_nothing(policy: Policy, choices: list[tuple[str, bool]], event: Event) -> None:
    world = World(policy)
    for choice, word in choices:
        world.play(choice, word)
    s = world.state
    live = s.reply.turn if s.reply else None
    match event:
        case ReplyAudible(turn=turn) | ReplyEnded(turn=turn) | ReplyFailed(turn=turn) if turn != live:
            pass
        case SpeechPaused(utterance=u) | SpeechResumed(utterance=u) | WordsSettled(utterance=u) if (
            u != s.utterance
        ):
            pass
        case SpeechStarted(utterance=u) if u <= s.utterance:
            pass
        case SpeechEnded(utterance=u) if u <= s.ended:
            pass
        case WordsHeard(utterance=u) if u not in s.awaited and u not in s.overdue:
            pass
        case Tick(at_ns=at) if s.wake_at_ns is None or at < s.wake_at_ns:
            pass
        case _:
            return
    assert step(s, event, policy) == (s, ())


def test_the_draft_that_guessed_right_is_committed() -> None:
    policy = Policy()
    s, _ = step(State(), SpeechStarted(0, UtteranceId(1)), policy)
    s, _ = step(s, SpeechPaused(10, UtteranceId(1), 9), policy)
    s, actions = step(s, WordsSettled(11, UtteranceId(1), "what time is it"), policy)
    assert actions == (StartReply(TurnId(1), "what time is it", draft=True),)
    s, _ = step(s, SpeechEnded(20, UtteranceId(1), 9), policy)
    s, actions = step(s, WordsHeard(21, UtteranceId(1), "what time is it"), policy)
    assert actions == (CommitReply(TurnId(1), "what time is it"),)


def test_the_draft_that_guessed_wrong_is_dropped_and_begun_anew() -> None:
    policy = Policy()
    s, _ = step(State(), SpeechStarted(0, UtteranceId(1)), policy)
    s, _ = step(s, SpeechPaused(10, UtteranceId(1), 9), policy)
    s, _ = step(s, WordsSettled(11, UtteranceId(1), "what time"), policy)
    s, _ = step(s, SpeechEnded(20, UtteranceId(1), 9), policy)
    s, actions = step(s, WordsHeard(21, UtteranceId(1), "what time is it"), policy)
    assert actions == (StopReply(TurnId(1), "discarded"), StartReply(TurnId(2), "what time is it"))


def test_a_reply_that_fails_unheard_is_retried_and_then_apologised_for() -> None:
    policy = Policy(max_retries=1)
    s, _ = step(State(), ReplyRequested(0), policy)
    s, actions = step(s, ReplyFailed(1, TurnId(1), retryable=True), policy)
    assert actions == (RetryReply(TurnId(1)),)
    s, actions = step(s, ReplyFailed(2, TurnId(1), retryable=True), policy)
    assert actions == (Apologise(TurnId(1)),)
    s, actions = step(s, ReplyEnded(3, TurnId(1)), policy)
    assert (s.reply, actions) == (None, ())


def test_a_reply_that_fails_while_audible_is_apologised_for() -> None:
    policy = Policy()
    s, _ = step(State(), ReplyRequested(0), policy)
    s, _ = step(s, ReplyAudible(1, TurnId(1)), policy)
    _, actions = step(s, ReplyFailed(2, TurnId(1), retryable=True), policy)
    assert actions == (Apologise(TurnId(1)),)


def test_an_apology_that_fails_is_not_turned_back_into_a_reply() -> None:
    policy = Policy(max_retries=2)
    s, _ = step(State(), ReplyRequested(0), policy)
    s, _ = step(s, ReplyFailed(1, TurnId(1), retryable=False), policy)
    s, actions = step(s, ReplyFailed(2, TurnId(1), retryable=True), policy)
    assert (s.reply, actions) == (None, ())


def test_a_user_who_was_told_to_wait_for_words_that_never_come_is_told_so() -> None:
    policy = Policy(excuse=True)
    s, _ = step(State(), SpeechStarted(0, UtteranceId(1)), policy)
    s, _ = step(s, SpeechEnded(20, UtteranceId(1), 9), policy)
    s, actions = step(s, Tick(20 + policy.words_deadline_ns), policy)
    assert actions == (Excuse(TurnId(1)),)
    s, actions = step(s, WordsHeard(30, UtteranceId(1), "", lost=True), policy)
    assert actions == ()
    s, actions = step(s, ReplyEnded(40, TurnId(1)), policy)
    assert actions == (Excuse(TurnId(2)),)
    s, actions = step(s, ReplyEnded(50, TurnId(2)), policy)
    assert (s.reply, actions) == (None, ())


def test_late_words_of_one_utterance_do_not_prolong_the_wait_for_another() -> None:
    policy = Policy(excuse=True, say_by_ns=1_000 * MS)
    s, _ = step(State(), SpeechStarted(0, UtteranceId(1)), policy)
    s, _ = step(s, SpeechEnded(20, UtteranceId(1), 9), policy)
    s, _ = step(s, Tick(1_000 * MS + 9), policy)
    s, _ = step(s, SpeechStarted(2_000 * MS, UtteranceId(2)), policy)
    s, _ = step(s, SpeechEnded(3_000 * MS, UtteranceId(2), 3_000 * MS), policy)
    due_ns = s.words_due_ns
    s, _ = step(s, WordsHeard(3_500 * MS, UtteranceId(1), "", lost=True), policy)
    assert due_ns is not None
    assert s.words_due_ns == due_ns


def test_words_that_come_after_the_excuse_are_answered() -> None:
    policy = Policy(excuse=True)
    s, _ = step(State(), SpeechStarted(0, UtteranceId(1)), policy)
    s, _ = step(s, SpeechEnded(20, UtteranceId(1), 9), policy)
    s, _ = step(s, Tick(20 + policy.words_deadline_ns), policy)
    s, actions = step(s, WordsHeard(30, UtteranceId(1), "hello"), policy)
    assert actions == ()
    _, actions = step(s, ReplyEnded(40, TurnId(1)), policy)
    assert actions == (StartReply(TurnId(2), "hello"),)


def test_a_recogniser_that_failed_is_excused_and_a_noise_without_words_is_not() -> None:
    policy = Policy(excuse=True)
    s, _ = step(State(), SpeechStarted(0, UtteranceId(1)), policy)
    s, _ = step(s, SpeechEnded(20, UtteranceId(1), 9), policy)
    assert step(s, WordsHeard(30, UtteranceId(1), ""), policy)[1] == ()
    assert step(s, WordsHeard(30, UtteranceId(1), "", lost=True), policy)[1] == (Excuse(TurnId(1)),)


def test_a_draft_stands_for_words_that_do_not_come_and_they_are_not_answered_again() -> None:
    policy = Policy(excuse=True)
    s, _ = step(State(), SpeechStarted(0, UtteranceId(1)), policy)
    s, _ = step(s, SpeechPaused(10, UtteranceId(1), 9), policy)
    s, _ = step(s, WordsSettled(11, UtteranceId(1), "what time is it"), policy)
    s, _ = step(s, SpeechEnded(20, UtteranceId(1), 9), policy)
    s, actions = step(s, Tick(20 + policy.words_deadline_ns), policy)
    assert actions == (CommitReply(TurnId(1), "what time is it"),)
    assert step(s, WordsHeard(30, UtteranceId(1), "what time is it"), policy) == (s, ())
