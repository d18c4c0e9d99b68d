"""What spans does a finished turn become? Names, times and attributes, without any library.

Names that begin with `gen_ai.` are OpenTelemetry's semantic conventions for generative AI (in development;
github.com/open-telemetry/semantic-conventions-genai, built on the conventions' version 1.41). What they have
no name for begins with `voicestack.`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from voicestack.core.marks import Mark, Span, hidden_ms
from voicestack.core.rungs import Rung
from voicestack.core.turn_record import TurnRecord, Use, exposed_ms

Value = str | bool | int | float
Values = Mapping[str, Value]

AGENT = "voicestack"
PROVIDERS = {"openai": "openai", "llama_server": "llama.cpp"}
"""Of `llm.engine`, where it goes by another name among people."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What goes into spans beyond the record.

    Attributes:
        provider: Who runs the language model; see PROVIDERS.
        model: Its name.
        words: Say what was said.
    """

    provider: str = ""
    model: str = ""
    words: bool = False


@dataclass(frozen=True, slots=True)
class Happening:
    """An instant within a span: Unix nanoseconds."""

    name: str
    at_ns: int
    values: Values


@dataclass(frozen=True, slots=True)
class Shape:
    """A span.

    Attributes:
        name: Of it.
        start_ns: Unix nanoseconds.
        end_ns: Likewise.
        values: Its attributes.
        happenings: Its events.
        asks: Whether another process was asked (kind CLIENT).
        failure: Stable code of what broke it; empty for nothing.
        drafted: Whether it was begun by the draft: linked to its span.
    """

    name: str
    start_ns: int
    end_ns: int
    values: Values
    happenings: tuple[Happening, ...] = ()
    asks: bool = False
    failure: str = ""
    drafted: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """A turn: its root, the draft that began it, if one did, and its stages."""

    root: Shape
    draft: Shape | None = None
    stages: tuple[Shape, ...] = field(default_factory=tuple)


def trace_of(record: TurnRecord, telling: Telling) -> Trace:
    """The spans of a turn that is over. A turn without marks is an instant."""
    at = record.marks.at_ns
    zero_ns = at.get(Mark.SPEECH_END, min(at.values(), default=0))
    shift_ns = record.began_unix_ms * 1_000_000 - zero_ns
    instants = [zero_ns, *at.values(), *(taken.at_ns for taken in record.taken)]
    spans = record.marks.spans()
    stages = tuple(_stage(record, span, shift_ns + zero_ns, telling) for span in spans)
    shown = {span.stage for span in spans}
    root = Shape(
        f"invoke_agent {AGENT}",
        min(instants) + shift_ns,
        max(instants) + shift_ns,
        {**_turn_values(record, spans), **_gen_ai_values(record, telling)},
        (*_rungs(record, shift_ns), *_asked(record, shown, zero_ns + shift_ns)),
        failure=record.failure or ("failed" if record.outcome == "failed" else ""),
    )
    return Trace(root, _draft(record, shift_ns), stages)


def _stage(record: TurnRecord, span: Span, zero_ns: int, telling: Telling) -> Shape:
    start_ns, end_ns = zero_ns + int(span.start_ms * 1e6), zero_ns + int(span.end_ms * 1e6)
    values: dict[str, Value] = {"voicestack.stage": span.stage}
    if span.hidden_ms > 0:
        values["voicestack.hidden_ms"] = span.hidden_ms
    in_vain = []
    n_uses = 0
    for use in record.uses:
        if use.stage == span.stage:
            n_uses += 1
            if use.won:
                values |= _use_values(use, record.origin.region)
            else:
                in_vain.append(
                    Happening("voicestack.asked_in_vain", start_ns, _use_values(use, record.origin.region))
                )
    name = span.stage
    if span.stage == "llm":
        name = f"chat {telling.model}".rstrip()
        values |= _chat_values(telling, span)
    return Shape(
        name,
        start_ns,
        end_ns,
        values,
        tuple(in_vain),
        asks=n_uses > 0,
        drafted=record.marks.drafted and span.stage in ("llm", "tts") and span.hidden_ms > 0,
    )


def _chat_values(telling: Telling, span: Span) -> Values:
    """Of the span from the request to the first token: what follows overlaps with the voice."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": telling.provider,
        **({"gen_ai.request.model": telling.model} if telling.model else {}),
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": span.duration_ms / 1e3,
    }


def _draft(record: TurnRecord, shift_ns: int) -> Shape | None:
    """From the soft end, at which the answer was begun, to the decision that the user had finished."""
    start_ns, end_ns = (record.marks.at_ns.get(mark) for mark in (Mark.LLM_SENT, Mark.ENDPOINT))
    if not record.marks.drafted or start_ns is None or end_ns is None or end_ns < start_ns:
        return None
    return Shape("draft", start_ns + shift_ns, end_ns + shift_ns, {})


def _rungs(record: TurnRecord, shift_ns: int) -> Iterator[Happening]:
    for taken in record.taken:
        values: dict[str, Value] = {
            "voicestack.rung": taken.rung.value,
            "voicestack.reason": taken.reason,
            "voicestack.remaining_ms": taken.remaining_ms,
        }
        if taken.forecast_ms is not None:
            values["voicestack.forecast_ms"] = taken.forecast_ms
        yield Happening("voicestack.rung", taken.at_ns + shift_ns, values)


def _asked(record: TurnRecord, shown: set[str], at_ns: int) -> Iterator[Happening]:
    """Requests of stages that have no span: nothing came of them."""
    for use in record.uses:
        if use.stage not in shown:
            values = _use_values(use, record.origin.region) | {"voicestack.stage": use.stage}
            yield Happening("voicestack.asked_in_vain", at_ns, values)


def _use_values(use: Use, own_region: str) -> dict[str, Value]:
    values: dict[str, Value] = {"voicestack.replica": use.replica}
    if use.region != own_region:
        values["voicestack.region"] = use.region
    if not use.warm:
        values["voicestack.cold"] = True
    if use.first_ms is not None:
        values["voicestack.first_ms"] = use.first_ms
    return values


def _turn_values(record: TurnRecord, spans: Sequence[Span]) -> Values:
    """What there is to say: an attribute costs as much whether it says something or not."""
    marks, verdict = record.marks, record.verdict
    worst = max((taken.rung for taken in record.taken), key=lambda rung: rung.place, default=Rung.FULL)
    is_over = verdict in ("declared", "missed") and spans
    perhaps: dict[str, Value | None] = {
        "voicestack.response_ms": marks.response_ms,
        "voicestack.heard_after_ms": marks.heard_after_ms,
        "voicestack.silence_ms": record.silence_ms,
        "voicestack.rung": worst.value if worst is not Rung.FULL else None,
        "voicestack.blamed": max(spans, key=exposed_ms).stage if is_over else None,
        "voicestack.cold": record.was_cold or None,
        "voicestack.cut_off": record.was_cut_off or None,
        "voicestack.drafted": marks.drafted or None,
        "voicestack.n_drafts": record.n_drafts or None,
        "voicestack.drafted_tokens": record.drafted_tokens or None,
        "voicestack.wasted_tokens": record.wasted_tokens or None,
    }
    return {
        "voicestack.turn.id": record.id,
        "voicestack.tenant": record.origin.tenant,
        "voicestack.route": record.origin.route,
        "voicestack.budget_ms": record.budget_ms,
        "voicestack.verdict": verdict,
        "voicestack.outcome": record.outcome,
        "voicestack.hidden_ms": hidden_ms(spans),
        **{name: value for name, value in perhaps.items() if value is not None},
    }


def _gen_ai_values(record: TurnRecord, telling: Telling) -> Values:
    values: dict[str, Value] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": telling.provider,
        "gen_ai.agent.name": AGENT,
        "gen_ai.conversation.id": record.session,
        "gen_ai.output.type": "speech",
        "gen_ai.usage.input_tokens": record.read_tokens,
        "gen_ai.usage.output_tokens": record.written_tokens,
    }
    if telling.model:
        values["gen_ai.request.model"] = telling.model
    if telling.words and record.user_text:
        values["gen_ai.input.messages"] = _message("user", record.user_text)
    if telling.words and record.agent_text:
        values["gen_ai.output.messages"] = _message("assistant", record.agent_text)
    return values


def _message(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}], ensure_ascii=False)
