"""What a node shows on itself: a picture, and a sentence or two."""

from comfy_api.latest import io, ui
from server import PromptServer
from torch import Tensor


def shown(cls: type[io.ComfyNode], text: str, image: Tensor | None = None) -> dict:
    """The `ui` of a NodeOutput: image [B, H, W, 3] as a preview, and text, which is also written on the node.

    The node must list io.Hidden.unique_id, or the text reaches the history only.
    """
    if cls.hidden and cls.hidden.unique_id:
        PromptServer.instance.send_progress_text(text, cls.hidden.unique_id)
    picture = ui.PreviewImage(image, cls=cls).as_dict() if image is not None else {}
    return picture | ui.PreviewText(text).as_dict()
