"""Real ComfyUI for the demo, the tests and the benchmarks: start it, queue graphs, follow them, stop it.

    import pack  # noqa: F401 (first: it makes `mild` importable)
    from mild.tools.comfyui import Server

    with Server() as server:
        name = server.upload_image("photo.jpg")
        result = server.run(graph, progress=lambda p: print(p.title, p.value, p.maximum))
        result.files[0].path

The server gets a base folder of its own that is thrown away afterwards (user, input, output, temp), with a copy of this
pack as its only custom node: nobody's settings or pictures are touched. Whatever goes wrong raises a ComfyUIError with
one sentence and, where there is one, the end of the server's log.
"""

import asyncio
import concurrent.futures
import json
import os
import queue
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import aiohttp

from .find_comfyui import PACK_FOLDER, ComfyUIError, Install, copy_pack, find_comfyui, tail


class GraphRefused(ComfyUIError):
    """The server did not accept the graph. `node_errors`: ComfyUI's own list of complaints by node id."""

    def __init__(self, message: str, node_errors: dict):
        super().__init__(message)
        self.node_errors = node_errors


class NodeFailed(ComfyUIError):
    """A node raised while the graph ran: `node`, `node_type`, `exception_type`, `message`, `traceback` (a string)."""

    def __init__(self, data: dict):
        self.node, self.node_type = data["node_id"], data["node_type"]
        self.exception_type, self.message = data["exception_type"], data["exception_message"].strip()
        self.traceback = "".join(data["traceback"])
        super().__init__(f"{self.node_type} (node {self.node}): {self.exception_type}: {self.message}")


class Interrupted(ComfyUIError):
    """The run was cancelled."""


class Progress(NamedTuple):
    """What a running node reports. `value` counts up to `maximum`; `preview` is an encoded picture (JPEG or PNG)."""

    node: str
    title: str
    value: float
    maximum: float
    preview: bytes | None = None


class OutputFile(NamedTuple):
    node: str
    path: Path
    kind: str  # "output" or "temp"
    subfolder: str

    def read(self) -> bytes:
        return self.path.read_bytes()


class Result(NamedTuple):
    prompt_id: str
    outputs: dict[str, dict]  # what each node shows in the front end, by node id
    files: list[OutputFile]  # the files among these, temporary ones (previews) too
    seconds: float

    def of(self, node: str) -> list[OutputFile]:
        """The files of one node."""
        return [file for file in self.files if file.node == str(node)]


def free_port() -> int:
    """A TCP port of this machine that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _port_is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A ComfyUI server with this pack as its only custom node, from `with Server() as server:` to the end of the block.

    gpu: leave the choice of the device to ComfyUI; otherwise it runs with --cpu.
    port: a free one if None. base: the folder for user, input, output, temp and custom_nodes; a temporary one if None
    (a given one is kept). models: the folder with checkpoints; ComfyUI's own if None. arguments: more of main.py's.
    start_timeout: seconds that it may take until it answers.
    """

    def __init__(
        self,
        *,
        gpu: bool = False,
        port: int | None = None,
        base: Path | None = None,
        models: Path | None = None,
        install: Install | None = None,
        arguments: tuple[str, ...] = (),
        start_timeout: float = 300.0,
    ):
        self.gpu, self.models, self.arguments, self.start_timeout = gpu, models, arguments, start_timeout
        self.port = port
        self.base = base
        self.install = install
        self.client_id = uuid.uuid4().hex
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._process: subprocess.Popen | None = None
        self._log = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self._messages: queue.Queue = queue.Queue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self) -> None:
        """Start ComfyUI and return when it answers. Raises ComfyUIError."""
        try:
            self._start()
        except BaseException:  # Ctrl+C while ComfyUI loads must not leave it running either
            self.stop()
            raise

    def _start(self) -> None:
        self.install = self.install or find_comfyui()
        if self.port is not None and _port_is_taken(self.port):
            raise ComfyUIError(f"Port {self.port} is taken by another program: choose another, or none for a free one.")
        self.port = self.port or free_port()
        if self.base is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="mild-comfyui-", ignore_cleanup_errors=True)
            self.base = Path(self._temporary.name)
        for name in ("custom_nodes", "input", "output", "temp", "user"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        if not (self.base / "custom_nodes" / PACK_FOLDER).exists():
            copy_pack(self.base / "custom_nodes")
        self._log = open(self.base / "server.log", "wb")  # closed in stop()
        options = {"start_new_session": True}  # so that Ctrl+C reaches this process alone, and stop() ends the server
        if os.name == "nt":
            options = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,  # serve_comfyui.py ends when this closes
                stdout=self._log,
                stderr=subprocess.STDOUT,
                # passive: threads that wait must not spin, or a small model is very slow on a busy machine
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
                **options,
            )
        except OSError as error:
            raise ComfyUIError(f"The interpreter for ComfyUI (COMFYUI_PYTHON) does not start: {error}.") from error
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._call(self._connect())

    def _command(self) -> list[str]:
        models = self.models or self.install.path / "models"
        command = [self.install.python, str(Path(__file__).with_name("serve_comfyui.py")), str(self.install.path)]
        command += ["--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(self.base.resolve())]
        command += ["--extra-model-paths-config", str(self._models_file(models))] if models.is_dir() else []
        # in memory, because ComfyUI otherwise locks a file in its own folder and a second server would not start
        command += ["--database-url", "sqlite:///:memory:", "--preview-method", "auto", "--disable-auto-launch"]
        command += ["--disable-api-nodes", "--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK_FOLDER]
        return [*command, *([] if self.gpu else ["--cpu"]), *self.arguments]

    def _models_file(self, models: Path) -> Path:
        """Where ComfyUI reads that `models` has folders of models; --models-directory is newer than ComfyUI 0.24."""
        folders = {folder.name: folder.name for folder in sorted(models.iterdir()) if folder.is_dir()}
        path = self.base / "models.yaml"
        path.write_text(json.dumps({"models": {"base_path": str(models.resolve()), **folders}}), encoding="utf-8")
        return path

    def stop(self) -> None:
        """End the server and throw its temporary folder away. May be called twice."""
        if self._loop is not None:
            if self._session is not None:
                asyncio.run_coroutine_threadsafe(self._session.close(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop = self._session = None
        if self._process is not None:
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = self.base = None

    def log(self) -> str:
        """What the server has printed so far."""
        path = self.base / "server.log" if self.base else None
        return path.read_text(encoding="utf-8", errors="replace") if path and path.exists() else ""

    def run(self, graph: dict, progress: Callable[[Progress], None] | None = None) -> Result:
        """Queue an API-format graph and wait for it.

        progress is called in this thread for every report of a node. Raises GraphRefused, NodeFailed, Interrupted, or
        ComfyUIError if the server dies.
        """
        start = time.monotonic()
        prompt_id = self.queue(graph)
        titles = {k: v.get("_meta", {}).get("title") or v["class_type"] for k, v in graph.items()}
        last = Progress("", "", 0, 1)
        failure: ComfyUIError | None = None
        while True:
            kind, data = self._next_message()
            if kind == "preview":
                last = last._replace(preview=data)
            elif data.get("prompt_id") != prompt_id:
                continue
            elif kind == "executing" and data["node"] is None:  # sent last, when the history is written
                break
            elif kind == "execution_error":
                failure = NodeFailed(data)
            elif kind == "execution_interrupted":
                failure = Interrupted(f"The run was cancelled at node {data['node_id']} ({data['node_type']}).")
            elif kind == "progress":
                node = str(data["node"])
                last = Progress(node, titles.get(node, node), data["value"], data["max"])
            else:
                continue
            if progress and kind in ("preview", "progress"):
                progress(last)
        if failure:
            raise failure
        outputs = self.get(f"/history/{prompt_id}")[prompt_id]["outputs"]
        return Result(prompt_id, outputs, self.files_of(outputs), time.monotonic() - start)

    def queue(self, graph: dict) -> str:
        """Queue an API-format graph and return its prompt id at once. Raises GraphRefused."""
        status, answer = self._call(self._request("POST", "/prompt", {"prompt": graph, "client_id": self.client_id}))
        if status != 200:
            complaints = [answer["error"]["message"]]
            for node, errors in answer.get("node_errors", {}).items():
                complaints += [
                    f"{errors['class_type']} (node {node}): {e['message']}: {e['details']}" for e in errors["errors"]
                ]
            raise GraphRefused("ComfyUI did not accept the graph: " + "; ".join(complaints), answer["node_errors"])
        return answer["prompt_id"]

    def interrupt(self) -> None:
        """Cancel what is running, as the Cancel button does."""
        self._call(self._request("POST", "/interrupt", {}))

    def upload_image(self, image: Path | str | bytes, name: str | None = None, kind: str = "input") -> str:
        """Put a picture (file or encoded bytes) into the input folder; return the name that Load Image knows it by."""
        form = aiohttp.FormData(quote_fields=False)  # names with letters beyond ASCII stay as they are
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
        form.add_field("image", data, filename=name or ("image.png" if isinstance(image, bytes) else Path(image).name))
        form.add_field("type", kind)
        status, answer = self._call(self._request("POST", "/upload/image", form))
        if status != 200:
            raise ComfyUIError(f"ComfyUI did not take the picture {name or image!r}.")
        return answer["name"]

    def get(self, path: str):
        """The JSON that the server answers to a GET of `path`. Raises ComfyUIError on any status but 200."""
        status, answer = self._call(self._request("GET", path))
        if status != 200:
            raise ComfyUIError(f"ComfyUI answered {status} to {path}.")
        return answer

    def post(self, path: str, body):
        """Post a JSON body and return the status."""
        return self._call(self._request("POST", path, body))[0]

    def files_of(self, outputs: dict) -> list[OutputFile]:
        """The files among a history entry's outputs."""
        files = []
        for node, shown in outputs.items():
            for items in shown.values():
                for item in items if isinstance(items, list) else []:
                    if isinstance(item, dict) and item.get("filename"):
                        folder = self.base / item["type"] / item["subfolder"]
                        files.append(OutputFile(node, folder / item["filename"], item["type"], item["subfolder"]))
        return files

    # -- from here on: the thread that talks to the server ------------------------------------------------------------

    def _call(self, coroutine):
        """Run a coroutine in the loop's thread. Waits in short steps, so that Ctrl+C gets through on Windows too."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            while not future.done():
                try:
                    return future.result(0.5)
                except concurrent.futures.TimeoutError:
                    continue
            return future.result()
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise ComfyUIError(f"ComfyUI does not answer ({error}).{self._end_of_log()}") from error
        finally:
            future.cancel()

    def _next_message(self):
        while True:
            try:
                return self._messages.get(timeout=0.5)
            except queue.Empty:
                if self._process.poll() is not None:
                    what = f"ComfyUI ended while it worked (exit code {self._process.returncode})."
                    raise ComfyUIError(what + self._end_of_log()) from None

    def _end_of_log(self) -> str:
        return f" The end of its log:\n{tail(self.log())}"

    async def _connect(self) -> None:
        """Wait until the server answers, then listen to its websocket."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300))
        deadline = time.monotonic() + self.start_timeout
        while not await self._answers():
            if self._process.poll() is not None:
                code = self._process.returncode
                raise ComfyUIError(f"ComfyUI ended while it started (exit code {code}).{self._end_of_log()}")
            if time.monotonic() > deadline:
                raise ComfyUIError(f"ComfyUI did not answer within {self.start_timeout:.0f} s.{self._end_of_log()}")
            await asyncio.sleep(0.2)
        address = f"{self.url}/ws?clientId={self.client_id}"
        socket_ = await self._session.ws_connect(address, max_msg_size=0, timeout=aiohttp.ClientWSTimeout())
        self._listener = asyncio.ensure_future(self._listen(socket_))

    async def _answers(self) -> bool:
        try:
            return (await self._request("GET", "/system_stats"))[0] == 200
        except aiohttp.ClientError:
            return False

    async def _request(self, method: str, path: str, body=None):
        what = {"data": body} if isinstance(body, aiohttp.FormData) else {"json": body}
        async with self._session.request(method, self.url + path, **(what if body is not None else {})) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def _listen(self, socket_) -> None:
        async for message in socket_:
            if message.type == aiohttp.WSMsgType.TEXT:
                content = json.loads(message.data)
                self._messages.put((content["type"], content["data"]))
            elif message.type == aiohttp.WSMsgType.BINARY and message.data[:4] == b"\0\0\0\1":
                self._messages.put(("preview", message.data[8:]))  # 4 bytes event type, 4 bytes picture format
