"""What one session is told to be: the part of its configuration that the peer may change while it runs."""

from dataclasses import dataclass
from typing import Literal

from voicestack.core.hints import NO_HINTS, Hints
from voicestack.core.history import Entry
from voicestack.core.ids import ItemId
from voicestack.core.tools import NO_TOOLS, Toolbox

Modality = Literal["audio", "text"]


@dataclass(frozen=True, slots=True)
class ServerVad:
    """Silence-based end of turn, with the meaning the Realtime API gives it.

    Attributes:
        threshold: p_speech from which a window counts as speech, 0..1.
        prefix_padding_ms: Audio before the detected start that still belongs to the utterance.
        silence_duration_ms: Silence, in media time, that ends the utterance.
        create_response: Answer by itself.
        interrupt_response: Stop speaking when the user speaks.
        idle_timeout_ms: When the user says nothing for so long after the agent has spoken, the agent speaks
            again; None for never.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The settings of a session.

    Attributes:
        instructions: The system prompt.
        modality: Whether replies are spoken or written.
        voice: A voice name of the TTS; unknown names mean its default.
        speed: Speaking rate, 0.25..1.5, 1.0 is the voice's own.
        turn_detection: None when the client commits turns by itself.
        max_output_tokens: Longest reply in LLM tokens; None for the engine's limit.
        show_transcripts: Tell the peer what was understood (`input_audio_transcription`).
        hints: What the ASR may go by, from the next utterance on.
        toolbox: What the LLM may call.
        tool_places: Where the servers in a toolbox may be (see `may_reach`). The peer cannot change it.
        takes_images: Whether the LLM can be shown pictures. Nor this.
        model: The name of the LLM that the peer asked for when it connected. Nor this.
        languages: What the ASR can be told of, as ISO 639-1; empty if it ignores that. Nor this.
    """

    instructions: str = ""
    modality: Modality = "audio"
    voice: str = "default"
    speed: float = 1.0
    turn_detection: ServerVad | None = ServerVad()
    max_output_tokens: int | None = None
    show_transcripts: bool = True
    hints: Hints = NO_HINTS
    toolbox: Toolbox = NO_TOOLS
    tool_places: tuple[str, ...] = ()
    takes_images: bool = False
    model: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """What one `response.create` changes for its reply alone; None keeps the session's value.

    Attributes:
        entries: Answer to these, in place of the conversation; a name stands for the entry of that name.
        aside: The reply is no part of the conversation, and may be given beside another one.
        tag: The peer's name for its wish; comes back in `ReplyStarted`.
    """

    instructions: str | None = None
    modality: Modality | None = None
    voice: str | None = None
    max_output_tokens: int | None = None
    toolbox: Toolbox | None = None
    entries: tuple[Entry | ItemId, ...] | None = None
    aside: bool = False
    tag: str = ""
