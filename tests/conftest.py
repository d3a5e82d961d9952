"""Fixtures for every test, and how tests are told apart and spread over the machine's cores.

The pack is loaded once in every process, as the package `mild`; so is what stands in tests/helpers.

    def test_mask_is_inverted(run_node):
        (inverted,) = run_node("InvertMask", mask=torch.zeros(1, 9, 7))

`comfy`, `run_node`, `run_graph`: real ComfyUI in this process, on the CPU. `server`: real ComfyUI over HTTP, with the
pack as its only custom node. `browser_page`: its front end in Chromium. They are loaded for the tests that ask.
"""

import contextlib
import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

# threads that wait must not spin: on a busy machine a small model then takes ten seconds in place of half a second.
# OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Small models are many small operations, and the other core has tests of its own: one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).resolve().parent
BYTECODE = TESTS.parent / ".pytest_cache" / "bytecode"
# Workers, servers and programs that tests start import the same 5,000 files. Where Python is set to keep no bytecode,
# as in many containers, each would compile them for 15 s: then it is kept where pytest keeps what it knows.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
runpy.run_path(str(TESTS.parent / "tools" / "pack.py"))  # makes `mild` importable

FOLDERS = ("workflows", "browser", "golden", "comfy", "unit")
"""Each is a marker too. In the order in which they run: what takes long without a break goes first, and the many short
files of `unit` last, so that no process waits long for the others at the end.
"""
ONE_SERVER = ("workflows", "browser")
"""These share one server and one browser at a time, and so run in one process."""
MOST_WORKERS = 4
"""Processes; each takes 1 GB with ComfyUI in it, and more cores would wait for the one server's tests."""


def _asked(config) -> set[str]:
    """The folders that `-m` leaves: those it names (`-m "unit or golden"`); all for any other expression."""
    names = {name.strip() for name in config.option.markexpr.split(" or ")}
    return names if names <= set(FOLDERS) else set(FOLDERS)


def _folder(path: Path) -> str | None:
    """The folder of FOLDERS in which the file or folder lies."""
    path = path.resolve()
    below = path.relative_to(TESTS).parts if path.is_relative_to(TESTS) else ()
    return below[0] if below and below[0] in FOLDERS else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """What `-n auto` (pyproject.toml) means: a process per core for folders, none beside this one for single files,
    which are done before the others would have started. `-n0` for a debugger's sake, `-n1` and so on still count.
    """
    files = [(config.invocation_params.dir / argument.split("::")[0]).is_file() for argument in config.args]
    if all(files) or os.environ.get("MILD_RENEW_GOLDEN"):  # renewed files are read by other tests
        return 0
    cores = min(os.cpu_count() or 1, MOST_WORKERS)
    return cores if cores > 1 else 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Whole files go to one process, because a file's tests share what they have made; those of the server as one."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "the server's" if _folder(config.rootpath / file) in ONE_SERVER else file

    return Scheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_sessionstart(session):
    """Fetch ComfyUI (once in a clone) before there are two processes that would both do so."""
    config = session.config
    folders = {_folder(config.invocation_params.dir / argument) for argument in config.args}
    if config.getoption("numprocesses", None) and folders != {"unit"} and _asked(config) != {"unit"}:
        from mild.tools.find_comfyui import ComfyUIError, find_comfyui

        with contextlib.suppress(ComfyUIError):  # the tests that need it will say so
            find_comfyui()


def pytest_sessionfinish(session):
    """What was kept of files in temporary folders, as copies of the pack, serves nobody any more."""
    if not hasattr(session.config, "workerinput"):
        temporary = Path(tempfile.gettempdir()).resolve()
        shutil.rmtree(BYTECODE / temporary.relative_to(temporary.anchor), ignore_errors=True)


def pytest_ignore_collect(collection_path, config):
    """With `-m unit` nothing else is even imported: ComfyUI takes longer than many a test."""
    folder = _folder(collection_path)
    return True if folder is not None and folder not in _asked(config) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Every test carries the name of its folder as a marker; see FOLDERS for the order."""
    for item in items:
        folder = _folder(item.path)
        if folder is None:
            raise pytest.UsageError(f"{item.path}: tests lie in {', '.join(FOLDERS)}; name a new folder in FOLDERS.")
        item.add_marker(folder)
    items.sort(key=lambda item: FOLDERS.index(_folder(item.path)))


@pytest.fixture
def comfy():
    """ComfyUI in this process, with an empty cache: see tests/helpers/in_process.py."""
    from mild.tests.helpers.in_process import InProcess

    with InProcess() as comfy:
        yield comfy


@pytest.fixture
def run_node(comfy):
    """run_node(node_id, **inputs): the node's outputs as a tuple. Tensors, models and lists are inputs like others."""
    return comfy.run_node


@pytest.fixture
def run_graph(comfy):
    """run_graph(graph): an API-format graph through ComfyUI's own executor; returns a Ran."""
    return comfy.run_graph


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A running ComfyUI whose base folder has a space and a letter beyond ASCII in its name, as many users' have.

    Beside the pack it has a node that gives small random models (tests/helpers/tiny_loaders.py), and a photo where
    ComfyUI keeps its own example.
    """
    from mild.tests.helpers import tiny_loaders
    from mild.tests.helpers.templates import PHOTO_FILE, photo_with_spot
    from mild.tools.comfyui import Server
    from mild.tools.find_comfyui import PACK_FOLDER

    base = tmp_path_factory.mktemp("ComfyUI für alle", numbered=False)
    extra = tiny_loaders.install(base / "custom_nodes")
    with Server(base=base, arguments=("--whitelist-custom-nodes", PACK_FOLDER, extra)) as server:
        server.upload_image(photo_with_spot(), PHOTO_FILE)
        yield server


@pytest.fixture(scope="module")
def browser_page(server):
    """A page of the real front end, ready to load workflows. Skips where there is no Chromium."""
    from mild.tests.helpers.browser import open_front_end

    with open_front_end(server) as page:
        yield page
