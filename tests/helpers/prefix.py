"""ComfyUI below a URL prefix, as notebooks and hosted servers give it to artists: a small reverse proxy."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web
from yarl import URL

from mild.tools.comfyui import free_port

CLIENT = web.AppKey("client", aiohttp.ClientSession)
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length"}


class Prefixed:
    """`url`: the address of ComfyUI's front end. `outside`: the paths that were asked for beside the prefix."""

    def __init__(self, url: str):
        self.url = url
        self.outside: list[str] = []


@contextmanager
def below_prefix(server, prefix: str = "/comfy") -> Iterator[Prefixed]:
    """A running ComfyUI at `prefix`/ of another port, and nothing at all elsewhere on that port."""
    port = free_port()
    proxy = Prefixed(f"http://127.0.0.1:{port}{prefix}/")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(server.url, prefix, port, proxy.outside), loop).result(30)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _serve(target: str, prefix: str, port: int, outside: list[str]) -> web.AppRunner:
    application = web.Application(client_max_size=2**28)

    async def session(_):
        # as they come: packed answers stay packed, and cookies are the browser's business
        options = {"auto_decompress": False, "cookie_jar": aiohttp.DummyCookieJar()}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300), **options) as client:
            application[CLIENT] = client
            yield

    async def inside(request: web.Request):
        address = URL(target + request.raw_path.removeprefix(prefix), encoded=True)
        client = request.app[CLIENT]
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _joined(request, client, address)
        body, headers = await request.read(), _end_to_end(request.headers)
        async with client.request(request.method, address, headers=headers, data=body, allow_redirects=False) as answer:
            return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=await answer.read())

    async def elsewhere(request: web.Request):
        outside.append(request.path)
        raise web.HTTPNotFound

    application.cleanup_ctx.append(session)
    application.add_routes([web.route("*", prefix + "/{path:.*}", inside), web.route("*", "/{path:.*}", elsewhere)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


def _end_to_end(headers) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in HOP_BY_HOP}


async def _joined(request: web.Request, client: aiohttp.ClientSession, address: URL) -> web.WebSocketResponse:
    """The browser's web socket and ComfyUI's, each told what the other says, until one of them goes."""
    near = web.WebSocketResponse(max_msg_size=0)
    await near.prepare(request)
    async with client.ws_connect(address, max_msg_size=0) as far:
        ways = [asyncio.ensure_future(_copied(*pair)) for pair in ((near, far), (far, near))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
    await near.close()
    return near


async def _copied(source, sink) -> None:
    async for message in source:
        if message.type == aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
