"""ComfyUI in the test's own process, on the CPU: nodes run through its real validation, executor and cache.

Importing this module imports ComfyUI, so that test modules below tests/comfy may write `import comfy.sample` on top.
"""

import asyncio
import atexit
import sys
import tempfile
import uuid
from typing import Any, NamedTuple

import mild
from mild.tools.find_comfyui import find_comfyui


def _import_comfyui() -> None:
    """Put ComfyUI (and never our root) on sys.path, and let it read its arguments once."""
    folder = tempfile.TemporaryDirectory(prefix="mild-tests-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    sys.path.insert(0, str(find_comfyui().path))
    given = sys.argv
    sys.argv = ["main.py", "--cpu", "--base-directory", folder.name, "--preview-method", "auto"]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.cli_args  # noqa: F401

        # First, as in main.py: some versions of nodes.py put the folder comfy, with a utils.py, in front of sys.path.
        import utils.extra_config  # noqa: F401
    finally:
        sys.argv = given


_import_comfyui()

# isort: split
import comfy.model_management  # noqa: E402
import comfy.utils  # noqa: E402
import execution  # noqa: E402
import server  # noqa: E402

import nodes  # noqa: E402


class GraphInvalid(Exception):
    """ComfyUI refused the graph; the message holds its complaints, `node_errors` the whole list."""

    def __init__(self, message: str, node_errors: dict):
        super().__init__(message)
        self.node_errors = node_errors


class Many(list):
    """Marks a list whose members ComfyUI is to hand on one by one (what it calls a list output)."""


class Progress(NamedTuple):
    node: str
    value: float
    maximum: float
    preview: Any  # (format, PIL image, largest side) or None


class Ran(NamedTuple):
    outputs: dict[str, tuple]  # by node id; a list where the slot is a list output or the node ran more than once
    ui: dict[str, dict]  # what nodes show in the front end
    executed: list[str]  # the nodes that ran, in order; the others came from the cache
    progress: list[Progress]


class _AnyType(str):
    """Equal to every socket type, by the comparison that ComfyUI makes."""

    def __ne__(self, other):
        return False


_given: dict[str, Any] = {}


class _Give:
    """Hands a Python object into a graph."""

    RETURN_TYPES = (_AnyType("*"),)
    OUTPUT_IS_LIST = (False,)
    FUNCTION = "give"
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"key": ("STRING", {})}}

    def give(self, key):
        return (_given[key],)


class _GiveMany(_Give):
    OUTPUT_IS_LIST = (True,)


class _Executor(execution.PromptExecutor):
    """Keeps what a node raised, so that a test sees the exception itself and not only a message to the front end."""

    raised: BaseException | None = None

    def handle_execution_error(self, prompt_id, prompt, current_outputs, executed, error, ex):
        self.raised = ex
        super().handle_execution_error(prompt_id, prompt, current_outputs, executed, error, ex)


class _Listener:
    """Stands where the executor expects the server, and keeps what would have been sent to the browser."""

    client_id = last_node_id = last_prompt_id = None

    def __init__(self):
        self.sockets_metadata = {}
        self.messages = []

    def send_sync(self, event, data, sid=None):
        self.messages.append((event, data))


_core_is_loaded = False


def _load_core_nodes() -> None:
    global _core_is_loaded
    if not _core_is_loaded:
        server.PromptServer(asyncio.new_event_loop())  # some core nodes reach for PromptServer.instance
        asyncio.run(nodes.init_builtin_extra_nodes())
        nodes.NODE_CLASS_MAPPINGS.update(TEST_Give=_Give, TEST_GiveMany=_GiveMany)
        _core_is_loaded = True


def register_pack() -> list[type]:
    """Register our node classes with ComfyUI (once); return them."""
    _load_core_nodes()
    known = [node for key, node in nodes.NODE_CLASS_MAPPINGS.items() if key.startswith("MILD_")]
    return known or asyncio.run(_register_pack())


async def _register_pack() -> list[type]:
    extension = await mild.comfy_entrypoint()
    await extension.on_load()
    classes = await extension.get_node_list()
    for node in classes:
        nodes.NODE_CLASS_MAPPINGS[node.GET_SCHEMA().node_id] = node
    return classes


class InProcess:
    """One executor with its cache. Running a graph twice on it is what an artist does who queues twice."""

    def __init__(self):
        _load_core_nodes()
        self._listener = _Listener()
        arguments = {"lru": 0, "ram": 0, "ram_inactive": 0}
        self._executor = _Executor(self._listener, cache_type=execution.CacheType.CLASSIC, cache_args=arguments)
        self._mine: dict[str, Any] = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for key in self._mine:
            del _given[key]
        comfy.model_management.unload_all_models()

    def give(self, value) -> str:
        """Return a key under which a TEST_Give node hands `value` on; one object has one key, so that caching works."""
        for key, known in self._mine.items():
            if known is value:
                return key
        key = uuid.uuid4().hex
        self._mine[key] = _given[key] = value
        return key

    def run_node(self, node_id: str, *, interrupt_at: int | None = None, **inputs) -> tuple:
        """Run one node and return its outputs. An input that is None is left away.

        Strings, numbers and booleans are widget values; everything else comes in over a link. Raises what the node
        raises, and GraphInvalid where ComfyUI refuses the inputs. See run_graph for interrupt_at.
        """
        graph: dict[str, dict] = {"node": {"class_type": node_id, "inputs": {}}}
        for name, value in inputs.items():
            if value is None:
                continue
            if not isinstance(value, (str, int, float, bool)):
                give = "TEST_GiveMany" if isinstance(value, Many) else "TEST_Give"
                graph[name] = {"class_type": give, "inputs": {"key": self.give(value)}}
                value = [name, 0]
            graph["node"]["inputs"][name] = value
        return self.run_graph(graph, wanted=["node"], interrupt_at=interrupt_at).outputs["node"]

    def run_graph(self, graph: dict, *, wanted: list[str] | None = None, interrupt_at: int | None = None) -> Ran:
        """Run an API-format graph: its output nodes, or the nodes named in `wanted` (which need not be output nodes).

        interrupt_at: Cancel is pressed when the n-th progress report (from 1) of the run arrives; like any run that is
        cancelled it raises comfy.model_management.InterruptProcessingException.
        """
        if any(node["class_type"].startswith("MILD_") for node in graph.values()):
            register_pack()
        prompt_id = uuid.uuid4().hex
        targets = self._validate(prompt_id, graph, wanted)
        progress: list[Progress] = []
        self._executor.raised = None
        self._listener.messages.clear()
        comfy.utils.set_progress_bar_global_hook(self._hook(progress, interrupt_at))
        try:
            self._executor.execute(graph, prompt_id, {"client_id": "test"}, targets)
        finally:
            comfy.utils.set_progress_bar_global_hook(None)
        if self._executor.raised is not None:
            raise self._executor.raised
        executed = [data["node"] for event, data in self._listener.messages if event == "executing" and data["node"]]
        outputs = asyncio.run(self._outputs(graph))
        return Ran(outputs, self._executor.history_result["outputs"], executed, progress)

    def _validate(self, prompt_id: str, graph: dict, wanted: list[str] | None) -> list[str]:
        if wanted is None:
            good, error, targets, node_errors = asyncio.run(execution.validate_prompt(prompt_id, graph, None))
            if not good or node_errors:
                raise GraphInvalid(f"{error} {node_errors}", node_errors)
            return targets
        validated: dict = {}
        for node in wanted:
            asyncio.run(execution.validate_inputs(prompt_id, graph, node, validated))
        bad = {node: reasons for node, (good, reasons, _) in validated.items() if not good}
        if bad:
            words = [f"{r['message']}: {r['details']}" for reasons in bad.values() for r in reasons]
            raise GraphInvalid("; ".join(words), bad)
        return wanted

    def _hook(self, progress: list[Progress], interrupt_at: int | None):
        """What ComfyUI's main.py hooks in, less the sending to a browser: note the progress, obey Cancel."""
        from comfy_execution.progress import get_progress_state
        from comfy_execution.utils import get_executing_context

        def hook(value, total, preview, prompt_id=None, node_id=None):
            node = node_id or get_executing_context().node_id
            progress.append(Progress(node, value, total, preview))
            if len(progress) == interrupt_at:
                nodes.interrupt_processing()
            comfy.model_management.throw_exception_if_processing_interrupted()
            get_progress_state().update_progress(node, value, total, preview)

        return hook

    async def _outputs(self, graph: dict) -> dict[str, tuple]:
        outputs = {}
        for key, node in graph.items():
            entry = await self._executor.caches.outputs.get(key)
            if entry is None or entry.outputs is None:
                continue
            is_list = getattr(nodes.NODE_CLASS_MAPPINGS[node["class_type"]], "OUTPUT_IS_LIST", None) or ()
            slots = []
            for i, values in enumerate(entry.outputs):
                whole = (i < len(is_list) and is_list[i]) or len(values) != 1
                slots.append(values if whole else values[0])
            outputs[key] = tuple(slots)
        return outputs
