"""MILD for ComfyUI: people vanish from a photograph, layer by layer.

ComfyUI imports this file to load the pack. The node modules are imported inside `comfy_entrypoint`, not here, so that
`mild_core` can be imported (by tests, tools, benchmarks) on a machine without ComfyUI.
"""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Return the extension that lists our nodes (ComfyUI's V3 protocol)."""
    from .nodes import MildExtension

    return MildExtension()
