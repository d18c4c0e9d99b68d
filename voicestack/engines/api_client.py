"""How is an OpenAI-compatible server reached, whatever stage it serves?"""

from collections.abc import Mapping

import httpx

CONNECT_S = 2.0
"""A server that does not even accept for so long is gone: the turn's whole budget is under a second."""
MAX_KEPT = 64
"""Idle connections that are kept."""


def api_client(
    url: str, *, api_key: str | None, headers: Mapping[str, str] | None = None, kept_s: float = 5.0
) -> httpx.AsyncClient:
    """A client that waits for ever once it is connected: whoever asks sets the limit.

    Args:
        url: `http(s)://host:port`, with the path of the API where it is not `/v1`; or `unix:/path` for a
            server on a Unix socket, where no connection is kept: a new one costs nothing, and llama-server
            closes its own after every stream, so that a kept one would only be found dead.
        api_key: Sent as a bearer token.
        headers: Of every request, besides.
        kept_s: How long an idle connection is kept; httpx's own default.
    """
    socket_path = url.removeprefix("unix:") if url.startswith("unix:") else None
    base = httpx.URL("http://localhost" if socket_path else url)
    sent = {"Accept-Encoding": "identity", **(headers or {})}
    if api_key:
        sent["Authorization"] = f"Bearer {api_key}"
    return httpx.AsyncClient(
        base_url=base if base.path.strip("/") else base.join("/v1"),
        headers=sent,
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        transport=httpx.AsyncHTTPTransport(
            uds=socket_path,
            # Building a TLS context takes 0.1 s: only who needs one pays.
            verify=base.scheme == "https",
            limits=httpx.Limits(
                max_connections=None,
                max_keepalive_connections=0 if socket_path else MAX_KEPT,
                keepalive_expiry=kept_s,
            ),
        ),
    )
