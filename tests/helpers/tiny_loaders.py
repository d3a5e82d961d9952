"""Nodes for the test server alone: a small random model in place of the files that a template's loaders would load, and
that of given_effects.py.

`install` puts it into a server's custom_nodes, beside the pack; templates.with_tiny_models writes it into graphs.
"""

import sys
import types
from pathlib import Path

FOLDER = "mild_test_models"
NODE = "TEST_TinyModel"
CLIP_OF = {"sd15_inpaint": "sd15", "sd2_inpaint": "sd2", "sdxl": "sdxl", "flux_fill": "flux"}
"""Families of tiny_models, and the family of tiny_clip that each reads."""

CONTROLNET_FOR = {"sd15_inpaint": "sd15", "sdxl": "sdxl"}
"""The families whose templates load a ControlNet, and the one that it is made for: a ControlNet of SD1.5 knows nothing
of the channels by which an inpainting model reads the hole. SDXL's is one of a single kind where the template
loads a union: ComfyUI's class for unions has no smaller widths, and both get their kind in the same way.
"""


def install(custom_nodes: Path) -> str:
    """Make the node known to a server that has not been started; returns the folder's name, to be whitelisted."""
    (custom_nodes / FOLDER).mkdir(parents=True)
    pack = Path(__file__).resolve().parents[2] / "tools" / "pack.py"
    lines = (
        "import runpy",
        f"runpy.run_path({str(pack)!r})",
        "from mild.tests.helpers.tiny_loaders import comfy_entrypoint",
    )
    (custom_nodes / FOLDER / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    return FOLDER


async def comfy_entrypoint():
    """What ComfyUI calls, in the server's process."""
    from comfy_api.latest import ComfyExtension, io

    from mild.tests.helpers import given_effects

    class TinyModel(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                node_id=NODE,
                category="test",
                inputs=[io.Combo.Input("family", options=list(CLIP_OF))],
                outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output(), io.ControlNet.Output()],
            )

        @classmethod
        def execute(cls, family: str) -> io.NodeOutput:
            # ComfyUI is in place already: the module that would put it there must not do so again.
            name = "mild.tests.helpers.in_process"
            sys.modules.setdefault(name, types.ModuleType(name))
            from mild.tests.helpers.tiny_clip import make_clip
            from mild.tests.helpers.tiny_controlnets import make_controlnet
            from mild.tests.helpers.tiny_models import make

            tiny = make(family)
            base = CONTROLNET_FOR.get(family)
            control = None if base is None else make_controlnet("controlnet", make(base))
            return io.NodeOutput(tiny.model, make_clip(CLIP_OF[family]), tiny.vae, control)

    class Extension(ComfyExtension):
        async def get_node_list(self) -> list[type[io.ComfyNode]]:
            return [TinyModel, given_effects.make_node()]

    return Extension()
