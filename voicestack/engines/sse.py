"""How does a streamed chat completion get here, and what do the server's failures mean?"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

import httpx
import orjson

from voicestack.core.errors import (
    StageError,
    StageExpired,
    StageOverloaded,
    StageRejected,
    StageUnavailable,
)
from voicestack.core.notes import Usage
from voicestack.engines.api_client import api_client
from voicestack.engines.chat_event import MAX_EVENT_BYTES, chat_event

NO_HEADERS: Mapping[str, str] = {}
RENDER_S = 2.0
"""A prompt is rendered in milliseconds, but the server may be busy with its model."""
MAX_MESSAGE_CHARS = 300
FULL = ("currently busy", "backlog limit", '"code":"overloaded"')
"""What vLLM says with 503 when its limits are reached (--max-num-queued-reqs, --max-num-queued-tokens), and
what another voicestack says."""


class PromptTooLong(StageError):
    """The conversation does not fit into the model's context. Not the replica's fault."""

    code = "prompt_too_long"


class ChatClient:
    """One OpenAI-compatible server, by its base URL.

    httpx adds about 1 ms to the first token and 0.1 ms of CPU per token over bare asyncio streams (2.5 GHz
    Xeon), which is not worth an HTTP client of our own.

    Args:
        url: `http(s)://host:port`, with the path of the API where it is not `/v1`; or `unix:/path` for a
            server on a Unix socket.
        api_key: Sent as a bearer token.

    Attributes:
        n_full: How often the server refused a request because it is full (503, 429).
    """

    def __init__(self, url: str, *, api_key: str | None = None) -> None:
        self.url = url
        self.n_full = 0
        self._client = api_client(url, api_key=api_key, headers={"Accept": "text/event-stream"})

    async def events(
        self, body: dict[str, Any], headers: Mapping[str, str] = NO_HEADERS
    ) -> AsyncGenerator[dict[str, Any], None]:
        """POST a chat completion, or with a `prompt` a plain one, and yield every event until `[DONE]`.

        Closing the generator closes the connection, which is how a server learns that nobody listens.

        Args:
            body: The JSON.
            headers: Of this request, besides.

        Raises:
            StageOverloaded: the server is full.
            StageUnavailable: it is gone or failing.
            StageRejected: it will never serve this (model, key).
            PromptTooLong: the messages do not fit.
        """
        try:
            response = await self._post(
                "/completions" if "prompt" in body else "/chat/completions", orjson.dumps(body), headers
            )
            try:
                if response.status_code != httpx.codes.OK:
                    error = refusal(response.status_code, await response.aread())
                    self.n_full += isinstance(error, StageOverloaded)
                    raise error
                rest = b""
                async for data in response.aiter_raw():
                    *lines, rest = (rest + data).split(b"\n")
                    if len(rest) > MAX_EVENT_BYTES:
                        raise StageUnavailable(f"{self.url} sends no events", stage="llm")
                    for line in lines:
                        if not line.startswith(b"data:"):
                            continue
                        if line[5:].strip() == b"[DONE]":
                            return
                        yield _event(line[5:])
            except (asyncio.CancelledError, GeneratorExit):
                hang_up(response)
                raise
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise StageUnavailable(f"lost {self.url}: {reason}", stage="llm") from error

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        sent = {"Content-Type": "application/json", **headers}
        request = self._client.build_request("POST", path, content=body, headers=sent)
        try:
            return await self._client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            # A kept connection that the server closed while we wrote. Nothing was answered: ask again.
            return await self._client.send(request, stream=True)

    async def rendered(self, body: dict[str, Any]) -> str | None:
        """What llama-server makes of these messages for its model; None where that cannot be had.

        The endpoint is beside the API, not in it: `/apply-template` where the API is `/v1`.
        """
        try:
            answer = await self._client.post(self._beside("/apply-template"), json=body, timeout=RENDER_S)
            prompt = answer.json().get("prompt") if answer.is_success else None
        except (httpx.TransportError, ValueError, AttributeError):
            return None
        return prompt if isinstance(prompt, str) else None

    async def tokens_of(self, text: str) -> list[int]:
        """What vLLM's tokenizer makes of a text; empty where it does not say.

        Raises:
            StageUnavailable: the server is gone.
        """
        asked = {"prompt": text, "add_special_tokens": False}
        try:
            answer = await self._client.post(self._beside("/tokenize"), json=asked, timeout=RENDER_S)
            tokens = answer.json().get("tokens") if answer.is_success else None
        except httpx.TransportError as error:
            raise StageUnavailable(f"lost {self.url}: {type(error).__name__}", stage="llm") from error
        except (ValueError, AttributeError):
            return []
        return tokens if isinstance(tokens, list) else []

    async def owner(self) -> str:
        """Who serves the models, as the server says ("vllm", "llamacpp"); empty where it does not say.

        Raises:
            StageUnavailable: the server is gone.
        """
        try:
            answer = await self._client.get("/models", timeout=RENDER_S)
            models = answer.json().get("data") if answer.is_success else None
        except httpx.TransportError as error:
            raise StageUnavailable(f"lost {self.url}: {type(error).__name__}", stage="llm") from error
        except (ValueError, AttributeError):
            return ""
        first = models[0] if isinstance(models, list) and models else None
        return str(first.get("owned_by", "")) if isinstance(first, dict) else ""

    def _beside(self, path: str) -> httpx.URL:
        """An address beside the API, not in it."""
        base = self._client.base_url
        return base.copy_with(path=base.path.rstrip("/").removesuffix("/v1") + path)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def hang_up(response: httpx.Response) -> None:
    """Shut the connection down, at once: the server computes for us until it learns that nobody listens.

    `aclose` awaits a lock before it closes anything. Who is cancelled a second time just then, by the session
    and by the next reply, would leave the connection open.
    """
    stream = response.extensions.get("network_stream")
    found = stream.get_extra_info("socket") if stream is not None else None
    if found is None:
        return
    # A descriptor of our own: uvloop's socket cannot be shut down. OSError: it is closed already.
    with suppress(OSError), socket.socket(fileno=os.dup(found.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)


def refusal(status: int, body: bytes) -> StageError:
    """What an HTTP status other than 200 means.

    llama-server says `exceed_context_size_error`, vLLM "maximum context length", the OpenAI API
    `context_length_exceeded`, all with status 400.
    """
    said = body.decode(errors="replace")
    message = f"HTTP {status}: {said[:MAX_MESSAGE_CHARS]}"
    if status == httpx.codes.BAD_REQUEST and any(
        phrase in said for phrase in ("exceed_context_size", "context length", "context_length")
    ):
        return PromptTooLong(message, stage="llm")
    is_full = status == httpx.codes.SERVICE_UNAVAILABLE and any(phrase in said for phrase in FULL)
    if is_full or status == httpx.codes.TOO_MANY_REQUESTS:
        return StageOverloaded(message, stage="llm")
    if status == httpx.codes.GATEWAY_TIMEOUT and StageExpired.code in said:
        return StageExpired(message, stage="llm")
    if status == httpx.codes.REQUEST_TIMEOUT or status >= 500:
        return StageUnavailable(message, stage="llm")
    return StageRejected(message, stage="llm")


def usage_of(event: dict[str, Any]) -> Usage | None:
    """What the answer cost so far, if the event says it; llama-server's progress counts the prompt."""
    progress = event.get("prompt_progress")
    if progress and not event.get("usage"):
        return Usage(input_tokens=progress.get("total") or 0, cached_tokens=progress.get("cache") or 0)
    said = event.get("usage")
    if not said:
        return None
    details = said.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=said.get("prompt_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        output_tokens=said.get("completion_tokens") or 0,
    )


def _event(data: bytes) -> dict[str, Any]:
    event = chat_event(data)
    if error := event.get("error"):
        status = error.get("code") if isinstance(error, dict) else None
        raise refusal(status if isinstance(status, int) else 500, data)
    return event
