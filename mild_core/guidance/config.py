"""Read and write the metadata of a file of body guidance: which models it fits, and how its network is built.

A safetensors file's metadata are strings; every number of the configuration is written as one, so that the file needs
no second file beside it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_type_hints

from ..body.relations import OWN, PAIRS
from .maps import CHANNELS
from .token_features import EACH_JOINT, THIS

FORMAT = "mild-body-guidance"
"""Metadata `format`: marks a file as one of these."""

LABELS = "ours"
"""Metadata `labels`: the label set of the parsing that the network learned from, one of morphology.parts.SETS."""

UNETS = {"sd15": "SD1.5", "sd2": "SD2", "sdxl": "SDXL"}
TRANSFORMERS = {"flux": "Flux", "flux2": "Flux 2"}
FAMILIES = UNETS | TRANSFORMERS
"""Families of models that take guidance, and what artists call them."""

MOST = 128
"""Blocks, layers, or pixels of a cell, at most: no model has more, and a damaged file must not keep the loader busy."""

DRAWN_AT = 4
"""Pixels of the work size for one pixel of a map, in each direction."""


class GuidanceConfig(NamedTuple):
    """The model that guidance is for, and the network's own size.

    Where residuals go, entry by entry: `blocks` names the model's blocks (a UNet's input blocks, the last of each
    level; Flux's double blocks), `widths` the channels there, `inner` the channels of the network there.
    """

    family: str  # one of FAMILIES
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    inner: tuple[int, ...]
    context: int  # channels of the model's text tokens
    cell: int = 8  # pixels that a latent cell is wide
    patch: int = 1  # latent cells that a token is wide; 1 for a UNet
    depth: int = 2  # residual blocks at each level
    token_width: int = 128  # channels of the relation transformer
    token_heads: int = 4
    token_layers: int = 2

    @property
    def is_unet(self) -> bool:
        """Residuals are pictures that shrink from level to level; otherwise all of them are lists of tokens."""
        return self.family in UNETS

    @property
    def map_cell(self) -> int:
        """Pixels of the maps that a latent cell is wide (2 for latents of an eighth)."""
        return max(self.cell // DRAWN_AT, 1)

    def words(self) -> str:
        """For a sentence to the artist: the family, and the channels in which its sizes differ."""
        return f"{FAMILIES.get(self.family, self.family)} ({', '.join(str(width) for width in self.levels())} channels)"

    def levels(self) -> tuple[int, ...]:
        """Widths of a UNet's levels, or the one width of a transformer."""
        return self.widths if self.is_unet else self.widths[:1]

    def metadata(self) -> dict[str, str]:
        """All of it as strings, with the versions of what goes in."""
        values = {name: _written(value) for name, value in self._asdict().items()}
        return {"format": FORMAT, "labels": LABELS, "maps": maps_version(), "relations": relations_version(), **values}


def maps_version() -> str:
    """Changes with the names and the order of the maps' channels (and so with PARTS)."""
    return _version(CHANNELS)


def relations_version() -> str:
    """Changes with the names and the order of the features of relations and poses that tokens are made from."""
    return _version([*OWN, THIS, *EACH_JOINT, "|", *PAIRS])


def from_metadata(metadata: Mapping[str, str] | None) -> GuidanceConfig:
    """The configuration that a file carries. Raises ValueError, in one sentence, for other kinds or versions."""
    stored = metadata or {}
    if stored.get("format") != FORMAT:
        raise ValueError(
            "this is not a file of body guidance (its metadata do not say so): ControlNets and checkpoints have "
            "loaders of their own."
        )
    if stored.get("labels") != LABELS or stored.get("maps") != maps_version():
        raise ValueError(
            f"it was made for another label set of body parts ('{stored.get('labels')}', version {stored.get('maps')}) "
            f"than this version of the pack draws ('{LABELS}', version {maps_version()}): take the file that belongs "
            "to this version."
        )
    if stored.get("relations") != relations_version():
        raise ValueError(
            f"it was made for other relations between people (version {stored.get('relations')}) than this version of "
            f"the pack works out (version {relations_version()}): take the file that belongs to this version."
        )
    try:
        config = GuidanceConfig(**{name: _read(stored[name], kind) for name, kind in _kinds().items()})
    except (KeyError, ValueError) as error:
        raise ValueError(f"its metadata are damaged ({error}): download or save it again.") from None
    check(config)
    return config


def check(config: GuidanceConfig) -> None:
    """Raise ValueError for a configuration no network can be built from."""
    if config.family not in FAMILIES:
        raise ValueError(
            f"it is for the family '{config.family}', which this version of the pack does not know "
            f"({', '.join(FAMILIES)})."
        )
    places = len(config.blocks)
    numbers = (*config.widths, *config.inner, config.context, config.cell, config.patch, config.depth)
    tokens = (config.token_width, config.token_heads, config.token_layers)
    good = (
        len(config.widths) == places > 0
        and len(config.inner) == (places if config.is_unet else 1)
        and (config.is_unet or len(set(config.widths)) == 1)
        and list(config.blocks) == sorted(set(config.blocks))
        and 0 <= config.blocks[0]
        and min(*numbers, *tokens) > 0
        and max(config.blocks[-1], config.depth, config.token_layers, config.patch, config.cell) <= MOST
        and config.token_width % config.token_heads == 0
    )
    if not good:
        raise ValueError(f"its metadata contradict one another ({config}): download or save it again.")


def _kinds() -> dict[str, Any]:
    return get_type_hints(GuidanceConfig)


def _written(value: Any) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)


def _read(text: str, kind: Any) -> Any:
    if kind in (int, str):
        return kind(text)
    return tuple(int(part) for part in text.split(","))


def _version(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
