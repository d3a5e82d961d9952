"""Shipped workflows as API-format graphs, ready for a machine without any checkpoint."""

import io

import numpy as np
from PIL import Image, ImageDraw

from mild.mild_core.example_photo import load_example
from mild.tests.helpers.tiny_loaders import NODE

FAMILIES = {
    "sd-v1-5-inpainting.ckpt": "sd15_inpaint",
    "512-inpainting-ema.safetensors": "sd2_inpaint",
    "sd_xl_base_1.0.safetensors": "sdxl",
    "flux1-fill-dev.safetensors": "flux_fill",
    "clip_l.safetensors": "flux_fill",
    "ae.safetensors": "flux_fill",
    "control_v11p_sd15_openpose_fp16.safetensors": "sd15_inpaint",
    "diffusion_pytorch_model_promax.safetensors": "sdxl",
}
"""Files that templates name, and the small random model (tests/helpers/tiny_models.py) that stands in for each."""

SLOTS = {
    "CheckpointLoaderSimple": (0, 1, 2),
    "UNETLoader": (0,),
    "DualCLIPLoader": (1,),
    "VAELoader": (2,),
    "ControlNetLoader": (3,),
}
"""ComfyUI's loaders, and which of MODEL, CLIP, VAE and CONTROL_NET each of their outputs is."""

PHOTO_FILE = "example.png"
"""What Load Image is set to in templates: ComfyUI's own example, which a new installation has."""

SPOT = (62, 490, 166, 534)
"""The yellow jacket on the lawn of the example photo: left, top, right, bottom in pixels."""


def nodes_of(graph: dict, kind: str) -> list[str]:
    """Keys of the nodes of that class."""
    return [key for key, node in graph.items() if node["class_type"] == kind]


def without_detector(graph: dict) -> dict:
    """The graph with the example photo's masks where SAM 3, whose checkpoint no test machine has, would find people."""
    detectors = nodes_of(graph, "SAM3_Detect")
    if not detectors:
        return graph
    (example,) = nodes_of(graph, "MILD_ExamplePhoto")
    gone = {*detectors, *nodes_of(graph, "CheckpointLoaderSimple"), *nodes_of(graph, "CLIPTextEncode")}
    left = {key: node for key, node in graph.items() if key not in gone}
    for node in left.values():
        for name, value in list(node["inputs"].items()):
            if isinstance(value, list) and value[0] in detectors:
                if value[1] == 0:
                    node["inputs"][name] = [example, 1]
                else:  # the boxes that belong to SAM's masks
                    del node["inputs"][name]
    return left


def with_tiny_models(graph: dict) -> dict:
    """The graph with small random models in place of the loaders' files; all else stands as it is."""
    loaders = {key: node for key, node in graph.items() if node["class_type"] in SLOTS}
    result = {}
    for key, node in graph.items():
        if key in loaders:
            file = next(value for value in node["inputs"].values() if value in FAMILIES)
            result[key] = {"class_type": NODE, "inputs": {"family": FAMILIES[file]}}
            continue
        inputs = {
            name: [value[0], SLOTS[loaders[value[0]]["class_type"]][value[1]]]
            if isinstance(value, list) and value[0] in loaders
            else value
            for name, value in node["inputs"].items()
        }
        result[key] = {**node, "inputs": inputs}
    return result


def photo_with_spot() -> bytes:
    """The example photo as a PNG in whose alpha a spot is painted, as the mask editor saves it."""
    photo = Image.fromarray(np.round(load_example().photo[0].numpy() * 255).astype(np.uint8))
    alpha = Image.new("L", photo.size, 255)
    ImageDraw.Draw(alpha).ellipse(SPOT, fill=0)
    photo.putalpha(alpha)
    buffer = io.BytesIO()
    photo.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def wanting_models(workflow: dict) -> set[str]:
    """Nodes, as 'id: type', that name model files which ComfyUI offers to download: red until the artist has them."""
    return {f"{node['id']}: {node['type']}" for node in workflow["nodes"] if node.get("properties", {}).get("models")}
