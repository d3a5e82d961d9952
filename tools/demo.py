"""Erases people from a photo with real ComfyUI: `uv run tools/demo.py`, or with a photo of your own

    uv run tools/demo.py photo.jpg --masks people.png --erase 1,3 --out results

Without a photo it takes the one that comes with the pack, whose empty place is known, and says how near the result is.
The masks: one picture per person, or one picture with a colour (or grey value) per person, or one black and white
picture whose separate white areas are people. A PNG whose people are transparent needs no masks.
"""

import argparse
import hashlib
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

sys.path.append(str(Path(__file__).resolve().parent))
import pack  # noqa: E402, F401  (makes `mild` importable)

from mild.mild_core.example_photo import load_example  # noqa: E402
from mild.mild_core.layers.decompose import SplitOptions, decompose  # noqa: E402
from mild.mild_core.people.from_masks import cleaned_person, numbered, people_from_blobs, person_from_mask, resize_mask
from mild.mild_core.people.label_images import people_from_labels, resize_labels  # noqa: E402
from mild.mild_core.people.masks_to_people import BLOBS, LABELS, PER_MASK  # noqa: E402
from mild.mild_core.people.selection import choose  # noqa: E402
from mild.mild_core.scene import Person  # noqa: E402
from mild.tools.comfyui import ComfyUIError, Progress, Server  # noqa: E402
from mild.tools.erase_graph import erasing_graph  # noqa: E402

OUT = pack.ROOT / "out" / "demo"
MOST_COLOURS = 64  # a picture with more colours is no label image: blurred edges have hundreds


class Job(NamedTuple):
    """What is to be done: for the graph, and the same once more to check the result against."""

    name: str
    photo: tuple[str, dict, int]
    masks: list[tuple[str, dict, int]]
    split: str
    uploads: dict[str, bytes]  # name in ComfyUI's input folder: PNG
    pixels: torch.Tensor  # [1, H, W, 3], 0..1
    people: list[Person]
    truth: torch.Tensor | None  # [1, H, W, 3], 0..1


def example_job() -> Job:
    example = load_example()
    people = numbered([person for mask in example.masks if (person := person_from_mask(mask))])
    node = ("MILD_ExamplePhoto", {})
    return Job("example", (*node, 0), [(*node, 1)], PER_MASK, {}, example.photo, people, example.background)


def own_job(photo: Path, masks: list[Path]) -> Job:
    """For the artist's own files. Raises SystemExit with one sentence where they cannot be used."""
    for path in [photo, *masks]:
        if not path.is_file():
            raise SystemExit(f"There is no file {path}.")
    painted = 1 - read(photo, "RGBA")[..., 3]
    data = png(photo, "RGBA" if painted.any() else "RGB")
    uploads = {upload_name(data): data}
    image = ("LoadImage", {"image": upload_name(data)}, 0)
    pixels = read(photo)[None]
    size = (int(pixels.shape[1]), int(pixels.shape[2]))
    if not masks:
        if not bool((painted > 0).any()):
            raise SystemExit(f"Who is where? {photo.name} has no transparent parts: name one or more --masks.")
        people = numbered(people_from_blobs(painted)[0])
        return Job(photo.stem, image, [("LoadImage", image[1], 1)], BLOBS, uploads, pixels, people, None)
    split = PER_MASK if len(masks) > 1 else kind_of_mask(masks[0])
    people: list[Person] = []
    nodes = []
    for path in masks:
        data = png(path, "RGB")
        uploads[upload_name(data)] = data
        nodes.append(("LoadImage", {"image": upload_name(data)}, 0))
        people = numbered(people_in(path, split, size), people)
    if not people:
        raise SystemExit("Nobody is to be seen in the masks: people are what is not black.")
    return Job(photo.stem, image, nodes, split, uploads, pixels, people, None)


def people_in(path: Path, split: str, size: tuple[int, int]) -> list[Person]:
    """The people of one mask file, as the node People from Masks sees them."""
    if split == LABELS:
        return people_from_labels([resize_labels(read(path), size)], [0]).people
    mask = resize_mask(read(path).amax(-1)[None], size)[0]
    person, _ = cleaned_person(mask)
    return people_from_blobs(mask)[0] if split == BLOBS else [person] if person else []


def kind_of_mask(path: Path) -> str:
    """What a single mask file is: several plain colours make a label image, everything else shows separate blobs."""
    colours = opened(path, "RGB").getcolors(MOST_COLOURS)
    return LABELS if colours and len([c for _, c in colours if c != (0, 0, 0)]) > 1 else BLOBS


def read(path: Path, mode: str = "RGB") -> torch.Tensor:
    """[H, W, C], 0..1, turned as the camera says, as ComfyUI's Load Image does."""
    return torch.from_numpy(np.array(opened(path, mode), dtype=np.float32) / 255)


def png(path: Path, mode: str) -> bytes:
    """The picture as PNG: JPEG decoders differ by a grey level, and then pixels could not be compared exactly."""
    buffer = io.BytesIO()
    opened(path, mode).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def upload_name(data: bytes) -> str:
    """A name that no other picture has: ComfyUI renames an upload whose name is taken."""
    return f"mild-{hashlib.sha256(data).hexdigest()[:16]}.png"


def opened(path: Path, mode: str) -> Image.Image:
    try:
        return ImageOps.exif_transpose(Image.open(path)).convert(mode)
    except UnidentifiedImageError:
        raise SystemExit(f"{path} is no picture that can be read.") from None


def holes(job: Job, who: str) -> np.ndarray:
    """Where anything may change, bool [H, W], worked out apart from the server's run."""
    area = np.zeros(job.pixels.shape[1:3], bool)
    for layer in decompose(job.pixels, choose(job.people, who), None, None, SplitOptions())[0].layers:
        x0, y0, x1, y1 = layer.box
        area[y0:y1, x0:x1] |= (layer.hole > 0).numpy()
    return area


def run(
    server: Server, job: Job, who: str, seed: int, report: Callable[[Progress], None] | None = None
) -> tuple[dict[str, bytes], float]:
    """Let ComfyUI do it. Returns the PNGs ("save": the result, "show": the holes) and the seconds the graph took."""
    for name, data in job.uploads.items():
        server.upload_image(data, name)
    graph = erasing_graph(
        job.photo,
        job.masks,
        lambda kind: server.get(f"/object_info/{kind}")[kind]["input"],
        who=who,
        split=job.split,
        seed=seed,
    )
    for name, source in (("save", ["recompose", 0]), ("show", ["layers", 1])):
        graph[name] = {"class_type": "SaveImage", "inputs": {"images": source, "filename_prefix": f"mild-{name}"}}
    graph["sample"]["_meta"] = {"title": "Painting"}
    result = server.run(graph, report)
    return {name: result.of(name)[0].read() for name in ("save", "show")}, result.seconds


class Reporter:
    """Prints progress: one line that moves on a terminal, a line for each quarter elsewhere."""

    def __init__(self) -> None:
        self.start: dict[str, float] = {}
        self.end: dict[str, float] = {}
        self.printed: set[tuple[str, int]] = set()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        self.start.setdefault(progress.node, now)
        self.end[progress.node] = now
        text = f"{progress.title}: {progress.value:.0f} of {progress.maximum:.0f}"
        quarter = (progress.node, int(4 * progress.value / max(progress.maximum, 1)))
        if sys.stdout.isatty():
            print(f"\r{text:<60}", end="\n" if progress.value >= progress.maximum else "", flush=True)
        elif quarter not in self.printed:
            self.printed.add(quarter)
            print(text, flush=True)


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """One picture of all of them in a row, all as tall as the first."""
    height = pictures[0].height
    pictures = [p.convert("RGB").resize((round(p.width * height / p.height), height)) for p in pictures]
    sheet = Image.new("RGB", (sum(p.width for p in pictures) + 8 * (len(pictures) - 1), height), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + 8
    return sheet


def judge(result: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> str:
    """How near the result [H, W, 3] is to the true background, in the hole [H, W]."""
    from mild.benchmarks.shared import metrics

    psnr = metrics.hole_psnr(result, truth, hole)
    try:
        distance = f"{metrics.perceptual(result, truth, hole):.3f} (ST-LPIPS, 0 is equal)"
    except ImportError:
        distance = "not measured (stlpips-pytorch is not installed)"
    return f"{psnr:.2f} dB in the holes, perceptual distance {distance}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", help="the photo (default: the one that comes with the pack)")
    parser.add_argument("--masks", type=Path, nargs="+", default=[], metavar="FILE", help="who is where")
    parser.add_argument("--erase", default="all", metavar="WHO", help="all, 1,3, 2-4 or all but 2 (default: all)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="folder for the results")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gpu", action="store_true", help="let ComfyUI choose the device (default: the CPU)")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.masks and not given.photo:
        raise SystemExit("--masks belong to a photo of your own: name it first.")
    job = own_job(given.photo, given.masks) if given.photo else example_job()
    try:
        area = holes(job, given.erase)
    except ValueError as wrong:
        raise SystemExit(str(wrong)) from None
    reporter = Reporter()
    start = time.monotonic()
    try:
        with Server(gpu=given.gpu) as server:
            print(f"ComfyUI answers at {server.url}")
            files, seconds = run(server, job, given.erase, given.seed, reporter)
    except ComfyUIError as wrong:
        raise SystemExit(str(wrong)) from None
    given.out.mkdir(parents=True, exist_ok=True)
    result, sheet, drawing = (
        given.out / f"{job.name}-{what}.png" for what in ("erased", "before-holes-after", "holes")
    )
    result.write_bytes(files["save"])
    drawing.write_bytes(files["show"])
    after = Image.open(result)
    photo = np.round(job.pixels[0].numpy() * 255).astype(np.uint8)
    side_by_side([Image.fromarray(photo), Image.open(drawing), after]).save(sheet)
    drawing.unlink()
    saved = np.asarray(after.convert("RGB"))
    differs = (saved != photo).any(-1)
    sampling = reporter.end.get("sample", 0.0) - reporter.start.get("sample", 0.0)
    print(f"Result: {result}")
    print(f"Before, holes, after: {sheet}")
    print(
        f"Time: {sampling:.0f} s painting, {seconds:.0f} s in ComfyUI, {time.monotonic() - start:.0f} s with its start"
    )
    inside, outside = int((differs & area).sum()), int((differs & ~area).sum())
    print(f"Pixels changed in the saved PNG: {inside} in the holes (of {int(area.sum())}), {outside} outside them")
    if job.truth is not None:
        truth = job.truth[0].numpy()
        print(f"True background: {judge(saved.astype(np.float32) / 255, truth, area)}")


if __name__ == "__main__":
    main()
