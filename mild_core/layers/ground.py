"""The ground under a person whose hidden part is painted, the picture it is painted from, and the alpha afterwards."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image import boxes
from ..image.blobs import blobs
from ..image.fill import area_resize, push_pull
from ..image.growth import VISIBLE, distance

GROUNDS = ((0.5, 0.5, 0.5), (0.1, 0.6, 0.2), (0.7, 0.1, 0.7), (0.1, 0.3, 0.8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
"""Grey first, since it suggests nothing; the others for people whose clothes are grey."""

NEAR = 0.12
"""Largest difference of a channel (range 0..1) below which a colour cannot be told from the ground reliably."""

MOSTLY = 0.25
"""Share of a person's pixels: if more of them are as near as that to a ground, another ground is better."""

MOST_SAMPLES = 100_000
"""Pixels of a mask: of larger ones not every pixel is read when a ground is picked."""

SURE = (0.04, NEAR)
"""Difference from the ground (range 0..1) at which a pixel begins to be, and certainly is, part of the person."""

EVIDENCE = 3.0
"""Log odds for the person that a clear difference from the ground adds; none takes as much away."""

DECISION = 0.5
"""Log odds from which a pixel counts as the person's: a little wall too much is seen less than a little of the person.
"""

LEAST = 0.02
"""Least probability, on either side, of a guess where the person goes on: painting can overrule it."""

DECIDED = 12
"""Factor by which the start goes over more steeply than the probability from the ground to the person's colours."""

UPRIGHT = 4
"""Factor by which a colour reaches farther sideways than up and down: people are coloured in bands (hair, coat,
trousers, shoes).
"""

PALETTE = 5
MAJORITY = 3.0
"""Number of colours that the person's pixels are sorted into, and the power of a colour's share of what is near that
is its weight.
"""

BANDS = 64
"""Rows at which the person's smooth colours are worked out, at most."""

AT_A_TIME = 1 << 20
"""Pixels whose colours are compared at a time, for the memory."""

SPREADS = (0.04, 0.1, 0.3)
FALL = -0.5
"""A colour's weight falls with distance like a sum of Gaussians of these standard deviations, in heights of the crop,
each weighted by its deviation to this power.
"""

RIM = 0.09
MOST_RIM = 6
"""Width of the outer rim of a person's mask, as a share of the root of its area, and at most in pixels. Masks reach a
little into what is behind, so the rim's colours are trusted the less the farther out they are.
"""

UNSURE = 0.02
"""Share of the trust that is left to a pixel of the person that looks just like what is behind."""

CORE = 0.4
"""Patches are copied from pixels that are trusted more than this share of the most."""

SMOOTH = 1.6
EDGE = 0.5
"""Pixels over which the outline of a completed part is smoothed (a standard deviation), and how wide its edge then is:
like an edge in a photograph. A soft one looks worse than one that is a little off.
"""


class Completed(NamedTuple):
    """A person's layer once its hole is painted."""

    pixels: Tensor  # [h, w, 3]: in the hole the person's own colours, without the ground's
    alpha: Tensor  # [h, w]


def pick_ground(pixels: Tensor, mask: Tensor) -> tuple[float, float, float]:
    """The ground colour for a person with these pixels [h, w, 3] and mask [h, w], 0..1.

    Grey, unless too much of the person is grey; then the colour of GROUNDS that fewest of these pixels are near to.
    """
    step = max(1, int((mask.numel() / MOST_SAMPLES) ** 0.5))
    seen = pixels[::step, ::step][mask[::step, ::step] > 0.5].float()
    if not len(seen):
        return GROUNDS[0]
    shares = [float(((seen - seen.new_tensor(ground)).abs().amax(-1) < NEAR).float().mean()) for ground in GROUNDS]
    if shares[0] <= MOSTLY:
        return GROUNDS[0]
    return GROUNDS[shares.index(min(shares))]


def on_ground(pixels: Tensor, mask: Tensor, ground: tuple[float, float, float] | Tensor) -> Tensor:
    """pixels [h, w, 3] where mask [h, w] shows the person, exactly the ground where it is 0: a colour, or [h, w, 3]."""
    under = ground.to(pixels) if isinstance(ground, Tensor) else pixels.new_tensor(ground)
    return torch.lerp(under.expand_as(pixels), pixels, mask[..., None].to(pixels))


def trust(pixels: Tensor, visible: Tensor, hole: Tensor, plate: Tensor | None = None) -> Tensor:
    """How certainly pixels [h, w, 3] show the person alone, 0..1 [h, w]: less towards the mask's rim, 0 in the hole.

    plate [h, w, 3]: what is seen around the person. Where the person looks like it, the mask may include a gap, such as
    that between arm and side.
    """
    seen = visible > 0.5
    inside = hole > 0
    person = seen & ~inside
    rim = max(1.0, min(MOST_RIM, RIM * float(person.sum()) ** 0.5))
    depth = distance(~(seen | inside), rim + 1)
    share = ((depth - 1) / rim).clamp(0, 1).square() * person
    if plate is None or bool(seen.all()):
        return share
    known = ~seen[None, None]
    around = torch.where(seen[..., None], 0.0, plate.float()).movedim(-1, 0)[None]
    behind = push_pull(around, known)[0].movedim(0, -1)
    unlike = ((pixels.float() - behind).abs_().amax(-1) / NEAR).clamp(0, 1)
    return share * (UNSURE + (1 - UNSURE) * unlike.square())


def certain_pixels(pixels: Tensor, visible: Tensor, hole: Tensor, plate: Tensor | None = None) -> Tensor:
    """Pixels that certainly show the person alone, bool [h, w]; of a mask that is all rim, its middle; of a line, all
    of it.
    """
    share = trust(pixels, visible, hole, plate)
    most = float(share.max())
    return share > CORE * most if most > 0 else (visible > 0.5) & (hole <= 0)


def own_colours(pixels: Tensor, share: Tensor) -> Tensor:
    """The colour that the person would have at each pixel [h, w, 3], float32, judged by the person's own pixels (share
    [h, w]: how much each of them is trusted, 0..1).

    These pixels are sorted into PALETTE colours. Each weighs the more the more of it is seen near by, beside more than
    above, and the majority more than its share: black and white clothes do not make grey ones.
    """
    height, width = share.shape
    scale = min(1.0, BANDS / height)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    alike = _sorted_into(pixels, share)
    sums = torch.cat([_weighted(pixels, share * (alike == number), size) for number in range(PALETTE)])
    total = torch.zeros_like(sums)
    for spread in SPREADS:
        total += _spread(sums, spread * size[0], spread * size[0] * UPRIGHT) * spread**FALL
    dominance = (total[:, 3:] / total[:, 3:].sum(0).clamp_min(1e-12)) ** MAJORITY
    colours = (total[:, :3] / total[:, 3:].clamp_min(1e-12) * dominance).sum(0) / dominance.sum(0).clamp_min(1e-12)
    return F.interpolate(colours[None], size=(height, width), mode="bilinear", align_corners=False)[0].movedim(0, -1)


def _weighted(pixels: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels [h, w, 3] times weight [h, w], and the weight, averaged [1, 4, ...]: one by one, for the memory."""
    # Zeroed first, so that not even rounding depends on what is not the person.
    channels = [torch.where(weight > 0, pixels[..., channel].float(), 0.0).mul_(weight) for channel in range(3)]
    return torch.cat([area_resize(picture[None, None], size) for picture in (*channels, weight)], 1)


def _sorted_into(pixels: Tensor, share: Tensor) -> Tensor:
    """Number of the palette's colour that each of the person's pixels [h, w, 3] is nearest to, uint8 [h, w]; k-means
    from their quantiles. share [h, w]: 0 where they are not the person's.
    """
    result = torch.zeros_like(share, dtype=torch.uint8)
    known = pixels[share > 0.1].float()
    if not len(known):
        return result
    known = known[:: max(1, len(known) // 4000)]
    order = known.sum(1).argsort()
    middles = ((torch.arange(PALETTE, device=known.device) + 0.5) / PALETTE * len(known)).long()
    palette = known[order[middles]]
    for _ in range(8):
        nearest = torch.cdist(known, palette).argmin(1)
        members = F.one_hot(nearest, PALETTE).to(known)
        count = members.sum(0)[:, None]
        palette = torch.where(count > 0, members.T @ known / count.clamp_min(1), palette)
    person = share > 0
    parts = pixels[person].float().split(AT_A_TIME)
    result[person] = torch.cat([torch.cdist(part, palette).argmin(1).to(result) for part in parts])
    return result


def _spread(picture: Tensor, tall: float, wide: float) -> Tensor:
    """Gaussian blur of a small picture [B, C, h, w] with these standard deviations in rows and columns; 0 comes in from
    outside. By matrices: where the deviation is about the picture's size, convolutions are ten times as slow.
    """
    rows, columns = (_gaussian(picture, spread, along) for spread, along in ((tall, -2), (wide, -1)))
    return rows @ picture @ columns


def _gaussian(picture: Tensor, spread: float, along: int) -> Tensor:
    """[n, n]: how much each of the n rows (along -2) or columns (-1) counts at each other."""
    places = torch.arange(picture.shape[along], device=picture.device)
    apart = places[:, None] - places
    window = torch.exp(-apart.square() / (2 * spread**2)) / (2.5066 * spread)
    return torch.where(apart.abs() <= max(1, round(3 * spread)), window, 0.0).to(picture)


def _blurred(picture: Tensor, spread: float) -> Tensor:
    """Gaussian blur of [1, 1, h, w] with this small standard deviation; 0 comes in from outside."""
    reach = math.ceil(3 * spread)
    window = torch.exp(-torch.arange(-reach, reach + 1, device=picture.device).square() / (2 * spread**2))
    window = (window / (2.5066 * spread)).to(picture).view(1, 1, -1, 1)
    return F.conv2d(F.conv2d(picture, window, padding=(reach, 0)), window.mT, padding=(0, reach))


def start_of_person(
    pixels: Tensor, around: Tensor, hole: Tensor, visible: Tensor, likely: Tensor, ground: Tensor
) -> Tensor:
    """[h, w, 3]: what a person's layer starts from: in the hole the person's colours where the person probably goes on,
    and the ground elsewhere; outside the hole `around`.

    pixels, around [h, w, 3], float32; hole, visible, likely [h, w]; ground [h, w, 3] or [3].
    """
    inside = (hole > 0)[..., None]
    share = trust(pixels, visible, hole, ground if ground.ndim == 3 else None)
    decided = ((likely - 0.5) * DECIDED + 0.5).clamp(0, 1) * (share > 0).any()
    guess = torch.lerp(ground.expand_as(pixels), own_colours(pixels, share), decided[..., None].to(pixels))
    return torch.where(inside, guess, around)


def completed(
    sampled: Tensor, hole: Tensor, visible: Tensor, ground: tuple[float, float, float] | Tensor, likely: Tensor | None
) -> Completed:
    """The layer's pixels and alpha once its hole is painted.

    sampled [h, w, 3], 0..1; hole, visible [h, w], 0..1; ground: a colour, or the picture [h, w, 3] that was painted on;
    likely [h, w]: how likely a pixel is the person's by the outline (None: nothing is known of it). Inside the hole a
    pixel is the person's by the odds of both, the outline's and the painting's difference from the ground, if it is
    connected to what is visible of the person. Where the ground shows through the person, the person's own colours take
    its place. Outside the hole nothing changes.
    """
    under = ground if isinstance(ground, Tensor) else sampled.new_tensor(ground)
    difference = (sampled.float() - under.to(sampled).float()).abs_().amax(-1)
    differs = ((difference - SURE[0]) / (SURE[1] - SURE[0])).clamp(0, 1)
    open_ = hole > 0
    own = (visible > VISIBLE) & ~open_
    if likely is None:
        alpha = torch.where(open_, differs * _connected(differs, open_, own), visible.to(differs))
        return Completed(sampled, alpha)
    plate = ground if isinstance(ground, Tensor) else None
    colours = own_colours(sampled, trust(sampled, visible, hole, plate))
    away = (sampled.float() - colours).abs_().amax(-1)
    expected = (colours - under.to(sampled).float()).abs_().amax(-1)
    # Where the person's colours are the ground's, no difference is little evidence.
    distinct = ((expected - SURE[0]) / (SURE[1] - SURE[0])).clamp(0, 1)
    evidence = ((difference - away) / expected.clamp_min(SURE[0])).clamp(-1, 1) * distinct
    odds = torch.logit(likely.float(), LEAST) + EVIDENCE * evidence
    soft = _outlined(torch.where(open_, odds > DECISION, own), open_) * (likely > LEAST / 2)
    alpha = torch.where(open_, soft * _connected(soft, open_, own), visible.to(soft))
    ground_shows = open_ & (difference < away) & (distinct > 0.5)
    pixels = torch.where(ground_shows[..., None], colours.to(sampled), sampled)
    return Completed(pixels, alpha)


def _connected(soft: Tensor, open_: Tensor, own: Tensor) -> Tensor:
    """Where in the hole something is painted that is connected to what is visible of the person, bool [h, w]."""
    # The artist's mask may end a pixel short of the hole: one step of growth joins what a gap of a pixel would part.
    joined = F.max_pool2d(own[None, None].float(), 3, 1, 1)[0, 0] > 0
    candidate = (open_ & (soft > 0.5)) | joined
    reached = torch.zeros_like(candidate)
    for (x0, y0, x1, y1), shape in blobs(candidate)[0]:
        if (shape & own[y0:y1, x0:x1]).any():
            reached[y0:y1, x0:x1] |= shape
    return F.max_pool2d(reached[None, None].float(), 3, 1, 1)[0, 0] > 0


def _outlined(shape: Tensor, where: Tensor) -> Tensor:
    """Alpha [h, w] of a shape (bool) with a smooth outline whose edge is EDGE pixels wide, inside `where` (bool)."""
    result = torch.zeros(shape.shape, device=shape.device)
    box = boxes.tight_box(where)
    if box is None:
        return result
    reach = math.ceil(3 * SMOOTH)
    around = boxes.grown(box, reach, reach, (shape.shape[0], shape.shape[1]))
    padded = F.pad(boxes.cut(shape, around)[None, None].float(), (reach,) * 4, mode="replicate")
    blurred = _blurred(padded, SMOOTH)[0, 0, reach:-reach, reach:-reach]
    # A blurred edge rises by 1 / (SMOOTH sqrt(2 pi)) per pixel in its middle.
    boxes.cut(result, around).copy_(((blurred - 0.5) * (2.5066 * SMOOTH / EDGE) + 0.5).clamp(0, 1))
    return result
