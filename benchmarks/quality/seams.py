"""What matching seams is worth: `uv run benchmarks/quality/seams.py --limit 12`

Composed scenes, split and painted through the nodes by the Built-in Model, then joined with each setting of `seam`.

simulated  what was painted (the Built-in Model's holes, and the truth itself) shifted as latent models shift it: an
           offset per channel, a change of contrast per channel, a tint that changes from side to side. Printed: how
           far the joined photo is from the one joined without any shift, mean over the places of the people, grey
           levels. The row "no shift" says what a setting does to pictures that have none
autoencoder  the truth, once through a real small autoencoder (`--vae DIR` with taef2_encoder/decoder.pth): distance
           from the truth, smoothed over 17 px, because a lost texture is no seam
real       the Built-in Model's own results: ST-LPIPS and PSNR against the truth, with grain off and on
grain      the scenes with camera noise on them, holes painted with the truth without noise: noise in the holes, as a
           share of that beside them
"""

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pack.py"))  # makes `mild` importable

from mild.benchmarks.shared import metrics, ours, scenes
from mild.mild_core.image import boxes
from mild.mild_core.layers.recompose import recompose
from mild.mild_core.layers.seams import SEAMS
from mild.mild_core.scene import PERSON, Layer, Scene
from mild.tools.erase_graph import erasing_graph

VAE = scenes.ROOT.parent / "shared" / "models"
NOISE = 3 / 255
SMOOTH = 17  # px

Change = Callable[[Tensor], Tensor]


class Case(NamedTuple):
    """One composed scene, its layers painted, and its truth [H, W, 3]."""

    scene: Scene
    truth: Tensor
    seen: Tensor  # [H, W] bool: where people were


def painted(given: scenes.Scene) -> Case:
    """The scene through the nodes up to Sample Layers."""
    with ours.load_nodes().InProcess() as comfy:
        values = torch.from_numpy(given.photo)[None], torch.from_numpy(given.masks.astype(np.float32))
        image, people = (("TEST_Give", {"key": comfy.give(value)}, 0) for value in values)
        graph = erasing_graph(image, [people], ours.inputs_of)
        (scene,) = comfy.run_graph(graph, wanted=["sample"]).outputs["sample"][0]
    return Case(scene, torch.from_numpy(given.truth), torch.from_numpy(given.union))


def filled(case: Case, picture: Tensor | None, change: Change) -> Scene:
    """The layers with picture [H, W, 3] (None: with what was painted) in their holes, changed."""

    def fill(layer: Layer) -> Layer:
        inside = (layer.hole > 0)[..., None]
        pixels = layer.pixels if picture is None else torch.where(inside, boxes.cut(picture, layer.box), layer.pixels)
        return layer._replace(pixels=torch.where(inside, change(pixels).clamp(0, 1), pixels))

    own = [fill(layer) for layer in case.scene.layers if layer.domain != PERSON]
    return case.scene._replace(layers=tuple(own))


def offset(pixels: Tensor) -> Tensor:
    return pixels + pixels.new_tensor([6, -4, 3]) / 255


def contrast(pixels: Tensor) -> Tensor:
    return (pixels - 0.5) * pixels.new_tensor([1.08, 0.94, 1.05]) + 0.5


def tint(pixels: Tensor) -> Tensor:
    across = torch.linspace(-1, 1, pixels.shape[1])[None, :, None]
    return pixels + across * pixels.new_tensor([20, -16, 18]) / 255


SHIFTS: dict[str, Change] = {"no shift": lambda pixels: pixels, "offset": offset, "contrast": contrast, "tint": tint}


def joined(scene: Scene, seam: str, grain: bool = False) -> Tensor:
    return recompose([scene], seam, grain).image[0]


def simulated(cases: list[Case]) -> dict[str, float]:
    """Prints the table; returns residuals of the offset on the Built-in Model's results, by seam."""
    offsets: dict[str, float] = {}
    print("\nsimulated: residual in grey levels\n")
    print("| painted | shift | " + " | ".join(SEAMS) + " |\n|---|---|---|---|---|")
    for name, of_truth in (("truth", True), ("Built-in Model", False)):
        for shift, change in SHIFTS.items():
            last = {}
            for seam in SEAMS:
                errors = []
                for case in cases:
                    picture = case.truth if of_truth else None
                    right = joined(filled(case, picture, SHIFTS["no shift"]), "none")
                    moved = joined(filled(case, picture, change), seam)
                    errors.append(float((moved - right).abs()[case.seen].mean() * 255))
                last[seam] = float(np.mean(errors))
            if shift == "offset":
                offsets = last
            print(f"| {name} | {shift} | " + " | ".join(f"{last[seam]:.2f}" for seam in SEAMS) + " |")
    return offsets


def autoencoder(cases: list[Case], folder: Path) -> None:
    """A real VAE's own shift."""
    import comfy.sd
    import comfy.utils

    parts = {}
    for part in ("encoder", "decoder"):
        weights = comfy.utils.load_torch_file(str(folder / f"taef2_{part}.pth"), safe_load=True)
        parts |= {f"taesd_{part}.{key}": value for key, value in weights.items()}
    parts |= {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
    vae = comfy.sd.VAE(sd=parts, metadata={"tae_latent_channels": 128})
    vae.throw_exception_if_invalid()
    print("\nautoencoder: distance from the truth, smoothed, in grey levels\n")
    errors: dict[str, list[float]] = {seam: [] for seam in SEAMS}
    for case in cases:
        height, width = (side // 16 * 16 for side in case.truth.shape[:2])
        again = case.truth.clone()
        with torch.no_grad():
            decoded = vae.decode(vae.encode(case.truth[None, :height, :width]))
        again[:height, :width] = decoded.reshape(height, width, 3)
        scene = filled(case, again, SHIFTS["no shift"])
        for seam in SEAMS:
            apart = cv2.blur((joined(scene, seam) - case.truth).numpy(), (SMOOTH, SMOOTH))
            errors[seam].append(float(np.abs(apart)[case.seen.numpy()].mean() * 255))
    print(", ".join(f"{seam} {np.mean(values):.2f}" for seam, values in errors.items()))


def real(cases: list[Case]) -> dict[tuple[str, bool], float]:
    """Prints the table; returns ST-LPIPS by seam and grain."""
    print("\nreal results of the Built-in Model\n\n| seam | grain | LPIPS* | PSNR |\n|---|---|---|---|")
    found = {}
    for seam in SEAMS:
        for grain in (False, True):
            scores = []
            for case in cases:
                picture, truth, seen = recompose([case.scene], seam, grain).image[0].numpy(), *map(np.asarray, case[1:])
                scores.append((metrics.perceptual(picture, truth, seen), metrics.hole_psnr(picture, truth, seen)))
            perceptual, psnr = np.mean(scores, 0)
            found[seam, grain] = float(perceptual)
            print(f"| {seam} | {'on' if grain else 'off'} | {perceptual:.4f} | {psnr:.2f} |")
    return found


def grain(cases: list[Case]) -> float:
    """Noise in the holes over noise beside them; prints it without and with grain, returns it with."""
    shares: dict[bool, list[float]] = {False: [], True: []}
    for number, case in enumerate(cases):
        noise = NOISE * torch.randn(case.truth.shape, generator=torch.Generator().manual_seed(number))
        photo = case.scene.photo + noise
        noisy = case.scene._replace(
            photo=photo,
            layers=tuple(
                layer._replace(pixels=boxes.cut(photo, layer.box)) if layer.domain != PERSON else layer
                for layer in case.scene.layers
            ),
        )
        scene = filled(case._replace(scene=noisy), case.truth, SHIFTS["no shift"])
        deep = cv2.erode(case.seen.numpy().astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
        for on, found in shares.items():
            rest = (joined(scene, "none", on) - case.truth).numpy()
            if deep.any():
                found.append(float(rest[deep].std() / NOISE))
    without, with_ = (float(np.mean(shares[on])) for on in (False, True))
    print(f"\ngrain: noise in the holes over noise beside them: {without:.2f} without, {with_:.2f} with")
    return with_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=12, metavar="N", help="composed scenes (default 12)")
    parser.add_argument("--plates", type=Path, metavar="DIR", help="photos without people instead of the corpus's")
    parser.add_argument("--cutouts", type=Path, metavar="DIR", help="RGBA cut-outs of people instead of the corpus's")
    parser.add_argument("--vae", type=Path, default=VAE, metavar="DIR", help="folder of taef2_encoder/decoder.pth")
    given = parser.parse_args()
    cases = [painted(scene) for scene in scenes.iterate_composed(given.plates, given.cutouts, given.limit)]
    print(f"{len(cases)} composed scenes")
    offsets = simulated(cases)
    if (given.vae / "taef2_encoder.pth").is_file():
        autoencoder(cases, given.vae)
    own = real(cases)
    noise = grain(cases)
    print(
        f"\noffset_none={offsets['none']:.2f} offset_mean={offsets['mean']:.2f} "
        f"offset_gradient={offsets['gradient']:.2f} builtin_lpips_none={own['none', False]:.4f} "
        f"builtin_lpips_default={own['mean', True]:.4f} grain_share={noise:.2f}"
    )


if __name__ == "__main__":
    main()
