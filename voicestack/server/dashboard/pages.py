"""`/dashboard`: the page and its files, as the build of `web/` left them. No data is in them."""

from collections.abc import Mapping
from html import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voicestack import __version__
from voicestack.server.site import BUILT, PLAIN_STYLE, REVALIDATED, File, answer_file, page_headers

BUILT_DASHBOARD = BUILT / "dashboard"

PLAIN_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>voicestack dashboard</title>
<meta name="viewport" content="width=device-width"><style>{style}</style>
<h1>voicestack {version}</h1>
<p>The dashboard has not been built: run <code>make web</code> in the checkout (it needs Node.js and npm),
then start the server again.</p>
<p>Its figures are there: <a href="/dashboard/api/overview">/dashboard/api/overview</a>.</p>
"""


def page_routes(files: Mapping[str, File]) -> list[Route]:
    """The routes, for everybody.

    Args:
        files: Of the built dashboard, from `site.read_site`; empty if it has not been built.
    """

    async def page(request: Request) -> Response:
        headers = page_headers(request)
        if "index.html" in files:
            return answer_file(request, files["index.html"], headers)
        shown = PLAIN_PAGE.format(style=PLAIN_STYLE, version=escape(__version__))
        return Response(shown, headers={**headers, "Cache-Control": REVALIDATED}, media_type="text/html")

    async def asset(request: Request) -> Response:
        headers = {"Cross-Origin-Resource-Policy": "same-origin"}
        file = files.get(f"assets/{request.path_params['path']}")
        if file is None:
            return Response("There is no such file.\n", 404, headers, "text/plain")
        return answer_file(request, file, headers)

    return [
        Route("/dashboard", page),
        Route("/dashboard/", page),
        Route("/dashboard/assets/{path:path}", asset),
    ]
