"""MILD for ComfyUI: people vanish from a photograph, layer by layer.

ComfyUI imports this file to load the pack. The node modules are imported inside `comfy_entrypoint`, not here, so that
`mild_core` can be imported (by tests, tools, benchmarks) on a machine without ComfyUI.
"""

import re

WEB_DIRECTORY = "./web"

NEEDS = "0.24.1"
"""The oldest ComfyUI that passes our tests. Older ones load the nodes and fail late, or change the picture."""


async def comfy_entrypoint():
    """Return the extension that lists our nodes (ComfyUI's V3 protocol).

    Raises RuntimeError on a ComfyUI that is too old: it writes the sentence into its log and goes on without us.
    """
    from comfyui_version import __version__ as version

    if _numbers(version) < _numbers(NEEDS):
        raise RuntimeError(
            f"MILD needs ComfyUI {NEEDS} or newer, and this is {version}: its nodes are left out. Update ComfyUI."
        )
    from .nodes import MildExtension

    return MildExtension()


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
