"""How is vLLM's server kept running beside us? On a Unix socket, as llama.cpp's is.

A process that dies is started again by `child`; requests wait for it as long as they may.
"""

import asyncio
import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from voicestack.aio.clock import Clock
from voicestack.aio.scope import Scope
from voicestack.config.vllm import VllmSection
from voicestack.core.errors import ConfigError
from voicestack.engines.child import Child
from voicestack.engines.gguf import NotGguf
from voicestack.engines.gguf_export import exported
from voicestack.engines.llama_server import cache_folder, packaged_model, wait_healthy
from voicestack.engines.model_store import find_model
from voicestack.engines.speculation import Version
from voicestack.engines.vllm_command import Line, Place, command, environment, warning_of
from voicestack.engines.vllm_installed import look_at, version_text
from voicestack.engines.vllm_metrics import VllmMetrics

log = logging.getLogger(__name__)

OLDEST: Version = (0, 19, 0)
"""Older ones lack more than options."""


class VllmServer:
    """A supervised vLLM, on a Unix socket in a directory of its own: it needs no free port and no key.

    Args:
        clock: For the supervision.
        section: What is configured.
        models: Folder of the models.
        context_tokens: Longest conversation with its answer.
        probe: Further waiting, after the server says that it is healthy; raises what `child.Child` allows.

    Attributes:
        child: The process; give it to `OpenAiLlm`.
        url: For `OpenAiLlm`.
        metrics: Its figures.
        env: The process's environment.

    Raises:
        ConfigError: vLLM or the model is missing.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        section: VllmSection,
        models: Path,
        context_tokens: int,
        probe: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._section = section
        self._python = section.python or sys.executable
        self._version = version_text(section.python)
        self._model = find_model(section.model, models) if section.model else Path(packaged_model())
        self._draft = str(find_model(section.speculation_model, models)) if section.speculation_model else ""
        for name, path in section.loras.items():
            if not Path(path).expanduser().is_dir():
                raise ConfigError(f"vllm.loras: there is no folder {path} for the adapter '{name}'")
        self._context_tokens = context_tokens
        self._more = probe
        self.env = environment(section, os.environ)
        self._folder = Path(tempfile.gettempdir()) / f"voicestack-{secrets.token_hex(8)}"
        self._socket = self._folder / "vllm.sock"
        self._rate_file = cache_folder() / f"vllm-rate-{self._model.name}.json"
        self._line: Line | None = None
        self.url = f"unix:{self._socket}"
        self.metrics = VllmMetrics(self.url)
        self.child = Child(
            self._prepare,
            name="vllm",
            stage="llm",
            clock=clock,
            probe=self._probe,
            env=self.env,
        )
        self.child.start_limit_s = section.start_limit_s

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

    def figures(self) -> dict[str, float]:
        """See `VllmMetrics.figures`."""
        return self.metrics.figures()

    def line(self) -> Line:
        """The command line. Takes seconds the first time: it asks vLLM which options it knows.

        Raises:
            ConfigError: vLLM does not say, or the model cannot be loaded by it.
        """
        installed = look_at(self._python, self._version, cache_folder(), self.env)
        if (0, 0, 0) < installed.version < OLDEST:
            raise ConfigError(f"vLLM {self._version} is too old: {'.'.join(map(str, OLDEST))} is needed")
        place = Place(
            self._python,
            self._folder_of_model(),
            self._socket,
            self._context_tokens,
            draft=self._draft,
            prefill_tokens_per_s=self._last_rate(),
        )
        return command(self._section, place, installed)

    async def run(self) -> None:
        """Keep it running until cancelled.

        Raises:
            ConfigError: see `line`.
        """
        self._folder.mkdir(mode=0o700)
        try:
            self._line = await asyncio.to_thread(self.line)
            log.info("vLLM %s: %s", self._version, self._line)
            if self._line.left_out:
                log.warning(warning_of(self._line.left_out))
            async with Scope() as scope:
                scope.start(self.metrics.run(), name="vllm-metrics")
                await self.child.run()
        finally:
            self._keep_rate()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _prepare(self) -> tuple[str, ...]:
        self._socket.unlink(missing_ok=True)  # it outlives the process, which would refuse to start again
        assert self._line is not None
        return self._line.words

    async def _probe(self, _process: asyncio.subprocess.Process) -> None:
        await wait_healthy(self._socket)
        if self._more is not None:
            await self._more()

    def _folder_of_model(self) -> str:
        if self._model.suffix != ".gguf":
            return str(self._model)
        try:
            return str(exported(self._model, cache_folder()))
        except (NotGguf, OSError) as error:
            raise ConfigError(f"vllm.model: {self._model} cannot be written for vLLM: {error}") from error

    def _last_rate(self) -> int:
        try:
            rate = json.loads(self._rate_file.read_text())
        except (OSError, ValueError):
            return 0
        return rate if isinstance(rate, int) else 0

    def _keep_rate(self) -> None:
        """For the limits of the next start."""
        if rate := self.metrics.prefill_tokens_per_s:
            try:
                self._rate_file.parent.mkdir(parents=True, exist_ok=True)
                self._rate_file.write_text(json.dumps(rate))
            except OSError as error:
                log.warning("cannot write %s: %s", self._rate_file, error)
