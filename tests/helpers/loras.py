"""Small random LoRA files, written as the usual trainers write them, for small models and CLIPs.

save_lora(folder / "style.safetensors", unet_names(tiny.model), kind=DORA)
"""

from collections.abc import Mapping
from pathlib import Path

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.lora
import comfy.utils
import torch

LORA, LOHA, DORA, OFT, NORMS, BIASES = "lora", "loha", "dora", "oft", "norms", "biases"

Shapes = dict[str, tuple[int, ...]]
"""Layers by the names that files have for them, and the shapes of their weights."""


def unet_names(model, part: str = "attn2_to_k") -> Shapes:
    """Layers of a MODEL whose names hold `part`, as kohya's trainer names them."""
    names = comfy.lora.model_lora_keys_unet(model.model, {})
    return _shapes(names, model.model.state_dict(), "lora_unet_", part)


def clip_names(clip, part: str = "self_attn_k_proj") -> Shapes:
    """The same of a CLIP."""
    names = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {})
    return _shapes(names, clip.cond_stage_model.state_dict(), "lora_te", part)


def _shapes(names: Mapping, weights: Mapping, start: str, part: str) -> Shapes:
    found: Shapes = {}
    known = set()
    for name, key in names.items():
        if name.startswith(start) and part in name and isinstance(key, str) and key not in known:
            known.add(key)  # the same layer goes by several names
            found[name] = tuple(weights[key].shape)
    assert found, f"no layer is called {part}"
    return found


def lora_of(shapes: Shapes, kind: str = LORA, rank: int = 2, seed: int = 0, size: float = 0.5) -> dict:
    """Keys and tensors of such a file. size: how large it is beside weights of about 1."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    file = {}
    for name, (rows, *rest) in shapes.items():
        columns = int(torch.tensor(rest).prod()) if rest else 1
        scale = size / (rank * columns) ** 0.5
        if kind in (LORA, DORA):
            file[f"{name}.lora_up.weight"] = random(rows, rank, *[1] * (len(rest) - 1)) * scale
            file[f"{name}.lora_down.weight"] = random(rank, *rest)
            file[f"{name}.alpha"] = torch.tensor(float(rank))
        if kind == DORA:
            file[f"{name}.dora_scale"] = 1 + 0.1 * random(rows, *[1] * len(rest)).abs()
        if kind == LOHA:
            for one in ("1", "2"):
                file[f"{name}.hada_w{one}_a"] = random(rows, rank) * scale**0.5
                file[f"{name}.hada_w{one}_b"] = random(rank, columns)
        if kind == OFT:
            file[f"{name}.oft_blocks"] = random(rows // 4, 4, 4) * size
        if kind == NORMS:
            file[f"{name}.w_norm"] = random(rows) * size
            file[f"{name}.b_norm"] = random(rows) * size
        if kind == BIASES:
            file[f"{name}.diff_b"] = random(rows) * size
    return file


def save_lora(path: Path, shapes: Shapes, kind: str = LORA, **changes) -> str:
    """Write a file; returns its name for the nodes, if `path` lies in ComfyUI's folder itself."""
    comfy.utils.save_torch_file(lora_of(shapes, kind, **changes), str(path))
    return path.name
