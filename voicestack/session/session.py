"""One conversation: who decides is `turn/machine.py`, who does it is this.

`Session` owns the state, the scope and the only handle of the reply task. `_feed` decides and acts with no
await in between, so nothing can change under a decision.
"""

import logging
from collections.abc import Callable

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.core.audio import AudioFrame, SpokenFrame
from voicestack.core.commands import Command
from voicestack.core.errors import PeerProtocolError, StageError, StageOverloaded
from voicestack.core.history import History, Item
from voicestack.core.ids import ItemId, SessionId, TurnId, UtteranceId
from voicestack.core.marks import Mark
from voicestack.core.notes import Problem, TurnMeasured
from voicestack.core.settings import ReplyOptions, SessionSettings
from voicestack.core.tools import CallDelta
from voicestack.core.turn_record import Origin, Outcome
from voicestack.core.watching import Observer
from voicestack.ports import Meter, TransportSession
from voicestack.session.alarm import Alarm
from voicestack.session.asides import Asides
from voicestack.session.brief import Brief
from voicestack.session.desk import obey
from voicestack.session.dictations import Dictations
from voicestack.session.ears import Ears, SpeechEvent
from voicestack.session.ledger import Ledger, Whose
from voicestack.session.minutes import Minutes, outcome_of
from voicestack.session.mouth import LiveReply, Mouth
from voicestack.session.pace import Pace
from voicestack.session.primer import Primer
from voicestack.session.quota import UNMETERED, Quota
from voicestack.session.recorder import Recorder
from voicestack.session.served_tools import ServedTools
from voicestack.session.sounds import Sounds
from voicestack.session.stopgaps import Stopgaps
from voicestack.session.tuning import Engines, Tuning
from voicestack.session.witness import Witness
from voicestack.turn import actions, events
from voicestack.turn.machine import step
from voicestack.turn.state import Progress, State

log = logging.getLogger(__name__)


class Session:
    """A conversation with one peer. `run` returns when the peer hangs up; everything ends with it."""

    def __init__(  # noqa: PLR0913 (it is wired in one place)
        self,
        session_id: SessionId,
        transport: TransportSession,
        engines: Engines,
        *,
        settings: SessionSettings,
        tuning: Tuning,
        clock: Clock,
        observer: Observer,
        recorder: Recorder | None = None,
        new_id: Callable[[str], str],
        meter: Meter = UNMETERED,
        origin: Origin = Origin(),  # noqa: B008 (frozen)
        began_unix_ms: int = 0,
    ) -> None:
        self.id, self.new_id, self.history, self.settings = session_id, new_id, History(), settings
        self.scope = Scope()
        clock = self.scope.clock(clock)
        self._transport, self._engines, self._tuning = transport, engines, tuning
        self.tell = transport.tell
        self._clock, self._observer, self._recorder = clock, observer, recorder
        self.state, self._policy, self.fed_ns = State(), tuning.turn_policy, 0
        whose = Whose(session_id, origin, tuning.budget, began_unix_ms, clock.now_ns())
        self.ledger = Ledger(clock, observer, whose)
        self._mouth = Mouth(
            engines,
            tuning,
            clock=clock,
            scope=self.scope,
            speaker=self,
            stamp=self._stamp,
            on_sent=observer.playout_sent,
            meter=meter,
        )
        self._stopgaps = Stopgaps(self._mouth, self.ledger, engines, tuning, self.scope, self.on_failed)
        self.pace = Pace(clock, tuning.budget, engines.forecaster, self._stopgaps)
        self.tool_servers, go_on = engines.tool_servers, self._go_on if tuning.continue_replies else None
        self.served = ServedTools(self, observer, self._receive, go_on)
        self._primer = Primer(engines.llm, self.scope)
        n_tokens, offer = tuning.context_tokens, self.served.offer
        self.brief = Brief(session_id, self.history, n_tokens, new_id, offer, origin.tenant)
        self.quota, self.sounds = Quota(meter, self.tell, tuning.sheds_drafts), Sounds(tuning.keep_audio_s)
        self._minutes = Minutes(
            self.history,
            self.tell,
            new_id,
            engines.tts.rate_hz,
            standings=meter.standings,
            sounds=self.sounds,
            keep_words=tuning.keep_words,
        )
        asr, keep = Witness(engines.asr, self.ledger.recognised), self._minutes.user_sounds
        self.ears = Ears(engines.vad, asr, clock, self.scope, self, tuning.hearing, keep)
        self.asides = Asides(engines, tuning, clock, self.scope, transport, new_id, meter)
        self.dictations = Dictations(engines.asr, clock, self.scope, self.history, self.tell, self._receive)
        self._next_options = ReplyOptions()
        self._silent_since_ns: int | None = None  # of the user for whom a reply begins
        self._alarm = Alarm(clock, lambda: self._feed(events.Tick(clock.now_ns())))

    # --- lifetime -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Converse until the peer hangs up.

        Raises:
            TransportLost: the peer vanished. Anything else is a bug, and ends this session only.
        """
        async with self.scope:
            try:
                self.configure(self.settings)
                await self._transport.run(self.scope.guarded(self._receive))
            finally:  # before the scope ends, so that no callback meets a scope that is gone
                self._close()

    def _close(self) -> None:
        self.ears.close()
        self._mouth.close()
        self.asides.close()
        self.pace.stop()
        self._alarm.set(None)
        self._engines.llm.release(self.id)
        if self._recorder is not None:
            self._recorder.close()

    def configure(self, settings: SessionSettings) -> None:
        """Go on with these settings."""
        self.settings = settings
        self._policy = self._tuning.turn_policy.detecting(settings.turn_detection)
        self.ears.configure(settings.turn_detection, settings.hints)
        self.served.configure(settings.toolbox)
        self._stopgaps.prepare(settings)
        self.prime()

    def queued_ms(self) -> dict[str, float]:
        """Audio in the two queues: for the recogniser, and for the peer."""
        return {"asr": self.ears.waiting_ms, "playout": self._mouth.queued_ms}

    # --- what comes in --------------------------------------------------------------------------------

    def _receive(self, received: AudioFrame | Command) -> None:
        if type(received) is AudioFrame:
            self.ears.hear(received)
            return
        assert not isinstance(received, AudioFrame)
        try:
            obey(self, received)
        except PeerProtocolError as error:
            self.tell(Problem(error, getattr(received, "event_id", None)))

    def on_speech(self, event: SpeechEvent, sample: int) -> None:
        """Called by the ears: write it down, then decide."""
        self.ledger.note(event)
        self._minutes.note(event, sample)
        self._feed(event)
        if type(event) is events.SpeechStarted:
            self.prime()

    def on_partial(self, utterance: UtteranceId, text: str, sure: str) -> None:
        """Called by the ears: words that may still change; the steady ones are read by the LLM already."""
        self._minutes.user_hearing(utterance, text, sure)
        self.prime(self._primer.steady(utterance, text, sure))

    def on_unheard(self, utterance: UtteranceId, error: StageError) -> None:
        """Called by the ears: this utterance will have no words."""
        self._observer.stage_failed(error.stage, error.code)
        self._stopgaps.unheard = error
        self._minutes.user_unheard(utterance, error)

    # --- what is asked for ----------------------------------------------------------------------------

    def ask(self, options: ReplyOptions) -> None:
        """The peer wants a reply now, in the conversation; none is being given."""
        self._next_options = options
        self._feed(events.ReplyRequested(self._clock.now_ns()))

    def call_off(self) -> None:
        """The peer does not want the reply any more."""
        self._feed(events.ReplyCancelled(self._clock.now_ns()))

    # --- decide and act -------------------------------------------------------------------------------

    def _feed(self, event: events.Event) -> None:
        """Decide and act, with no await in between."""
        self.fed_ns = event.at_ns
        is_users = isinstance(event, events.WordsSettled | events.WordsHeard | events.Tick)
        self._silent_since_ns = self.ledger.speech_end_ns if is_users else None
        busy = self.served.is_at_work or self.history.awaits_output()
        policy = self.quota.restrain(self._policy, busy=busy)
        self.state, decided = step(self.state, event, policy)
        for action in decided:
            self._act(action)
        self._alarm.set(self.state.wake_at_ns)
        if self._recorder is not None:  # last: a slow disk must not delay a flush
            self._recorder.policy(policy)
            self._recorder.step(event, decided)
        self.quota.explain(event, self.state, self._policy, policy)

    def _act(self, action: actions.Action) -> None:
        match action:
            case actions.StartReply(turn=turn, words=words, draft=draft):
                self._start(turn, words, draft=draft)
            case actions.NoteSilence():
                self._note_silence()
            case actions.CommitReply(turn=turn):
                self._observer.draft_ended(won=True)
                self._commit(self._live(turn))
            case actions.StopReply(turn=turn, reason=reason):
                self._stop(self._live(turn), reason)
            case actions.RetryReply(turn=turn):
                self.pace.again()
                self._mouth.retry(self._live(turn))
            case actions.Apologise(turn=turn):
                self.pace.stop()
                self._stopgaps.apologise(self._live(turn))
            case actions.Excuse(turn=turn):
                self._excuse(turn)

    def _live(self, turn: TurnId) -> LiveReply:
        live = self._mouth.live
        assert live is not None
        assert live.turn == turn
        return live

    def _start(self, turn: TurnId, words: str, *, draft: bool) -> None:
        """Begin a reply; the words of a draft are not in the history yet."""
        options = ReplyOptions()
        if not draft:
            options, self._next_options = self._next_options, options
        entries, unfinished = self.brief.entries(options), words if draft else ""
        live = self.brief.reply(turn, self.settings, options, entries, unfinished, draft=draft)
        self._primer.cancel()
        zero_ns = self._silent_since_ns or self._clock.now_ns()
        self.pace.begin(live, self.ledger.begin(turn, draft=draft), zero_ns, self.ledger.filled_ns)
        self._mouth.start(live)
        if not draft:
            self._commit(live)

    def _commit(self, live: LiveReply) -> None:
        """The reply becomes part of the conversation and may be heard."""
        self.ledger.commit(live.turn)
        self._minutes.agent_started(live)
        self._mouth.open(live)
        self.pace.watch(live)
        early, live.early_calls = live.early_calls, []
        for delta in early:
            self.on_call(live, delta)

    def _excuse(self, turn: TurnId) -> None:
        live = self.brief.reply(turn, self.settings, ReplyOptions(), ())
        self._minutes.agent_started(live)
        self._stopgaps.excuse(live, is_coming=bool(self.state.overdue))

    def _note_silence(self) -> None:
        """The user has been asked, by a silence, and says nothing: the reply that follows is about that."""
        self._minutes.user_silent(self._policy.idle_ns or 0, self.ears.n_samples)
        prompt = Item(ItemId(""), "user", self._tuning.idle_prompt)
        self._next_options = ReplyOptions(entries=(*self.history, prompt))

    def _stop(self, live: LiveReply, reason: events.StopReason) -> None:
        """Silence first, then clean up."""
        decided_ns = self._clock.now_ns()
        heard_ms = self._mouth.stop(live)
        self.pace.stop()
        if live.committed:
            self._transport.flush()
        if reason == "discarded":
            self._observer.draft_ended(won=False)
            self.ledger.discard(live.turn, live.outcome.n_deltas)
            return
        if reason == "turn_detected":
            self._observer.barge_in(self._clock.now_ns() - decided_ns)
        self._minutes.agent_stopped(live, heard_ms, reason)
        self.served.stopped(live.turn)
        self._measure(live, "interrupted" if reason == "turn_detected" else "silent")

    def _measure(self, live: LiveReply, outcome: Outcome) -> None:
        record = self.ledger.close(live.turn, self._clock.now_ns(), self._minutes.ending(live, outcome))
        self._observer.turn_measured(record.marks)
        self._observer.turn_recorded(record)
        self.tell(TurnMeasured(live.turn, record.marks, record))

    def _go_on(self) -> None:
        if self.quota.allows():
            self.ask(ReplyOptions())

    # --- how the reply goes ---------------------------------------------------------------------------

    def on_frame(self, live: LiveReply, frame: SpokenFrame) -> None:
        """Called by the mouth when a frame is due."""
        self._minutes.agent_speaks(live)
        self._stamp(live.turn, Mark.FILLER_SENT if frame.filler else Mark.FIRST_SENT)
        self._transport.play(live.turn, frame)
        self._minutes.agent_says(live, frame)
        if len(frame.pcm) and not frame.filler:
            self._reached(live)

    def on_call(self, live: LiveReply, delta: CallDelta | None) -> None:
        """Called by the mouth when more of a call was written. Nothing of a draft's calls is seen."""
        if not live.committed:
            live.early_calls.append(delta)
            return
        self.served.take(live, self._minutes.agent_calls(live, delta))
        if delta is not None:
            self._reached(live)

    def _reached(self, live: LiveReply) -> None:
        """Something of the answer has reached the peer: it cannot be begun again."""
        self.pace.stop()
        reply = self.state.reply
        if reply is not None and reply.progress is Progress.THINKING:
            self._feed(events.ReplyAudible(self._clock.now_ns(), live.turn))

    def on_said(self, live: LiveReply) -> None:
        """Called by the mouth when the reply has been played."""
        self.pace.stop()
        self._minutes.agent_said(live)
        self._measure(live, outcome_of(live))
        self.prime()
        self._feed(events.ReplyEnded(self._clock.now_ns(), live.turn))
        self.served.said(live)

    def on_failed(self, live: LiveReply, error: StageError) -> None:
        """Called by the mouth when a stage failed."""
        log.warning("reply %d: %s failed: %s", live.turn, error.stage, error)
        self._observer.stage_failed(error.stage, error.code)
        may_retry = error.retryable and not isinstance(error, StageOverloaded)  # it has waited already
        self._feed(events.ReplyFailed(self._clock.now_ns(), live.turn, may_retry))

    def _stamp(self, turn: TurnId, mark: Mark) -> None:
        now_ns = self._clock.now_ns()
        self.ledger.stamp(turn, mark, now_ns)
        self.pace.stamped(turn, mark, now_ns)

    def prime(self, unfinished: str | None = "") -> None:
        """Let the LLM read what is known of its next prompt, unless it replies; None: nothing new."""
        if unfinished is not None and self._tuning.prime and self._mouth.live is None:
            self._primer.prime(self.brief.prime(self.state.turn, self.settings, unfinished))
