"""How much comes through of what must not be looked at, and does the gap tell: `uv run benchmarks/quality/leakage.py`

A rule that forbids looking raises the attention gap (CAG) by definition, so CAG alone proves nothing. Here the picture
is painted twice from the same noise: as it is, and with that repainted which must not be looked at. How far the hole's
result moves, as mean CIELAB distance, is the *causal leakage*; without any, it would not move at all.

neighbour swapped   those who stay get another picture's pixels
neighbour green     those who stay are painted green
erased green        the erased person is painted green, and sampling starts from that (denoise 0.75)

unet       a random network of Stable Diffusion 1.5's class. Its latents are colours (a cell's mean colour and its
           grey), because a random VAE would say nothing; what it gives is taken for the clean picture (x0), or noise
           would drown it. The hole of its result is brought to a mean of 0.5 and a standard deviation of 0.2 before it
           is compared, by the same scaling in all rows of a scene: it is no picture.
attention  the same network, in which hardly anything but self-attention carries anything from one place to another:
           convolutions see one cell, norms are each cell's own
builtin    the built-in model

"neighbour forbidden" is about the least that a rule can leave: nobody but the neighbours sees the neighbours. What
remains then came by other ways. Random networks say what a rule does to attention's part; how much trained models leak
they do not say.

Scenes: each person of the example photo with others near, erased while these stay; --data DIR: the same of
photos NAME.jpg with NAME_inst.png. Crops around the hole, scaled to --size. With its defaults it takes a few minutes on
two cores.
"""

import argparse
import functools
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import random_models
from mild.benchmarks.shared.machine import machine
from mild.mild_core.attention.layer_regions import PEOPLE, Maps
from mild.mild_core.attention.record import Pathway
from mild.mild_core.attention.rule import Rule
from mild.mild_core.example_photo import load_example
from mild.mild_core.image.fill import area_resize
from mild.mild_core.image.growth import grow

STRENGTHS = (0.25, 1.0, 2.0)
CELL = 8
DENOISE = 0.75
RESAMPLES = 2000
GREEN = (0.0, 1.0, 0.0)
COLUMNS = ("neighbour swapped", "neighbour green", "erased green")


class Scene(NamedTuple):
    """A crop around somebody who is erased."""

    name: str
    photo: Tensor  # [S, S, 3], 0..1
    erased: Tensor  # [S, S], 0 or 1: the erased person's mask
    hole: Tensor  # [S, S], 0 or 1: that mask, grown, in whole cells
    people: Tensor  # [S, S], 0 or 1: those who stay; none of the hole's cells


class Row(NamedTuple):
    """One scene under one rule."""

    scene: str
    rule: str
    gap: float
    moved: tuple[float, ...]  # LAB, by COLUMNS; nan: not measured


# -- scenes -----------------------------------------------------------------------------------------------------------


def scenes_of(data: Path | None, size: int, most: int) -> list[Scene]:
    """Crops with somebody who stays in them, at most so many, evenly from all."""
    found: list[Scene] = []
    if data is None:
        example = load_example()
        found = crops("example", example.photo[0], example.masks, size)
    else:
        for path in sorted(data.glob("*_inst.png")):
            name = path.name.removesuffix("_inst.png")
            labels = torch.from_numpy(np.array(Image.open(path)).astype(np.int64))
            photo = next(data / (name + end) for end in (".jpg", ".png") if (data / (name + end)).is_file())
            pixels = torch.from_numpy(np.asarray(Image.open(photo).convert("RGB"), dtype=np.float32) / 255)
            masks = [(labels == value).float() for value in labels.unique() if value != 0]
            if len(masks) > 1:
                found += crops(name, pixels, torch.stack(masks), size)
    if len(found) <= most:
        return found
    return [found[index * len(found) // most] for index in range(most)]


def crops(name: str, photo: Tensor, masks: Tensor, size: int) -> list[Scene]:
    """One scene for each person with somebody else near. photo [H, W, 3], masks [N, H, W]."""
    scenes = []
    for number, mask in enumerate(masks):
        y, x = (mask > 0.5).nonzero().unbind(1)
        side = min(int(2.2 * max(y.max() - y.min(), x.max() - x.min()) + 16), photo.shape[0], photo.shape[1])
        top = min(max(int(y.min() + y.max() - side) // 2, 0), photo.shape[0] - side)
        left = min(max(int(x.min() + x.max() - side) // 2, 0), photo.shape[1] - side)
        part = torch.cat([photo.movedim(-1, 0), masks])[None, :, top : top + side, left : left + side]
        part = area_resize(part, (size, size))[0]
        bodies = (part[3:] > 0.5).float()
        hole = cells(grow(bodies[number] > 0, size // 48).float())
        others = torch.cat([bodies[:number], bodies[number + 1 :]]).amax(0)
        people = cells(others) * (1 - hole)
        if people.mean() > 0.01 and hole.mean() < 0.5:
            pixels = part[:3].movedim(0, -1).clamp(0, 1)
            scenes.append(Scene(f"{name}/{number + 1}", pixels, bodies[number], hole, people))
    return scenes


def cells(mask: Tensor) -> Tensor:
    """Every latent cell that a mask [S, S] touches."""
    touched = F.max_pool2d(mask[None, None], CELL)
    return F.interpolate(touched, size=mask.shape, mode="nearest")[0, 0]


def repainted(scene: Scene, other: Scene) -> tuple[Tensor, Tensor]:
    """[3, S, S, 3]: as it is, neighbours swapped, neighbours green; [2, S, S, 3]: as it is, the erased green."""
    people, green = scene.people[..., None] > 0, torch.tensor(GREEN).expand_as(scene.photo)
    swapped = torch.where(people, other.photo, scene.photo)
    erased = torch.where(scene.hole[..., None] > 0, green, scene.photo)
    return (
        torch.stack([scene.photo, swapped, torch.where(people, green, scene.photo)]),
        torch.stack([scene.photo, erased]),
    )


# -- models -----------------------------------------------------------------------------------------------------------


class RandomUNet:
    """With colours as latents."""

    rule = "SMA 1"

    def __init__(self, width: float, steps: int, attention: bool = False):
        """attention: nothing else carries anything from one place to another."""
        from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

        self.random, self.steps = random_models.make("sd15", width), steps
        self.words = self.random.words + (", attention alone" if attention else "")
        if attention:
            only_attention(self.random.model.model.diffusion_model)
        (self.model,) = ModelSamplingDiscrete().patch(self.random.model, "x0", False)

    def rules(self, maps: Maps) -> dict[str, Callable[[Any], Any]]:
        """What each row does to a MODEL."""
        from mild.mild_core.comfy.attention import catch
        from mild.mild_core.comfy.attention.erase import AttentiveEraser, erase
        from mild.mild_core.comfy.attention.spatial import SpatialSettings, keep_apart
        from mild.mild_core.comfy.attention.steer import Steering

        def forbidden(model: Any) -> Any:
            return catch.put(model, Steering(maps, lambda key, names: nobody_sees(names, PEOPLE)), "benchmark")

        def apart(**settings: Any) -> Callable[[Any], Any]:
            return lambda model: keep_apart(model, maps, SpatialSettings(**settings))[0]

        rows: dict[str, Callable[[Any], Any]] = {"no rule": lambda model: model}
        rows |= {f"SMA {strength:g}": apart(strength=strength) for strength in STRENGTHS}
        rows["SMA adaptive"] = apart(adaptive=True)
        rows["AAS"] = lambda model: erase(model, maps, AttentiveEraser(guidance=None))
        rows["neighbour forbidden"] = forbidden
        return rows

    def sampled(self, model: Any, pictures: Tensor, scene: Scene, denoise: float, values: dict) -> Tensor:
        """pictures [B, S, S, 3] -> what comes out [B, S / 8, S / 8, 3], on the latents' scale."""
        import comfy.sample

        small = F.avg_pool2d(pictures.movedim(-1, 1), CELL) * 2 - 1
        latent = torch.cat([small, small.mean(1, keepdim=True)], 1) / 0.18215  # which the model takes out again
        noise = torch.randn(latent.shape[1:], generator=torch.Generator().manual_seed(0)).expand_as(latent)
        hole = F.avg_pool2d(scene.hole[None, None], CELL)
        samples = comfy.sample.sample(
            model, noise, self.steps, 1.0, "euler", "normal", self.random.positive, self.random.negative, latent,
            denoise=denoise, noise_mask=hole, seed=0, disable_pbar=True,
        )  # fmt: skip
        return samples[:, :3].movedim(1, -1).float().cpu()


class BuiltIn:
    """The model without weights."""

    rule = "neighbour forbidden"
    words = "exemplar prior: attention over patches"

    def __init__(self, steps: int):
        from mild.mild_core.comfy.erasers import builtin

        self.steps, self.model = steps, builtin.load_model()

    def rules(self, maps: Maps) -> dict[str, Callable[[Any], Any]]:
        return {"no rule": lambda model: model, "neighbour forbidden": lambda model: model}

    def sampled(self, model: Any, pictures: Tensor, scene: Scene, denoise: float, values: dict) -> Tensor:
        import comfy.sample

        from mild.mild_core.comfy.erasers import builtin

        latent = pictures.movedim(-1, 1) * 2 - 1
        noise = torch.randn(latent.shape[1:], generator=torch.Generator().manual_seed(0)).expand_as(latent)
        ((text, _),) = builtin.empty_conditioning()
        samples = comfy.sample.sample(
            model, noise, self.steps, 1.0, "euler", "normal", [[text, values]], [[text, values]], latent,
            denoise=denoise, noise_mask=scene.hole[None, None], seed=0, disable_pbar=True,
        )  # fmt: skip
        return ((samples.float().cpu() + 1) / 2).clamp(0, 1).movedim(1, -1)


def only_attention(network: torch.nn.Module) -> None:
    """Take away all else that carries anything across."""
    for weight in network.parameters():
        if weight.ndim == 4 and weight.shape[-1] == 3:
            middle = weight.data[:, :, 1, 1] * 3  # activations keep their size
            weight.data.zero_()
            weight.data[:, :, 1, 1] = middle
    for module in network.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = functools.partial(normed, module)  # type: ignore[method-assign]


def normed(module: torch.nn.GroupNorm, x: Tensor) -> Tensor:
    """Each cell of [B, C, H, W] by itself, over all channels: a narrow model's groups have one channel each."""
    return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + module.eps).sqrt()


def nobody_sees(regions: tuple[str, ...], region: str) -> Rule:
    """Keys of a region are forbidden to everyone; the region itself would see nothing else for long, so it may."""
    gone = torch.tensor([name == region for name in regions])
    return Rule(regions, forbidden=gone[None, :] & ~gone[:, None])


# -- figures ----------------------------------------------------------------------------------------------------------


def measured(kind: Any, scene: Scene, other: Scene) -> list[Row]:
    """A scene under each rule."""
    from mild.mild_core.comfy.attention.recorder import recording

    maps = Maps.of_mask(scene.hole[None], scene.people[None])
    neighbours, erased = repainted(scene, other)
    rows = []
    scaling: list[tuple[Tensor, Tensor]] = []
    for rule, put in kind.rules(maps).items():
        values = {"mild_allowed": 1 - scene.people[None]} if rule == "neighbour forbidden" else {}
        model, recorder = recording(put(kind.model), maps)
        # the record is the first sampling's: the second one would start it anew
        results = [kind.sampled(model, neighbours, scene, 1.0, values)]
        gap = recorder.record.layers[Pathway(0)].gap()
        results.append(kind.sampled(put(kind.model), erased, scene, DENOISE, values))
        if not scaling:
            scaling = [spread(result[0], scene) for result in results]
        moved = []
        for result, (scale, offset) in zip(results, scaling, strict=True):
            colours = lab((result * scale + offset).clamp(0, 1))
            moved += [distance(colours[0], one, scene.hole) for one in colours[1:]]
        rows.append(Row(scene.name, rule, gap, tuple(moved)))
    return rows


def spread(result: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    """What brings the hole of a result [h, w, 3] to mean 0.5 and standard deviation 0.2; pictures stay."""
    if result.shape[0] == scene.photo.shape[0]:
        return torch.ones(()), torch.zeros(())
    hole = result[inside(result, scene.hole)]
    scale = 0.2 / hole.std(0).clamp_min(1e-6)
    return scale, 0.5 - hole.mean(0) * scale


def inside(result: Tensor, hole: Tensor) -> Tensor:
    return area_resize(hole[None, None], (result.shape[0], result.shape[1]))[0, 0] > 0.5


def distance(one: Tensor, other: Tensor, hole: Tensor) -> float:
    """Mean CIELAB distance (CIE76) inside the hole, of [h, w, 3]."""
    return float((one - other).norm(dim=-1)[inside(one, hole)].mean())


def lab(pixels: Tensor) -> Tensor:
    """sRGB [..., 3], 0..1, to CIELAB, white D65 (IEC 61966-2-1; CIE 15)."""
    linear = torch.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055).pow(2.4))
    to_xyz = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / torch.tensor([0.9505, 1.0, 1.089])
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-9).pow(1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def correlation(rows: list[Row], column: int, within: str | None = None) -> tuple[float, float, float]:
    """Pearson's r of CAG and leakage, and its 95 % interval by resampling scenes.

    within: "scene" or "rule": what scenes, or rules, have in common is taken out first.
    """
    names = sorted({row.scene for row in rows})
    generator = np.random.default_rng(0)
    found = [_pearson(rows, column, within)]
    if np.isnan(found[0]):
        return (float("nan"),) * 3
    for _ in range(RESAMPLES):
        drawn = generator.choice(names, len(names))
        again = [row._replace(scene=f"{number}") for number, name in enumerate(drawn) for row in rows
                 if row.scene == name]  # fmt: skip
        found.append(_pearson(again, column, within))
    low, high = np.nanquantile(found[1:], (0.025, 0.975))
    return found[0], float(low), float(high)


def _pearson(rows: list[Row], column: int, within: str | None) -> float:
    x, y = np.array([row.gap for row in rows]), np.array([row.moved[column] for row in rows])
    if within is not None:
        groups = np.array([getattr(row, within) for row in rows])
        for group in set(groups):
            x[groups == group] -= x[groups == group].mean()
            y[groups == group] -= y[groups == group].mean()
    if x.std() < 1e-9 or y.std() < 1e-9:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def print_rows(rows: list[Row]) -> None:
    width = max(len(row.rule) for row in rows)
    print(f"  {'rule':{width}}  {'CAG':>6}  " + "  ".join(f"{name:>18}" for name in COLUMNS))
    for rule in dict.fromkeys(row.rule for row in rows):
        own = [row for row in rows if row.rule == rule]
        gap = np.mean([row.gap for row in own])
        cells_ = []
        for column in range(len(COLUMNS)):
            moved = [row.moved[column] for row in own]
            cells_.append(f"{np.mean(moved):7.2f} ({np.min(moved):.2f}-{np.max(moved):.2f})".rjust(18))
        print(f"  {rule:{width}}  {gap:6.3f}  " + "  ".join(cells_), flush=True)


def main() -> None:
    about, _, _ = (__doc__ or "").partition("\n\nA rule")
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--models", default="attention,unet,builtin")
    parser.add_argument("--data", type=Path, help="photos NAME.jpg with NAME_inst.png")
    parser.add_argument("--scenes", type=int, default=6, help="at most so many")
    parser.add_argument("--size", type=int, default=192, help="of a crop, in pixels: a multiple of 64")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--width", type=float, default=0.1, help="share of the channels of the random UNet")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = random_models.start_comfyui(options.device)
    scenes = scenes_of(options.data, options.size, options.scenes)
    if len(scenes) < 2:
        raise SystemExit("data: fewer than two people were found who have somebody else near them.")
    print(f"{machine(device)}; torch {torch.__version__}")
    print(f"{len(scenes)} scenes of {options.data.name if options.data else 'the example photo'}, {options.size} px, "
          f"{options.steps} steps, euler, normal; mean CIELAB distance in the hole (least-most)")  # fmt: skip
    line = ""
    with torch.inference_mode():
        for name in options.models.split(","):
            if name == "builtin":
                kind: RandomUNet | BuiltIn = BuiltIn(options.steps)
            else:
                kind = RandomUNet(options.width, options.steps, name == "attention")
            print(f"{name}: {kind.words}", flush=True)
            rows = [
                row
                for number, scene in enumerate(scenes)
                for row in measured(kind, scene, scenes[(number + 1) % len(scenes)])
            ]
            print_rows(rows)
            for column, what in enumerate(COLUMNS):
                parts = []
                for within in (None, "scene", "rule"):
                    r, low, high = correlation(rows, column, within)
                    parts.append(
                        f"{'all' if within is None else 'within a ' + within} {r:.2f} ({low:.2f} to {high:.2f})"
                    )
                print(f"  r of CAG and {what}, n = {len(scenes)} scenes: " + "; ".join(parts), flush=True)
            free = np.mean([row.moved[0] for row in rows if row.rule == "no rule"])
            ruled = np.mean([row.moved[0] for row in rows if row.rule == kind.rule])
            line += f"{name}_leak={free:.2f} {name}_leak_ruled={ruled:.2f} "
    print(line.strip())


if __name__ == "__main__":
    main()
