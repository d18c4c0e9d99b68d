"""What does this session look like to its peer, and what does a `session.update` make of it?

The session object of the Realtime API is always shown whole: clients draw wrong conclusions from a default
that is left out (an absent `interrupt_response` is read as false, say).
"""

from dataclasses import dataclass
from typing import Any

from voicestack.core.hints import Hints, hints_of
from voicestack.core.ids import SessionId
from voicestack.core.settings import Modality, ServerVad, SessionSettings
from voicestack.realtime.checks import JsonObject, refuse
from voicestack.realtime.formats import AudioFormat, format_of, wire_format
from voicestack.realtime.mcp_fields import shown_tools, with_addresses
from voicestack.realtime.session_fields import SESSION_UPDATE, ga_names, toolbox_of

EAGERNESS_SCALE = {"low": 1.6, "medium": 1.0, "auto": 1.0, "high": 0.6}
"""`semantic_vad` is served by silence: the server's own duration, stretched for a patient agent."""


@dataclass(frozen=True, slots=True)
class SessionObject:
    """One state of the session. `fields` is the whole `realtime` session object, never changed in place.

    `defaults` fills what a client leaves out of a `turn_detection` or a `transcription` that it sets.
    """

    fields: JsonObject
    defaults: SessionSettings

    @staticmethod
    def opening(
        session_id: SessionId, model: str, defaults: SessionSettings, expires_at_s: int
    ) -> "SessionObject":
        """The session before the client has changed anything. `expires_at_s` is Unix time."""
        vad = defaults.turn_detection
        known = {"language": defaults.hints.language, "prompt": defaults.hints.prompt}
        transcription = {name: hint for name, hint in known.items() if hint}
        fields = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "expires_at": expires_at_s,
            "output_modalities": [defaults.modality],
            "instructions": defaults.instructions,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": defaults.max_output_tokens or "inf",
            "truncation": "auto",
            "tracing": None,
            "prompt": None,
            "include": None,
            "audio": {
                "input": {
                    "format": wire_format("audio/pcm"),
                    "transcription": _filled(transcription) if defaults.show_transcripts else None,
                    "noise_reduction": None,
                    "turn_detection": _filled_vad({"type": "server_vad"}, vad) if vad else None,
                },
                "output": {
                    "format": wire_format("audio/pcm"),
                    "voice": defaults.voice,
                    "speed": defaults.speed,
                },
            },
        }
        return SessionObject(fields, defaults)

    def patched(self, update: Any, path: str = "session") -> "SessionObject":
        """What a `session.update` with this `session` field makes of it.

        Only the keys that are present change anything; `audio.input` and `audio.output` merge key by key,
        `turn_detection`, `transcription` and the like are replaced as a unit and then filled. The model is
        fixed and whatever the client says about it is ignored.

        Raises:
            PeerProtocolError: a value is wrong; nothing is changed.
        """
        patch: JsonObject = SESSION_UPDATE(ga_names(update), path)
        if "tools" in patch:
            patch["tools"] = self.with_addresses(patch["tools"], f"{path}.tools")
        sides = patch.pop("audio", {})
        audio = {side: {**old, **sides.get(side, {})} for side, old in self.fields["audio"].items()}
        heard = audio["input"]
        if heard["transcription"] is not None:
            heard["transcription"] = _filled(heard["transcription"])
            self._check_language(heard["transcription"], f"{path}.audio.input.transcription.language")
        if heard["turn_detection"] is not None:
            heard["turn_detection"] = _filled_vad(heard["turn_detection"], self.defaults.turn_detection)
        return SessionObject({**self.fields, **patch, "audio": audio}, self.defaults)

    def with_addresses(self, tools: list[JsonObject], path: str) -> list[JsonObject]:
        """The checked tools with what this session knows of servers with the same labels.

        Raises:
            PeerProtocolError: a server has no address, or one that must not be called.
        """
        return with_addresses(tools, self.fields["tools"], self.defaults.tool_places, path)

    @property
    def is_transcription(self) -> bool:
        """Whether this session only listens."""
        return bool(self.fields["type"] == "transcription")

    @property
    def input_format(self) -> AudioFormat:
        """How the client writes audio."""
        return format_of(self.fields["audio"]["input"]["format"])

    @property
    def takes_images(self) -> bool:
        """Whether the client may show pictures."""
        return self.defaults.takes_images

    @property
    def output_format(self) -> AudioFormat:
        """How the client reads audio."""
        return format_of(self.fields["audio"]["output"]["format"])

    @property
    def shows_transcripts(self) -> bool:
        """Whether the client wants to know what was understood. A transcription session always does."""
        return self.is_transcription or self.fields["audio"]["input"]["transcription"] is not None

    @property
    def voice_name(self) -> str:
        """The voice, whether it was given by name or as an object."""
        return name_of(self.fields["audio"]["output"]["voice"])

    def wire(self) -> JsonObject:
        """The session object as the client sees it, with every default filled."""
        if not self.is_transcription:
            return {**self.fields, "tools": shown_tools(self.fields["tools"])}
        kept = {name: self.fields[name] for name in ("type", "id", "expires_at", "include")}
        audio = {"input": self.fields["audio"]["input"]}
        return {**kept, "object": "realtime.transcription_session", "audio": audio}

    def settings(self) -> SessionSettings:
        """What the session is told to be."""
        fields, heard = self.fields, self.fields["audio"]["input"]
        modality: Modality = fields["output_modalities"][0]
        limit = fields["max_output_tokens"]
        return SessionSettings(
            instructions=fields["instructions"],
            modality=modality,
            voice=self.voice_name,
            speed=fields["audio"]["output"]["speed"],
            turn_detection=self._vad(heard["turn_detection"]),
            max_output_tokens=None if limit == "inf" else limit,
            show_transcripts=self.shows_transcripts,
            hints=self._hints(heard["transcription"] or {}),
            toolbox=toolbox_of(fields["tools"], fields["tool_choice"]),
            tool_places=self.defaults.tool_places,
            takes_images=self.defaults.takes_images,
            model=self.defaults.model,
            languages=self.defaults.languages,
        )

    def _hints(self, transcription: JsonObject) -> Hints:
        own, said = self.defaults.hints, _said(transcription)
        return Hints(said.language or own.language, said.prompt or own.prompt)

    def _check_language(self, transcription: JsonObject, path: str) -> None:
        language, known = _said(transcription).language, self.defaults.languages
        if language and known and language not in known:
            expected = f"a language that the recogniser knows ({', '.join(known)})"
            refuse(path, expected, transcription["language"])

    def _vad(self, detection: JsonObject | None) -> ServerVad | None:
        if detection is None:
            return None
        own = self.defaults.turn_detection or ServerVad()
        if detection["type"] == "semantic_vad":
            threshold, padding_ms = own.threshold, own.prefix_padding_ms
            silence_ms = round(own.silence_duration_ms * EAGERNESS_SCALE[detection["eagerness"]])
            idle_timeout_ms = None
        else:
            threshold, padding_ms = detection["threshold"], detection["prefix_padding_ms"]
            silence_ms = detection["silence_duration_ms"]
            idle_timeout_ms = detection["idle_timeout_ms"]
        return ServerVad(
            threshold=threshold,
            prefix_padding_ms=padding_ms,
            silence_duration_ms=silence_ms,
            create_response=detection["create_response"] and not self.is_transcription,
            interrupt_response=detection["interrupt_response"],
            idle_timeout_ms=None if self.is_transcription else idle_timeout_ms,
        )


def name_of(wire_voice: str | JsonObject) -> str:
    """The name in a checked `voice`."""
    return wire_voice if isinstance(wire_voice, str) else str(wire_voice["id"])


def _said(transcription: JsonObject) -> Hints:
    wanted = transcription
    return hints_of(wanted.get("language"), wanted.get("prompt"), wanted.get("keywords") or ())


def _filled(transcription: JsonObject) -> JsonObject:
    return {"model": "default", **transcription}


def _filled_vad(detection: JsonObject, own: ServerVad | None) -> JsonObject:
    own = own or ServerVad()
    replies = {"create_response": own.create_response, "interrupt_response": own.interrupt_response}
    if detection["type"] == "semantic_vad":
        return {"eagerness": "auto", **replies, **detection}
    return {
        "threshold": own.threshold,
        "prefix_padding_ms": own.prefix_padding_ms,
        "silence_duration_ms": own.silence_duration_ms,
        "idle_timeout_ms": None,
        **replies,
        **detection,
    }
