"""One level of the pyramid: the photo at some size, what is unknown in it, and which patches may be copied from."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.fill import area_resize

PATCH_RADIUS = 3
"""Pixels: patches are 7 x 7 pixels of their level, smaller only where hardly one 7 x 7 fits into what may be looked at.
"""

CONFIDENCE_DECAY = 2.5
CONFIDENCE_FLOOR = 0.02
"""Weight of a pixel k steps inside the hole is DECAY^-k of a known one's, and at least the floor: known pixels decide
first, and the fill grows inwards.
"""

GUIDED_FLOOR = 0.4
"""The same floor where a first guess was given, which is more than a smooth fill."""

LOCALITY = 0.3
"""Squared colour distance (range -1..1) added to a source one short side away: road is copied from road, not sky."""

UNPLACED = 0.03
"""Squared colour distance added to every source but the very place of a target in a reference that was found in its
place: other patches are used where the reference shows something else, not where noise makes them a little closer."""


@dataclass
class Level:
    """The photo at [h, w] with its sources: S pictures in the same frame (the photo, then references).

    A *target* is a patch centre that touches the hole; a *source* is a patch centre whose patch is wholly allowed.
    Sources are addressed by their pixel in `canvas`, all source pictures padded by the radius and flattened. A patch is
    read row by row: k = 2 * radius + 1 runs of k pixels.
    """

    size: tuple[int, int]
    radius: int
    picture: Tensor  # [3, h, w]: known pixels; 0 where unknown
    unknown: Tensor  # [h, w] bool: to be invented, or not to be looked at
    smooth: Tensor  # [3, h, w]: the guess before any patch is compared
    valid: Tensor  # [S, h, w] bool: centres of patches that may be copied
    canvas: Tensor  # [S * (h + 2r) * (w + 2r), 3]
    targets: Tensor  # [N, 2]: y, x
    is_target: Tensor  # [h, w] bool
    confidence: Tensor  # [h, w]: 1 for known pixels
    steps: Tensor  # [k]: addresses of a patch's rows relative to its first pixel
    addresses: Tensor  # [N, k]: the rows of the targets' own patches in a padded flat picture
    weights: Tensor  # [N, k * k], sum 1: confidence of the targets' pixels
    in_place: int | None  # the source picture that is a reference found in its place, if there is one

    @property
    def row(self) -> int:
        """Width of a padded row."""
        return self.size[1] + 2 * self.radius

    @property
    def page(self) -> int:
        """Padded pixels of one source picture."""
        return self.row * (self.size[0] + 2 * self.radius)

    def flat(self, picture: Tensor) -> Tensor:
        """[3, h, w] -> padded and flattened [page, 3]."""
        return F.pad(picture, (self.radius,) * 4).permute(1, 2, 0).reshape(-1, 3).contiguous()

    def target_patches(self, picture: Tensor) -> Tensor:
        """The targets' patches in a picture [3, h, w] -> [N, k * k * 3]."""
        return self._read(self.flat(picture), self.addresses)

    def first(self, source: Tensor) -> Tensor:
        """Canvas address of the first pixel of source patches [N, 3] (picture, y, x)."""
        return source[:, 0] * self.page + source[:, 1] * self.row + source[:, 2]

    def source_patches(self, source: Tensor) -> Tensor:
        """Patches of sources [N, 3] -> [N, k * k * 3]."""
        return self._read(self.canvas, self.first(source)[:, None] + self.steps)

    def _read(self, pixels: Tensor, addresses: Tensor) -> Tensor:
        """Runs of k pixels [n, 3] from each of the addresses [N, k] -> [N, k * k * 3]."""
        run = 3 * len(self.steps)
        runs = pixels.view(-1).as_strided((len(pixels) - len(self.steps) + 1, run), (3, 1))
        return F.embedding(addresses, runs).flatten(1)

    def usable(self, source: Tensor) -> Tensor:
        """Which of the sources [N, 3] exist and are allowed -> [N] bool."""
        y, x = source[:, 1], source[:, 2]
        inside = (y >= 0) & (y < self.size[0]) & (x >= 0) & (x < self.size[1])
        return inside & self.valid[source[:, 0], y.clamp(0, self.size[0] - 1), x.clamp(0, self.size[1] - 1)]

    @property
    def locality(self) -> float:
        """Squared colour distance added per squared pixel of distance between target and source."""
        return LOCALITY / min(self.size) ** 2

    def roots(self) -> Tensor:
        """Square roots of the weights, for each channel -> [N, k * k * 3]."""
        return self.weights.sqrt().repeat_interleave(3, 1)

    def distance(self, patches: Tensor, source: Tensor) -> Tensor:
        """Weighted squared colour distance plus locality, of all targets' patches to one source each -> [N]."""
        roots = self.roots()
        return self.distance_to(patches * roots, roots, self.targets, source)

    def distance_to(self, weighted: Tensor, roots: Tensor, targets: Tensor, source: Tensor) -> Tensor:
        """The same for some targets [n, 2]: `weighted` are their patches times `roots`, both [n, k * k * 3]."""
        colour = torch.addcmul(-weighted, self.source_patches(source), roots)
        colour = torch.linalg.vector_norm(colour, dim=1).square()
        distance = colour + self.locality * (source[:, 1:] - targets).float().square().sum(1)
        return distance if self.in_place is None else distance + UNPLACED * ~self.placed(source, targets)

    def placed(self, source: Tensor, targets: Tensor) -> Tensor:
        """Which sources [n, 3] are the very place of their targets [n, 2] in the reference -> [n] bool."""
        return (source[:, 0] == self.in_place) & (source[:, 1:] == targets).all(1)

    def own_places(self) -> Tensor:
        """The targets' own places in the reference -> [N, 3]."""
        return F.pad(self.targets, (1, 0), value=self.in_place or 0)


def patch_weights(confidence: Tensor, addresses: Tensor, radius: int) -> Tensor:
    """Confidence [h, w] of the pixels in each target's patch, of sum 1 -> [N, k * k]. addresses as in Level."""
    padded = F.pad(confidence, (radius,) * 4).reshape(-1)
    run = torch.arange(2 * radius + 1, device=padded.device)
    weights = padded[addresses[..., None] + run].flatten(1)
    return weights / weights.sum(1, keepdim=True)


def unknown_at(known: Tensor, touched: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """known [1, 1, H, W], cells touched by the hole [h, w] -> (known share [1, 1, h, w], unknown [h, w] bool).

    A cell that is only partly known is unknown; where that would leave nothing known, one that is mostly unknown is.
    """
    share = area_resize(known, size)
    unknown = (share[0, 0] < 0.999) | touched
    if bool(unknown.all()):
        unknown = share[0, 0] < 0.5
        if not bool((unknown & touched).any()):
            unknown = unknown | touched
    return share, unknown


def depth_inside(unknown: Tensor, deepest: int) -> Tensor:
    """How many pixels each unknown pixel lies behind the border of the known, up to `deepest` -> [h, w]."""
    inside = unknown.float()[None, None]
    depth = inside.clone()
    for _ in range(deepest - 1):
        inside = -F.max_pool2d(F.pad(-inside, (1, 1, 1, 1), mode="replicate"), 3, 1)
        depth += inside
    return depth[0, 0]


def eroded(allowed: Tensor, radius: int) -> Tensor:
    """[S, h, w] bool -> centres whose patches of that radius lie wholly inside the picture and on allowed pixels."""
    if radius == 0:
        return allowed
    blocked = F.pad((~allowed).float()[:, None], (radius,) * 4, value=1.0)
    return F.max_pool2d(blocked, 2 * radius + 1, 1)[:, 0] == 0


def build_level(
    size: tuple[int, int],
    clean: Tensor,
    known: Tensor,
    hole: Tensor,
    smooth: Tensor,
    sources: list[tuple[Tensor, Tensor]],
    in_place: int | None = None,
    guided: bool = False,
) -> Level:
    """Bring everything to one level.

    clean [1, 3, H, W]; known, hole [1, 1, H, W] in 0..1; smooth [1, 3, h, w] of any size; sources: pictures
    [1, 3, H, W] with what may be looked at of them [1, 1, H, W]; the first is the photo itself. in_place: which of
    them is a reference found in its place; guided: `smooth` is more than that, a first guess.
    """
    floor = GUIDED_FLOOR if guided else CONFIDENCE_FLOOR
    height, width = size
    touched = area_resize(hole, size)[0, 0] > 0
    share, unknown = unknown_at(known, touched, size)
    picture = area_resize(clean * known, size) / share.clamp_min(1e-6)
    picture = torch.where(unknown, 0.0, picture[0])

    pictures, allowed = [], []
    for pixels, mask in sources:
        part = area_resize(mask, size)
        pictures.append((area_resize(pixels * mask, size) / part.clamp_min(1e-6))[0])
        allowed.append(part[0, 0] > 0.999)
    candidates = torch.stack(allowed)
    enough = min(50, math.ceil(0.02 * height * width))
    radius = PATCH_RADIUS
    # A guess decides between the photo's own patches and the reference's, so there must be enough of its own.
    counted = candidates[:1] if guided and bool(candidates[0].any()) else candidates
    while radius > 0 and int(eroded(counted, radius).sum()) < enough:
        radius -= 1
    valid = eroded(candidates, radius)
    if not bool(valid.any()):  # every cell mixes allowed and forbidden pixels: the purest ones must do
        purest = torch.stack([area_resize(mask, size)[0, 0] for _, mask in sources])
        valid = purest >= purest.max()

    inner = (unknown & touched).float()[None, None]
    is_target = F.max_pool2d(inner, 2 * radius + 1, 1, padding=radius)[0, 0] > 0
    targets = is_target.nonzero()
    deepest = 1 + math.ceil(-math.log(floor) / math.log(CONFIDENCE_DECAY))
    confidence = torch.where(unknown, CONFIDENCE_DECAY ** -depth_inside(unknown, deepest), 1.0)
    confidence = confidence.clamp_min(floor)

    row = width + 2 * radius
    span = torch.arange(2 * radius + 1, device=clean.device)
    addresses = (targets[:, 0] * row + targets[:, 1])[:, None] + span * row
    stacked = F.pad(torch.stack(pictures), (radius,) * 4)
    return Level(
        size=size,
        radius=radius,
        picture=picture,
        unknown=unknown,
        smooth=torch.where(unknown, area_resize(smooth, size)[0], picture),
        valid=valid,
        canvas=stacked.permute(0, 2, 3, 1).reshape(-1, 3).contiguous(),
        targets=targets,
        is_target=is_target,
        confidence=confidence,
        steps=span * row,
        addresses=addresses,
        weights=patch_weights(confidence, addresses, radius),
        in_place=in_place,
    )
