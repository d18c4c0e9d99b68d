"""How is one stage of a turn asked of another server over HTTP, and what do its failures mean?"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from voicestack.core.errors import (
    Stage,
    StageError,
    StageExpired,
    StageOverloaded,
    StageRejected,
    StageTimeout,
    StageUnavailable,
)
from voicestack.engines.api_client import api_client
from voicestack.engines.sse import MAX_MESSAGE_CHARS, hang_up

KEPT_S = 300.0
"""An idle connection is kept for so long, if the server does as well: a new one over TLS costs three round
trips on the way of a turn."""


class StageClient:
    """One OpenAI-compatible server, by its base URL, with connections that are kept.

    Args:
        url: `http(s)://host:port`, with the path of the API where it is not `/v1`.
        stage: Whose failures these are.
        api_key: Sent as a bearer token.
    """

    def __init__(self, url: str, *, stage: Stage, api_key: str | None = None) -> None:
        self.url, self.stage = url, stage
        self._n_requests = self._n_failed = self._n_full = self._n_retried = self._n_stopped = (
            self._n_open
        ) = 0
        self._client = api_client(url, api_key=api_key, kept_s=KEPT_S)

    @asynccontextmanager
    async def post(self, path: str, **content: Any) -> AsyncIterator[httpx.Response]:
        """POST and begin to read the answer. Leaving the block before its end hangs up.

        Args:
            path: Beneath the API's own.
            content: As `httpx.AsyncClient.build_request` has it.

        Raises:
            StageOverloaded: the server takes nothing more for now.
            StageTimeout: it gave up itself.
            StageUnavailable: it is gone or failing; also raised where the block reads the answer.
            StageRejected: it will never serve this (model, key, a field that it does not know).
        """
        self._n_requests += 1
        self._n_open += 1
        try:
            request = self._client.build_request("POST", path, **content)
            response = await self._client.send(request, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    raise refusal(response.status_code, await response.aread(), self.stage)
                yield response
            except (asyncio.CancelledError, GeneratorExit):
                hang_up(response)
                raise
            finally:
                await response.aclose()
        except (asyncio.CancelledError, GeneratorExit):
            self._n_stopped += 1
            raise
        except httpx.TransportError as error:
            self._n_failed += 1
            reason = str(error) or type(error).__name__
            raise StageUnavailable(f"lost {self.url}: {reason}", stage=self.stage) from error
        except StageError as error:
            self._n_failed += 1
            self._n_full += isinstance(error, StageOverloaded)
            raise
        finally:
            self._n_open -= 1

    def may_retry(self, error: StageError) -> bool:
        """Whether to ask once more, which is then counted.

        Not of a server that is full, which would be to wait in a second queue, nor after a timeout, because
        the time is spent.
        """
        again = isinstance(error, StageUnavailable) and not isinstance(error, StageOverloaded)
        self._n_retried += again
        return again

    def figures(self) -> Mapping[str, float]:
        """See `ports.Measured`.

        `failed` counts the `full` ones and those that were tried again, too; `stopped` are those that nobody
        waited for any more, or that took too long.
        """
        return {
            "requests_total": self._n_requests,
            "failed_total": self._n_failed,
            "full_total": self._n_full,
            "retried_total": self._n_retried,
            "stopped_total": self._n_stopped,
            "open_requests": self._n_open,
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def refusal(status: int, body: bytes, stage: Stage) -> StageError:
    """What an HTTP status other than 200 means."""
    message = f"HTTP {status}: {body.decode(errors='replace')[:MAX_MESSAGE_CHARS]}"
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
        return StageOverloaded(message, stage=stage)
    if status == httpx.codes.GATEWAY_TIMEOUT and StageExpired.code.encode() in body:
        return StageExpired(message, stage=stage)
    if status in (httpx.codes.REQUEST_TIMEOUT, httpx.codes.GATEWAY_TIMEOUT):
        return StageTimeout(message, stage=stage)
    if status >= 500:
        return StageUnavailable(message, stage=stage)
    return StageRejected(message, stage=stage)
