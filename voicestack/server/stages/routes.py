"""Where are the stages, and who may use them at a time?"""

from collections.abc import Callable

from starlette.routing import Route

from voicestack.aio.clock import Clock, unix_s
from voicestack.config.derived import languages_of
from voicestack.config.schema import Config
from voicestack.core.errors import Overloaded
from voicestack.fleet.guests import Guests
from voicestack.server.sessions import new_id
from voicestack.server.stages.admission import Pace, Turnstile
from voicestack.server.stages.completions_api import CompletionsApi
from voicestack.server.stages.endpoint import StageEndpoint
from voicestack.server.stages.listening import Listener
from voicestack.server.stages.models_api import ModelsApi, llm_name, models_of
from voicestack.server.stages.speech_api import SpeechApi
from voicestack.server.stages.transcription_api import TranscriptionApi
from voicestack.session.tuning import Engines
from voicestack.telemetry.metrics import Metrics


def completion_routes(
    config: Config,
    llm: Guests,
    *,
    clock: Clock,
    metrics: Metrics,
    admits: Callable[[], Overloaded | None],
) -> list[Route]:
    """The route of `/v1/chat/completions`.

    Args:
        config: The configuration.
        llm: This server's own language model.
        clock: For deadlines and figures.
        metrics: Is told the figures.
        admits: Why nothing can be taken now; None if it can.
    """
    limits = config.stages
    api = CompletionsApi(
        llm,
        llm_name(config),
        clock,
        new_id,
        limits.max_chat_bytes,
    )
    writing = Turnstile(limits.max_completions, name="completions", admits=admits)
    write = StageEndpoint("completions", "llm", api.answer, writing, clock, metrics)
    return [Route("/v1/chat/completions", write, methods=["POST"])]


def stage_routes(
    config: Config,
    engines: Engines,
    *,
    clock: Clock,
    metrics: Metrics,
    admits: Callable[[], Overloaded | None],
    in_calls: Callable[[], bool],
) -> list[Route]:
    """The routes of `/v1/models` and `/v1/audio`.

    Args:
        config: The configuration.
        engines: The engines that conversations use, too.
        clock: For pace and figures.
        metrics: Is told the figures.
        admits: Why nothing can be taken now; None if it can.
        in_calls: Whether anybody is in a call.
    """
    limits = config.stages
    pace = Pace(clock, ratio=limits.beside_calls_ratio, in_calls=in_calls)
    n_listeners = min(limits.max_transcriptions, max(1, config.asr.workers_max - 1))
    transcription = TranscriptionApi(
        Listener(engines.vad, engines.asr, clock, pace),
        languages_of(config),
        max_upload_bytes=limits.max_upload_bytes,
        max_audio_s=limits.max_audio_s,
        has_words=config.asr.engine == "whisper",
    )
    speech = SpeechApi(engines.tts, pace, limits.max_input_chars)
    models = ModelsApi(models_of(config, unix_s()))
    listening = Turnstile(n_listeners, name="transcriptions", admits=admits)
    speaking = Turnstile(limits.max_speeches, name="speech", admits=admits)
    metrics.queues.watch(lambda: [listening.reading(), speaking.reading()])
    hear = StageEndpoint("transcriptions", "asr", transcription.answer, listening, clock, metrics)
    say = StageEndpoint("speech", "tts", speech.answer, speaking, clock, metrics)
    return [
        Route("/v1/models", models.all),
        Route("/v1/models/{model:path}", models.one),
        Route("/v1/audio/transcriptions", hear, methods=["POST"]),
        Route("/v1/audio/speech", say, methods=["POST"]),
    ]
