"""Draw web/icon.png and web/banner.png, which the Comfy registry shows: `uv run tools/make_icon.py`

Three sheets, one over the other: the place, the person, and the photo with a hole where the person was. Drawn OVER
times as large and made smaller, for smooth edges.
"""

from pathlib import Path

from PIL import Image, ImageDraw

WEB = Path(__file__).resolve().parents[1] / "web"
ICON = (400, 400)
BANNER = (1260, 540)  # 21:9
OVER = 4
GROUND = (24, 27, 34)
SHEETS = ((52, 84, 120), (74, 126, 160), (120, 190, 190))  # back to front
GONE = (232, 196, 92)
FIGURE = (  # ellipses and boxes with round corners in shares of the figure's height: left, top, right, bottom, round
    (-0.085, 0.0, 0.085, 0.17, 0.085),
    (-0.15, 0.19, 0.15, 0.58, 0.1),
    (-0.13, 0.45, -0.015, 1.0, 0.05),
    (0.015, 0.45, 0.13, 1.0, 0.05),
)


def figure(picture: Image.Image, top: float, height: float, rim: float, colour: tuple[int, ...]) -> None:
    """Somebody standing in the middle, `height` pixels tall, and `rim` pixels more on every side."""
    draw, middle = ImageDraw.Draw(picture), picture.width / 2
    for left, upper, right, lower, corner in FIGURE:
        box = (middle + left * height, top + upper * height, middle + right * height, top + lower * height)
        grown = (box[0] - rim, box[1] - rim, box[2] + rim, box[3] + rim)
        draw.rounded_rectangle(grown, corner * height + rim, colour)


def sheet(side: int, colour: tuple[int, int, int], person: bool, hole: bool) -> Image.Image:
    """One layer, RGBA, side x side: with somebody on it, or with a hole and a rim where somebody was."""
    picture = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    ImageDraw.Draw(picture).rounded_rectangle((0, 0, side - 1, side - 1), side / 12, (*colour, 255))
    if person or hole:
        figure(picture, 0.14 * side, 0.72 * side, side / 50, (*GONE, 255))
    if hole:
        figure(picture, 0.14 * side, 0.72 * side, 0, (0, 0, 0, 0))
    return picture


def drawn(size: tuple[int, int], side: float, across: float, down: float) -> Image.Image:
    """The sheets, `side` times as large as the picture is high, each moved on by so much of the height."""
    width, height = size[0] * OVER, size[1] * OVER
    picture = Image.new("RGBA", (width, height), (*GROUND, 255))
    large = round(side * height)
    for place, colour in enumerate(SHEETS):
        layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        x = (width - large) / 2 + (place - 1) * across * height
        y = (height - large) / 2 + (place - 1) * down * height
        layer.paste(sheet(large, colour, person=place == 1, hole=place == 2), (round(x), round(y)))
        picture = Image.alpha_composite(picture, layer)
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def main() -> None:
    for name, picture in (("icon", drawn(ICON, 0.6, 0.13, 0.13)), ("banner", drawn(BANNER, 0.72, 0.62, 0.0))):
        path = WEB / f"{name}.png"
        picture.quantize(128).save(path, optimize=True)
        print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
