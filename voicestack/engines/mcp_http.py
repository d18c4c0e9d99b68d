"""How does HTTP reach a server of tools that may be broken, slow or hostile?"""

from collections.abc import AsyncIterator
from typing import cast

import httpx2

MAX_BODY_BYTES = 1_048_576
"""Of an answer that is not a stream; of a stream the `mcp` package bounds each event by as much."""


class BoundedTransport(httpx2.AsyncBaseTransport):
    """One server's connections. Goes to the host itself: no proxy of the environment's, no compression.

    Args:
        transport: Does the work.

    Attributes:
        refusal: The status of the last answer that was one, from 400; None while there was none.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport
        self.refusal: int | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`.

        Raises:
            httpx2.DecodingError: the answer is compressed, unasked: it may unpack to anything.
        """
        request.headers["Accept-Encoding"] = "identity"
        response = await self._transport.handle_async_request(request)
        if response.status_code >= httpx2.codes.BAD_REQUEST:
            self.refusal = response.status_code
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.DecodingError("the answer is compressed", request=request)
        if not response.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
            response.stream = _Bounded(cast(httpx2.AsyncByteStream, response.stream), request)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


class _Bounded(httpx2.AsyncByteStream):
    """A body that fails when it gets too long."""

    def __init__(self, stream: httpx2.AsyncByteStream, request: httpx2.Request) -> None:
        self._stream, self._request = stream, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        n_bytes = 0
        async for data in self._stream:
            n_bytes += len(data)
            if n_bytes > MAX_BODY_BYTES:
                raise httpx2.ReadError(f"the answer has over {MAX_BODY_BYTES} bytes", request=self._request)
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
