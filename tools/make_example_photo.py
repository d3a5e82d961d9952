"""Makes the shipped photo, its masks, a hidden part and its true empty background out of OpenCV's pedestrian film.

    python tools/make_example_photo.py [vtest.avi]     (Debian: apt install opencv-doc; needs opencv-python-headless)

The masks are drawn by hand (outlines below). The background is the photo itself, but for the surroundings of each
person, which come from the frame nearest in time in which nobody stands there.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILM = "/usr/share/doc/opencv-doc/examples/data/vtest.avi"
FOLDER = Path(__file__).resolve().parent.parent / "mild_core" / "example_photo"
FRAME = 534
AROUND = 26  # px around a person that come from another frame: the person's shadow is in there
FEATHER = 5.0  # px over which that is blended with the photo
EMPTY_LEVEL = 26.0  # grey levels: smoothed pixels that lie nearer to the film's median show nobody
MOST_OTHER = 0.012  # of a place may lie farther from it: the barrier tape that flaps in the wind
QUALITY = 94  # JPEG, no chroma subsampling: whole blocks away from people come out equal in photo and background
COLOURS = [(0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180)]

# x, y in pixels of the frame, back to front; the second outline of a person is cut out of the first (a gap)
WOMAN_IN_RED = [
    (183.8, 178.1), (185, 173.8), (187.5, 171.9), (190.6, 171.5), (193.8, 173.5), (195.6, 176.9), (196.9, 181.3),
    (198.5, 183.8), (199.8, 187.5), (200, 193.1), (198.5, 197.5), (199.8, 200.6), (199.8, 202.5), (198.1, 204.4),
    (198.5, 207.5), (196.3, 211.3), (195.6, 216.3), (196.9, 223.8), (198.5, 230), (200, 238.1), (200, 240.4),
    (196.9, 240.8), (193.8, 240), (192.3, 238.1), (190.6, 238.1), (188.1, 236.3), (188.1, 233.8), (189.8, 231.3),
    (190.6, 226.3), (190, 218.8), (187.5, 212.5), (185.6, 205.6), (185, 202.5), (185, 198.8), (180.6, 197.5),
    (178.5, 194.4), (179.4, 190.6), (177.8, 186.3), (179.4, 184.4), (183.1, 183.8),
]  # fmt: skip
MAN_BY_THE_POLE = [
    (461.9, 190.6), (461.5, 188.1), (463.1, 186), (465.6, 185), (468.5, 186.3), (469.6, 189.4), (469.4, 193.1),
    (470, 196.3), (470.6, 198.8), (476.3, 200.6), (477.8, 204.4), (479, 212.5), (479.1, 218.8), (477.9, 225),
    (476.3, 230), (475.4, 233.8), (474.8, 245), (473.5, 255), (471.9, 265), (471.5, 269.4), (470.9, 273.1),
    (468.8, 275.3), (465.6, 274.4), (463.1, 274.4), (460, 273.5), (460.3, 271.3), (461.9, 268.8), (461, 261.3),
    (460, 252.5), (458.4, 247.5), (458.1, 240), (455.6, 239.4), (454, 235), (453.5, 226.3), (453.8, 218.8),
    (454.4, 212.5), (456, 205.6), (458.1, 202.5), (460.6, 198.8), (461.9, 196.3), (463.8, 195),
]  # fmt: skip
GAP_BETWEEN_LEGS = [(465.6, 238.8), (467, 238.8), (467.3, 250), (467.8, 257.5), (466.5, 255), (464.8, 247.5)]
MAN_WITH_ELBOW = [
    (625, 194), (626, 190.4), (629.4, 189.2), (633.4, 190.8), (634.6, 195), (633.4, 199), (634, 200.6), (640, 201.6),
    (644, 204), (653, 210), (653, 212.4), (649, 219), (645.6, 220.6), (647.4, 232.4), (646.6, 234), (640, 234),
    (639.6, 246), (641.4, 258), (641.8, 264.4), (640.6, 271), (637, 272), (635.4, 267), (634.6, 260), (632.8, 256),
    (631.8, 262), (631.8, 270), (631, 272), (624.6, 272), (623.4, 266), (623, 250), (623, 236), (620.2, 236.4),
    (619, 238.4), (616.6, 237), (616.6, 234), (615.4, 231.6), (615, 229), (616.6, 223), (617.4, 214), (619.4, 205.6),
    (622, 202.4), (626, 200.6), (626.6, 198.4),
]  # fmt: skip
GAP_BY_ARM = [(644.4, 212.4), (647.4, 213), (645.2, 217)]
MAN_IN_BLACK = [
    (647, 283), (647.4, 279), (650, 276.4), (653, 275.8), (656.6, 277.2), (658.2, 281), (657.8, 286), (657.4, 289),
    (663, 292), (666, 297), (668.6, 307), (667.4, 314), (664.4, 321), (665, 332), (665, 344), (664, 350), (660, 356),
    (658.6, 359), (662, 363), (662.6, 365.6), (658, 367), (655, 363), (654.6, 358), (652.6, 361), (651.4, 369),
    (652, 372), (649.4, 373.2), (646.2, 372.4), (645.6, 368), (645, 365), (644, 360), (643, 348), (641.4, 335),
    (639.4, 333), (639, 322), (635, 316), (633, 310), (634, 304), (636, 297), (640, 292), (646, 288.6),
]  # fmt: skip
GAP_BETWEEN_KNEES = [(652.2, 340), (654.6, 341.6), (654.6, 347), (653, 350), (651.6, 347)]
BLONDE_WOMAN = [
    (338.3, 395.2), (337.8, 392.5), (340.2, 387.9), (345.7, 385.7), (352.1, 384.2), (358.6, 386), (363.2, 389.7),
    (365, 394.3), (363.2, 399.8), (364.1, 403.5), (368.7, 409.9), (371.4, 418.2), (372.4, 428.3), (375.5, 439.4),
    (379.2, 450), (377.9, 454.1), (375.1, 455), (377, 465.1), (376.6, 472.5), (373.3, 478), (371.1, 481.7),
    (371.4, 485.3), (380.6, 494.5), (390.7, 501.9), (396.3, 507.4), (399.4, 510.2), (399.9, 513.9), (395.3, 521.2),
    (391.7, 524), (388, 522.1), (388.9, 514.8), (385.2, 512.9), (375.1, 502.8), (365.9, 495.5), (360.4, 487.2),
    (358.6, 484.4), (356.7, 486.3), (357.1, 492.7), (356.4, 501.9), (350, 508), (348, 513.5), (344, 513.7),
    (337.5, 511.5), (337, 509), (341, 507.5), (338, 501), (334, 490), (340, 450), (342, 421), (346.2, 419.1),
    (347.5, 409.9), (344.8, 405.3), (340.2, 400.7),
]  # fmt: skip
MAN_IN_RED = [
    (313.5, 405.3), (314.4, 400.7), (318.1, 396.7), (322.7, 395.8), (328.2, 397.4), (331.3, 401.7), (331.9, 407.2),
    (330.6, 412.7), (338.3, 414.5), (342, 420), (346.6, 423.7), (348, 428.3), (348.8, 433.9), (348.8, 454),
    (349.4, 470.6), (349.7, 481.7), (349.7, 492.7), (355.8, 501.9), (364.1, 512.9), (369.6, 520.3), (373.3, 522.1),
    (375.5, 527.6), (375.1, 533.2), (372.4, 539.6), (368.7, 541.4), (365.9, 536.8), (365.9, 530.4), (361.3, 529.5),
    (354.9, 521.2), (345.7, 511.1), (338.3, 501.9), (332.8, 492.7), (331, 489), (328.2, 494.5), (326.9, 503.7),
    (326.9, 516.6), (326.9, 529.5), (327.7, 533.5), (321.8, 534.6), (314.4, 531.7), (307.1, 529.8), (304.9, 527.3),
    (307.1, 525.4), (312.6, 524.9), (312.2, 512.9), (312.2, 501.9), (312.2, 489.9), (297.5, 489), (296, 483.5),
    (307.1, 482.2), (306.7, 479.8), (308, 463.3), (309.3, 448.6), (309.5, 431.1), (316.3, 424.7), (315.3, 420.1),
    (319, 414.5), (315.3, 410.9),
]  # fmt: skip
HIDDEN_PART = [  # a guess: where the blonde woman goes on behind the man (chest, arm, thigh and calf)
    (347, 415), (342, 420), (339.5, 428), (338.5, 440), (338, 455), (338.5, 470), (339.5, 482), (342, 484),
    (342.5, 493), (340, 502), (338, 508), (340, 513), (347, 514), (351, 504), (355, 493), (358, 484), (358, 430),
    (351, 420),
]  # fmt: skip
PEOPLE = [
    (WOMAN_IN_RED,), (MAN_BY_THE_POLE, GAP_BETWEEN_LEGS), (MAN_WITH_ELBOW, GAP_BY_ARM),
    (MAN_IN_BLACK, GAP_BETWEEN_KNEES), (BLONDE_WOMAN,), (MAN_IN_RED,),
]  # fmt: skip


def read_film(path: str) -> NDArray[np.uint8]:
    """All frames [N, H, W, 3], BGR."""
    film, frames = cv2.VideoCapture(path), []
    while True:
        there, frame = film.read()
        if not there:
            break
        frames.append(frame)
    if len(frames) <= FRAME:
        raise SystemExit(f"{path} is missing or is not the pedestrian film: install opencv-doc, or name the file.")
    return np.stack(frames)


def draw_masks(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Label image [H, W]: 0 nobody, 1... the people from left to right; who is nearer covers who is farther."""
    labels = np.zeros(size, np.uint8)
    left_to_right = sorted(range(len(PEOPLE)), key=lambda i: min(x for x, _ in PEOPLE[i][0]))
    for index, (outline, *gaps) in enumerate(PEOPLE):
        mask = filled(outline, size)
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))  # the lens smears outlines
        for gap in gaps:
            mask[filled(gap, size) > 0] = 0
        labels[mask > 0] = 1 + left_to_right.index(index)
    return labels


def filled(outline: list[tuple[float, float]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The polygon as a mask [H, W]; fractions count (pixel centres inside)."""
    mask = np.zeros(size, np.uint8)
    fixed = np.round((np.array(outline) - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, shift=4)
    return mask


def empty_background(frames: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frame FRAME [H, W, 3] without its people."""
    median = np.median(frames[::5], axis=0).astype(np.float32)
    result = frames[FRAME].astype(np.float32)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * AROUND + 1, 2 * AROUND + 1))
    count, area = cv2.connectedComponents(cv2.dilate((labels > 0).astype(np.uint8), disc))
    for i in range(1, count):
        region = area == i
        chosen = nearest_empty(frames, region, median)
        print(f"place {i}: frame {chosen}")
        solid = cv2.erode(region.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=int(2 * FEATHER))
        weight = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), FEATHER / 2)[..., None]
        weight = np.where(region[..., None], np.maximum(weight, 0), 0)
        result = result * (1 - weight) + frames[chosen].astype(np.float32) * weight
    return np.round(result).astype(np.uint8)


def nearest_empty(frames: NDArray[np.uint8], region: NDArray[np.bool_], median: NDArray[np.float32]) -> int:
    """The frame nearest in time to FRAME in which nobody is in region [H, W]."""
    ys, xs = np.nonzero(region)
    part = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    for step in range(1, len(frames)):
        for number in (FRAME - step, FRAME + step):
            if 0 <= number < len(frames):
                difference = cv2.blur(frames[number][part].astype(np.float32) - median[part], (5, 5))
                if (np.abs(difference).max(-1)[region[part]] > EMPTY_LEVEL).mean() < MOST_OTHER:
                    return number
    raise SystemExit("the film shows a place never empty: choose another frame")


def save(picture: NDArray[np.uint8], name: str) -> None:
    image = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    image.save(FOLDER / name, quality=QUALITY, subsampling=0, optimize=True)


def main() -> None:
    frames = read_film(sys.argv[1] if len(sys.argv) > 1 else FILM)
    labels = draw_masks(frames.shape[1:3])
    FOLDER.mkdir(exist_ok=True)
    save(frames[FRAME], "photo.jpg")
    save(empty_background(frames, labels), "background.jpg")
    image = Image.fromarray(labels, "P")
    image.putpalette([value for colour in COLOURS for value in colour])
    image.save(FOLDER / "masks.png", optimize=True)
    man = labels == labels[450, 340]
    hidden = filled(HIDDEN_PART, labels.shape) * man * np.uint8(255)
    Image.fromarray(hidden).convert("1").save(FOLDER / "hidden.png", optimize=True)


if __name__ == "__main__":
    main()
