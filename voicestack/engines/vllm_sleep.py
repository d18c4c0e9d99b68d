"""How is a vLLM server put to sleep and woken? Over its own socket, by the routes of its development mode.

`/sleep`, `/wake_up` and `/is_sleeping` exist only with `--enable-sleep-mode` and VLLM_SERVER_DEV_MODE=1, and
only on CUDA and ROCm. Such a server must not be reachable by anybody else: it listens on a Unix socket in a
directory of ours.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx

from voicestack.core.errors import StageUnavailable
from voicestack.engines.child import Child
from voicestack.engines.sse import ChatClient

SLEEP_FLAG = "--enable-sleep-mode"
SLEEP_ENVIRONMENT = {"VLLM_SERVER_DEV_MODE": "1"}
LEVEL = 1
"""The weights go to RAM and the KV cache is dropped. Level 2 drops the weights, too, and reads them from disk
when it wakes: 2-3 times as long."""


class VllmSleeper:
    """Satisfies `warm_pair.Sleeper`.

    Args:
        child: The process.
        run: Keeps it running until cancelled, and cleans up; `child.run` or more.
        socket: Where it listens.
        model: By what name it knows its model.
        prompt: Messages, as the API has them, that are read after a wake: the default instructions, so that
            their KV is there again.
    """

    def __init__(
        self,
        child: Child,
        run: Callable[[], Awaitable[None]],
        socket: Path,
        *,
        model: str,
        prompt: Sequence[dict[str, Any]],
    ) -> None:
        self.child, self.socket, self._run = child, socket, run
        self._body = {"model": model, "messages": list(prompt), "max_tokens": 1, "stream": True}

    async def run(self) -> None:
        """See `Sleeper`."""
        await self._run()

    async def sleep(self) -> None:
        """See `Sleeper`."""
        await self._post(f"/sleep?level={LEVEL}")

    async def wake(self) -> None:
        """See `Sleeper`."""
        await self._post("/wake_up")
        client = ChatClient(f"unix:{self.socket}")
        try:
            async with aclosing(client.events(self._body)) as events:
                async for _ in events:
                    pass
        finally:
            await client.close()

    async def is_sleeping(self) -> bool:
        """Whether it sleeps, as it says. Raises StageUnavailable."""
        answer = await self._ask("GET", "/is_sleeping")
        return bool(answer.json().get("is_sleeping"))

    async def _post(self, path: str) -> None:
        await self._ask("POST", path)

    async def _ask(self, method: str, path: str) -> httpx.Response:
        """No time limit of our own: whoever asks has one."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=False)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=None) as client:
                answer = await client.request(method, f"http://localhost{path}")
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise StageUnavailable(f"{self.child.name}: {method} {path}: {reason}", stage="llm") from error
        if not answer.is_success:
            said = answer.text[:200]
            raise StageUnavailable(
                f"{self.child.name}: {method} {path}: HTTP {answer.status_code}: {said}", stage="llm"
            )
        return answer
