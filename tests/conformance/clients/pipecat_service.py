"""A program with `pipecat-ai` and its OpenAI Realtime service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.llm_service import FunctionCallParams
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from program import BRIEF, TALKATIVE, URL, microphone, run, sound

AUDIO = TransportParams(audio_in_enabled=True, audio_out_enabled=True)
RATE_HZ = 24_000
WEATHER = FunctionSchema("get_weather", "The weather in a city.", {"city": {"type": "string"}}, ["city"])


class Ears(BaseInputTransport):
    """Where a telephone or a browser would be: takes what the microphone sends."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def hear(self, pcm: bytes) -> None:
        await self.push_audio_frame(InputAudioRawFrame(pcm, sample_rate=RATE_HZ, num_channels=1))


class Mouth(BaseOutputTransport):
    """Plays as fast as a loudspeaker does."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        await asyncio.sleep(len(frame.audio) / 2 / RATE_HZ)
        return True


class Notes(FrameProcessor):
    """Writes down what comes out of the service."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""
        self.audio = b""
        self.n_answers = 0
        self.n_interruptions = 0
        self.is_speaking = False
        self.failure = ""
        self.has_changed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.said += frame.text
        elif isinstance(frame, TTSAudioRawFrame):
            self.audio += frame.audio
        elif isinstance(frame, LLMFullResponseEndFrame):
            self.n_answers += 1
        elif isinstance(frame, InterruptionFrame):
            self.n_interruptions += 1
        elif isinstance(frame, BotStartedSpeakingFrame | BotStoppedSpeakingFrame):
            self.is_speaking = isinstance(frame, BotStartedSpeakingFrame)
        self.has_changed.set()
        await self.push_frame(frame, direction)


class Call:
    """One pipeline, and what it told."""

    def __init__(self, service: OpenAIRealtimeLLMService, context: LLMContext) -> None:
        self.service = service
        self.context = context
        self.ears = Ears(AUDIO)
        self.notes = Notes()
        turns = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())  # the server's
        aggregators = LLMContextAggregatorPair(context, user_params=turns)
        stages = [self.ears, aggregators.user(), service, self.notes, Mouth(AUDIO), aggregators.assistant()]
        rates = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
        self.worker = PipelineWorker(Pipeline(stages), params=rates)

        self.has_started = asyncio.Event()

        @self.worker.event_handler("on_pipeline_started")
        async def on_pipeline_started(worker: PipelineWorker, frame: Frame) -> None:
            self.has_started.set()

        @self.worker.event_handler("on_pipeline_error")
        async def on_pipeline_error(worker: PipelineWorker, frame: Any) -> None:
            self.notes.failure = frame.error
            self.notes.has_changed.set()

    async def until(self, is_true: Any) -> None:
        while not is_true(self.notes):
            if self.notes.failure:
                raise RuntimeError(self.notes.failure)
            self.notes.has_changed.clear()
            await self.notes.has_changed.wait()

    def of(self, role: str) -> str:
        """What the context holds of one side."""
        return " ".join(str(m["content"]) for m in self.context.get_messages() if m.get("role") == role)


@asynccontextmanager
async def calling(
    model: str, instructions: str = BRIEF, context: LLMContext | None = None
) -> AsyncIterator[Call]:
    """A running pipeline. The test finds its connection by the model."""
    listen = AudioInput(transcription=InputAudioTranscription())
    service = OpenAIRealtimeLLMService(
        api_key="sk-local",
        base_url=f"{URL.replace('http', 'ws', 1)}/realtime",
        settings=OpenAIRealtimeLLMService.Settings(
            model=model,
            system_instruction=instructions,
            session_properties=SessionProperties(audio=AudioConfiguration(input=listen)),
        ),
    )
    call = Call(service, context or LLMContext())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(call.worker)
    running = asyncio.create_task(runner.run())
    try:
        await call.has_started.wait()
        yield call
    finally:
        await call.worker.cancel()
        await running


def asking(text: str, tools: ToolsSchema | None = None) -> LLMContext:
    messages = [{"role": "user", "content": text}]
    return LLMContext(messages, tools) if tools else LLMContext(messages)


async def connect() -> dict[str, Any]:
    async with calling("connect", context=asking("Hello!")) as call:
        await call.worker.queue_frame(LLMRunFrame())
        await call.until(lambda notes: notes.audio)
        return {"instructions": BRIEF}


async def voice_turn() -> dict[str, Any]:
    async with calling("voice_turn") as call, microphone(call.ears.hear) as mic:
        await mic.say("capital")
        await call.until(lambda notes: notes.n_answers)
        return {"user": call.of("user"), "agent": call.notes.said, **sound(call.notes.audio)}


async def barge_in() -> dict[str, Any]:
    context = asking("Tell me something about elephants.")
    async with (
        calling("barge_in", instructions=TALKATIVE, context=context) as call,
        microphone(call.ears.hear) as mic,
    ):
        await call.worker.queue_frame(LLMRunFrame())
        await call.until(lambda notes: len(notes.audio) > 48 * 700)
        await mic.say("time")
        await call.until(lambda notes: notes.n_interruptions)
        said = len(call.notes.said)
        await call.until(lambda notes: len(notes.said) > said)
        return {"next": call.notes.said[said:]}


async def text_turn() -> dict[str, Any]:
    async with calling("text_turn", context=asking("What is the capital of France?")) as call:
        await call.worker.queue_frame(LLMRunFrame())
        await call.until(lambda notes: notes.n_answers)
        return {"agent": call.notes.said}


async def tool_call() -> dict[str, Any]:
    seen: list[FunctionCallParams] = []

    async def get_weather(params: FunctionCallParams) -> None:
        seen.append(params)
        await params.result_callback("sunny, 21 degrees")

    context = asking("What is the weather in Paris?", ToolsSchema(standard_tools=[WEATHER]))
    async with calling("tool_call", context=context) as call:
        call.service.register_function("get_weather", get_weather)
        await call.worker.queue_frame(LLMRunFrame())
        await call.until(lambda notes: notes.said and notes.n_answers > len(seen))
        return {"name": seen[0].function_name, "arguments": seen[0].arguments, "agent": call.notes.said}


async def reconnect() -> dict[str, Any]:
    context = asking("What is the capital of Spain?")
    async with calling("reconnect", context=context) as call, microphone(call.ears.hear) as mic:
        await call.worker.queue_frame(LLMRunFrame())
        try:
            await call.until(lambda notes: False)
        except RuntimeError as error:
            lost = str(error)
        call.service.set_audio_input_paused(True)
        await call.service.reset_conversation()
        call.notes.failure = ""  # each chunk that could not be sent told one
        await call.until(lambda notes: not notes.is_speaking)
        call.service.set_audio_input_paused(False)
        said, answers = len(call.notes.said), call.notes.n_answers
        await mic.say("capital")
        await call.until(lambda notes: notes.n_answers > answers and len(notes.said) > said)
        return {"lost": lost, "agent": call.notes.said[said:]}


run(
    connect=connect,
    voice_turn=voice_turn,
    barge_in=barge_in,
    text_turn=text_turn,
    tool_call=tool_call,
    reconnect=reconnect,
)
