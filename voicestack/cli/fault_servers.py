"""Which processes does the fault bench need? A server under test, whose stages all run elsewhere.

ASR and TTS are a second voicestack's (PocketSphinx and eSpeak NG), the LLM is a llama-server with SmolLM2;
each is reached through a proxy that can fail in its place.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.cli.bench_server import free_port, own_server
from voicestack.cli.dialing import NoServer
from voicestack.cli.fault_cells import STAGES
from voicestack.cli.fault_proxy import FaultProxy
from voicestack.core.errors import StageUnavailable
from voicestack.engines.llama_server import LlamaOptions, LlamaServer

_START_S = 120.0
SPARE = "spare"
REPLICA = (
    *("profile=replica", "llm.engine=scripted", "llm.prime=false", "vad.engine=energy"),
    *("webrtc.enabled=false", "budget.readiness_turn_ms=60000"),
    # A busy machine is no fault: what is refused for its sake would be taken for one.
    *("admission.enabled=false", "stages.max_transcriptions=16", "stages.max_speeches=16"),
    # A quick voice, so that a run does not consist of listening.
    "tts.rate_wpm=240",
)
UNDER_TEST = (
    *("asr.engine=openai", "llm.engine=openai", "llm.model=smollm2", "tts.engine=openai"),
    *("webrtc.enabled=false", "budget.readiness_turn_ms=60000", "admission.enabled=false"),
)


def options_of(sets: Sequence[str], config: str = "embedded") -> list[str]:
    """Arguments of `voicestack serve`."""
    return ["--config", config, *(argument for one in sets for argument in ("--set", one))]


@asynccontextmanager
async def stage_proxies(clock: Clock) -> AsyncIterator[dict[str, FaultProxy]]:
    """The stages' servers, started, each behind its proxy, by the stage's name; and a second way to each.

    Raises:
        NoServer: one of them does not become ready.
    """
    port = free_port()
    async with AsyncExitStack() as stack:
        scope = await stack.enter_async_context(Scope())
        llama = LlamaServer(clock=clock, options=LlamaOptions(slots=4))
        scope.start(llama.run(), name="llama-server")
        await stack.enter_async_context(
            own_server(options_of(REPLICA), port=port, cpu=None, ready_s=_START_S)
        )
        try:
            await llama.child.ready(round(_START_S * 1e9))
        except StageUnavailable as gone:
            raise NoServer(str(gone)) from gone
        speech = f"http://127.0.0.1:{port}"
        targets = {"asr": speech, "llm": llama.url, "tts": speech}
        ways = {**targets, **{f"{SPARE}-{stage}": url for stage, url in targets.items()}}
        yield {
            name: await stack.enter_async_context(FaultProxy(url, clock=clock)) for name, url in ways.items()
        }


@asynccontextmanager
async def server_under_test(
    proxies: Mapping[str, FaultProxy],
    *,
    enforce: bool,
    spare: bool = False,
    sets: Sequence[str] = (),
    log_to: Path | None = None,
) -> AsyncIterator[str]:
    """A voicestack whose stages are behind the proxies. Yields its address.

    Args:
        proxies: By stage.
        enforce: `ladder.enforce`.
        spare: Each stage has a second replica, which nothing happens to. It is the same process by another
            way, so that it costs nothing while it is not asked.
        sets: Further settings, `key=value`.
        log_to: Its log is added to this file.

    Raises:
        NoServer: it does not become ready.
    """
    port = free_port()
    where = (
        f"asr_server.url={proxies['asr'].url}/v1",
        f"llm.url={proxies['llm'].url}/v1",
        f"tts_server.url={proxies['tts'].url}/v1",
        f"ladder.enforce={str(enforce).lower()}",
        *(f"fleet.{stage}.{SPARE}.url={proxies[f'{SPARE}-{stage}'].url}/v1" for stage in STAGES if spare),
    )
    options = options_of([*UNDER_TEST, *where, *sets])
    async with own_server(options, port=port, cpu=None, ready_s=_START_S, log_to=log_to):
        yield f"ws://127.0.0.1:{port}"
