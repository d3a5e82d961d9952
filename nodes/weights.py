"""The widgets by which nodes choose a file of weights, and may have it fetched."""

from comfy_api.latest import io

from ..mild_core.comfy.find import weight_files
from ..mild_core.find.weight_sources import Choice, origin, packages


def file_input(name: str, choice: Choice) -> io.Combo.Input:
    """A list of the files on this machine that may be it."""
    return io.Combo.Input(
        name,
        options=weight_files.files(choice),
        tooltip=f"{choice.what[0].upper()}{choice.what[1:]}, in ComfyUI/models/detection. Needs: {packages(choice)}. "
        f"{weight_files.ABSENT} stands for: {origin(choice.file)}.",
    )


def fetch_input() -> io.Boolean.Input:
    """Whether what is missing may be downloaded. The last input of a node, for it came late."""
    return io.Boolean.Input(
        "fetch_when_missing",
        default=False,
        optional=True,  # prompts of programs that were written before it came go on running
        tooltip="On: a file of weights that is chosen here and is not on this machine is downloaded once into "
        "ComfyUI/models, if its sha256 is the one in this node's help page; from then on it works offline. "
        "Off: nothing is ever downloaded.",
    )
