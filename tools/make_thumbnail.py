"""Makes the template's thumbnail, which is also the README's picture: `uv run tools/make_thumbnail.py`

It runs what workflows/erase_people_no_download.json holds (example photo, everybody, seed 0) and puts before and after
side by side. To be run again when the Built-in Model paints differently.
"""

import io

import demo
import pack
from PIL import Image

WORKFLOWS = pack.ROOT / "workflows"
TEMPLATE = "erase_people_no_download"
HALF = (480, 360)  # pixels of each of the two pictures
SEED = 0  # as in the template
QUALITY = 85


def main() -> None:
    job = demo.example_job()
    with demo.Server() as server:
        files, seconds = demo.run(server, job, "all", SEED, demo.Reporter())
    before = Image.fromarray((job.pixels[0].numpy() * 255).round().astype("uint8"))
    after = Image.open(io.BytesIO(files["save"]))
    sheet = demo.triptych([one.convert("RGB").resize(HALF, Image.Resampling.LANCZOS) for one in (before, after)])
    path = WORKFLOWS / f"{TEMPLATE}.jpg"
    sheet.save(path, quality=QUALITY, optimize=True)
    print(f"{path.name}: {sheet.width} x {sheet.height}, {path.stat().st_size // 1024} KB, {seconds:.0f} s in ComfyUI")


if __name__ == "__main__":
    main()
