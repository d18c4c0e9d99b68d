"""Writing down what was said: the conversation as heard, and the peer kept up to date on it."""

from collections.abc import Callable
from dataclasses import replace

from voicestack.core.audio import EAR_RATE_HZ, Pcm, SpokenFrame, ms_to_samples, samples_to_ms
from voicestack.core.errors import StageError
from voicestack.core.history import CallItem, History, Item, ItemStatus
from voicestack.core.ids import ItemId, UtteranceId
from voicestack.core.notes import (
    AudioCommitted,
    CallEnded,
    CallStarted,
    CallWritten,
    ItemAdded,
    MessageStarted,
    Note,
    ReplyEnded,
    ReplyReason,
    ReplyStarted,
    ReplyStatus,
    UserHearing,
    UserSaid,
    UserSilent,
    UserStarted,
    UserStopped,
    UserUnheard,
)
from voicestack.core.served import RemoteCall
from voicestack.core.standing import Standing
from voicestack.core.sure import SureWords
from voicestack.core.tools import CallDelta, ToolCall
from voicestack.core.turn_record import Outcome
from voicestack.session.ears import SpeechEvent
from voicestack.session.ledger import Ending
from voicestack.session.mouth import LiveReply
from voicestack.session.sounds import Sounds
from voicestack.turn.events import SpeechEnded, SpeechStarted, WordsHeard


class Minutes:
    """Keeps a session's history. Every change of it is told at once.

    Args:
        history: What it writes to.
        tell: Reaches the peer.
        new_id: Names items.
        tts_rate_hz: Sample rate of the agent's audio.
        aside: The history is not the conversation's.
        standings: What is left of the limits in force.
        sounds: Keeps what the items sounded like.
        keep_words: The ledger gets what was said.
    """

    def __init__(  # noqa: PLR0913 (it is wired in one place)
        self,
        history: History,
        tell: Callable[[Note], None],
        new_id: Callable[[str], str],
        tts_rate_hz: int,
        *,
        aside: bool = False,
        standings: Callable[[], tuple[Standing, ...]] = tuple,
        sounds: Sounds | None = None,
        keep_words: bool = False,
    ) -> None:
        self._history, self._tell, self._new_id = history, tell, new_id
        self._tts_rate_hz = tts_rate_hz
        self._aside, self._standings, self._sounds = aside, standings, sounds or Sounds(0)
        self._keep_words = keep_words
        self._items: dict[UtteranceId, ItemId] = {}
        self._sure: dict[UtteranceId, SureWords] = {}
        self._detected: set[UtteranceId] = set()

    def note(self, event: SpeechEvent, sample: int) -> None:
        """Write down what was heard at media time `sample`; see `Listener.on_speech`."""
        match event:
            case SpeechStarted(utterance=utterance):
                self.user_started(utterance, sample)
            case SpeechEnded(utterance=utterance):
                self.user_stopped(utterance, sample)
            case WordsHeard(utterance=utterance, text=text):
                self.user_said(utterance, text, sample)

    def user_started(self, utterance: UtteranceId, start_sample: int) -> None:
        """The user began to speak, as the detector heard it."""
        self._detected.add(utterance)
        self._tell(UserStarted(self._item_of(utterance), samples_to_ms(start_sample, EAR_RATE_HZ)))

    def user_stopped(self, utterance: UtteranceId, end_sample: int) -> None:
        """The utterance is over: it becomes an item whose words are still to come."""
        item = Item(self._item_of(utterance), "user", None, spoken=True)
        self._sounds.rename(utterance, item.id)
        if utterance in self._detected:
            self._detected.remove(utterance)
            self._tell(UserStopped(item.id, samples_to_ms(end_sample, EAR_RATE_HZ)))
        previous = self._history.add(item)
        self._tell(AudioCommitted(item.id, previous))
        self._tell(ItemAdded(item, previous))

    def user_sounds(self, utterance: UtteranceId, pcm: Pcm) -> None:
        """More of the utterance, int16 mono at EAR_RATE_HZ."""
        self._sounds.add(utterance, pcm, EAR_RATE_HZ)

    def user_hearing(self, utterance: UtteranceId, text: str, sure: str) -> None:
        """What it sounds like so far, and which of these words will stay."""
        sure = self._sure.setdefault(utterance, SureWords()).hear(sure)
        self._tell(UserHearing(self._item_of(utterance), text, sure))

    def user_unheard(self, utterance: UtteranceId, error: StageError) -> None:
        """It will have no words."""
        self._tell(UserUnheard(self._item_of(utterance), error))

    def user_said(self, utterance: UtteranceId, text: str, n_samples: int) -> None:
        """The final words of the utterance, of which `n_samples` were transcribed."""
        item_id = self._items.pop(utterance)
        text = self._sure.pop(utterance, SureWords()).end(text)
        if item_id in self._history:
            self._history.say(item_id, text)
        self._tell(UserSaid(item_id, text, samples_to_ms(n_samples, EAR_RATE_HZ)))

    def user_silent(self, idle_ns: int, end_sample: int) -> None:
        """The user has said nothing for so long: an item without words."""
        start_sample = max(0, end_sample - ms_to_samples(idle_ns / 1e6, EAR_RATE_HZ))
        item = Item(ItemId(self._new_id("item")), "user", "", spoken=True)
        start_ms, end_ms = (samples_to_ms(n, EAR_RATE_HZ) for n in (start_sample, end_sample))
        self._tell(UserSilent(item.id, start_ms, end_ms))
        previous = self._history.add(item)
        self._tell(AudioCommitted(item.id, previous))
        self._tell(ItemAdded(item, previous))

    def agent_started(self, live: LiveReply) -> None:
        """The reply is committed."""
        self._tell(ReplyStarted(live.turn, live.modality, live.tag, self._aside))

    def agent_speaks(self, live: LiveReply) -> None:
        """The reply says something: it gets an item, if it has none, that fills while it is played."""
        if live.announced:
            return
        live.announced = True
        spoken = live.modality == "audio"
        previous = self._history.add(Item(live.item_id, "agent", "", spoken=spoken, status="in_progress"))
        self._tell(MessageStarted(live.turn, live.item_id, previous))

    def agent_calls(self, live: LiveReply, delta: CallDelta | None) -> list[CallItem]:
        """More of a call was written; None when there is nothing more to write.

        Returns:
            The calls that are complete with that.
        """
        cut_off = delta is None and live.outcome.truncated
        ended = [
            self._end_call(live, index, "incomplete" if cut_off else "completed")
            for index, item in live.calls.items()
            if item.status == "in_progress" and (delta is None or index < delta.index)
        ]
        written = [item for item in ended if item.status == "completed"]
        if delta is None:
            return written
        if live.outcome.has_text:  # what is said comes before what is called, however late it is heard
            self.agent_speaks(live)
        if delta.index not in live.calls:
            served, call = live.served.get(delta.name), ToolCall(delta.call_id, delta.name)
            remote = RemoteCall(served.source.label, served.tool.name) if served else None
            item = CallItem(ItemId(self._new_id("item")), call, "in_progress", remote)
            live.calls[delta.index] = item
            self._tell(CallStarted(live.turn, item, self._history.add(item)))
        item = live.calls[delta.index]
        if delta.arguments:
            call = replace(item.call, arguments=item.call.arguments + delta.arguments)
            live.calls[delta.index] = replace(item, call=call)
            self._tell(CallWritten(live.turn, item.id, delta.arguments))
        return written

    def _end_call(self, live: LiveReply, index: int, status: ItemStatus) -> CallItem:
        item = live.calls[index] = replace(live.calls[index], status=status)
        self._history.write(item)
        self._tell(CallEnded(live.turn, item))
        return item

    def agent_says(self, live: LiveReply, frame: SpokenFrame) -> None:
        """A frame left for the peer."""
        speech = self._history.speech(live.item_id)
        speech.append(frame.text, len(frame.pcm) * 1000 / self._tts_rate_hz)
        if live.item_id not in self._history:
            return
        self._sounds.add(live.item_id, frame.pcm, self._tts_rate_hz)
        if frame.text:
            self._history.say(live.item_id, "".join(speech.texts).strip(), status="in_progress")
            if frame.filler:
                self._history.fill(live.item_id)

    def agent_stopped(self, live: LiveReply, heard_ms: float, reason: ReplyReason) -> None:
        """The reply was cut off; only what was heard stays."""
        is_cut = live.modality == "audio" and live.item_id in self._history
        if is_cut:
            self._history.cut(live.item_id, heard_ms)
            self._sounds.cut(live.item_id, heard_ms)
        self._end(live, "cancelled", reason, heard_ms if is_cut else None)

    def agent_said(self, live: LiveReply) -> None:
        """The reply, or the apology in its place, was played to its end."""
        if live.error is not None:
            self._end(live, "failed", None)
        elif live.outcome.truncated:
            self._end(live, "incomplete", "max_output_tokens")
        else:
            self._end(live, "completed", None)

    def ending(self, live: LiveReply, outcome: Outcome) -> Ending:
        """How the reply came to its end, for the ledger; with what was said, if that is kept."""
        failure = live.error.code if live.error else ""
        user = agent = ""
        if self._keep_words:
            said = [one.text for one in live.request.messages if one.role == "user"][-1:]
            item = self._history.message(live.item_id)
            user, agent = "".join(said), (item.text or "") if item else ""
        return Ending(outcome, live.outcome.usage, failure, user, agent)

    def _end(
        self,
        live: LiveReply,
        status: ReplyStatus,
        reason: ReplyReason | None,
        heard_ms: float | None = None,
    ) -> None:
        for index, call in live.calls.items():
            if call.status == "in_progress":
                self._end_call(live, index, "incomplete")
        item = self._history.message(live.item_id)
        if item is not None:
            end: ItemStatus = "completed" if status == "completed" else "incomplete"
            item = self._history.say(live.item_id, item.text or "", status=end)
        elif live.announced:  # the peer deleted it meanwhile
            item = Item(live.item_id, "agent", "", spoken=live.modality == "audio", status="incomplete")
        usage = live.outcome.usage
        usage = replace(
            usage,
            output_tokens=usage.output_tokens or live.outcome.n_deltas,
            output_audio_ms=round(self._history.spoken_ms(live.item_id) or 0.0),
        )
        standings = self._standings()
        self._tell(ReplyEnded(live.turn, item, status, reason, live.error, usage, heard_ms, standings))

    def _item_of(self, utterance: UtteranceId) -> ItemId:
        if utterance not in self._items:
            self._items[utterance] = ItemId(self._new_id("item"))
        return self._items[utterance]


def outcome_of(live: LiveReply) -> Outcome:
    """How a reply has ended that was not stopped."""
    if live.n_frames:
        return "failed" if live.error else "answered"
    return "refused" if live.n_filled or live.error or live.excused else "silent"
