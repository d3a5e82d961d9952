"""What is known of each family of models: one record each, and a new family is one record more.

Records name what others work with: prompts (own_prompts.py), where tokens lie (layouts.py), and where body guidance
goes (guidance_places.py). Functions in a record get ComfyUI's BaseModel, or the MODEL where they look at what other
nodes may have replaced, such as its network.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import comfy.model_base
import comfy.supported_models
import torch
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher

from ..attention.mask_growth import SHARE_512, SHARE_1024
from ..guidance.config import GuidanceConfig
from . import guidance_places, layouts, own_prompts
from .layouts import Layout
from .own_prompts import OwnPrompts

# -- where text is read ------------------------------------------------------------------------------------------------


def _in_configuration(model: ModelPatcher) -> int | None:
    width = model.get_model_object("model_config").unet_config.get("context_dim")
    return width[0] if isinstance(width, list | tuple) else width


def _in_layer(name: str) -> Callable[[ModelPatcher], int | None]:
    """By the linear layer of this name, which the text passes first."""

    def width(model: ModelPatcher) -> int | None:
        return getattr(getattr(model.get_model_object("diffusion_model"), name, None), "in_features", None)

    return width


def _in_captions(model: ModelPatcher) -> int | None:
    """A norm, then a linear layer."""
    captions = getattr(model.get_model_object("diffusion_model"), "cap_embedder", None)
    return None if captions is None else captions[-1].in_features


def _anywhere(model: ModelPatcher) -> int | None:
    """Of models that are not known: the first place that has a width."""
    for source in (_in_configuration, _in_layer("txt_in"), _in_layer("context_embedder"), _in_captions):
        width = source(model)
        if width is not None:
            return width
    return None


class Pooled(NamedTuple):
    """The pooled text that models of a family read beside the tokens."""

    width: Callable[[BaseModel], int]
    instead: str | None = None  # a value of an entry's that may stand in its place
    strict: bool = True  # False: zeros are taken for none, and what is too wide is cut

    def fits(self, model: BaseModel, values: Mapping) -> bool:
        """Whether the values of a CONDITIONING's entry have what the model needs."""
        pooled = values.get("pooled_output")
        if pooled is None:
            return not self.strict or self.instead in values
        width = self.width(model)
        return pooled.shape[-1] == width if self.strict else pooled.shape[-1] >= width


# -- inpainting --------------------------------------------------------------------------------------------------------


def _by_keys(model: ModelPatcher) -> bool:
    """ComfyUI names what an inpaint checkpoint reads beside the latent."""
    return bool(model.get_model_object("concat_keys"))


def _by_width(model: BaseModel) -> bool:
    """Flux names nothing: its Fill model reads the visible picture and the mask, which is more than as many channels
    again. (Its control models read one more picture, which is the artist's.)
    """
    unet = model.model_config.unet_config
    return unet["in_channels"] > 2 * unet.get("out_channels", 16)


def _by_either(model: ModelPatcher) -> bool:
    return _by_keys(model) or _by_width(model.model)


# -- LoRA files -------------------------------------------------------------------------------------------------------


class LoraSign(NamedTuple):
    """By which a LoRA file is known to be made for a family."""

    modules: str  # a regular expression that finds some of its names of modules
    widths: frozenset[int]  # channels that those read


def _in_attn2(*widths: int) -> tuple[LoraSign, ...]:
    """UNets: where the prompt is read, which is as wide as the family's text."""
    return (LoraSign(r"attn2[._](processor[._])?to_[kv]", frozenset(widths)),)


# -- the record --------------------------------------------------------------------------------------------------------


class Family(NamedTuple):
    """Models that are alike in all of this. Defaults are what most models have."""

    name: str  # what artists call them
    matches: Callable[[BaseModel], bool]  # asked in the order of FAMILIES
    native_pixels: int = 1024 * 1024  # size of the pictures that they were trained on
    prompts: OwnPrompts = own_prompts.OTHERS
    guidance: float | None = None  # the value that a model with distilled guidance gets, where it reads any
    text_width: Callable[[ModelPatcher], int | None] = _anywhere  # channels of a token of its text; None: unknown
    texts: Mapping[int, str] = {}  # whose text has how many channels, for a sentence to the artist
    reads_as_is: bool = True  # False: text may be transformed first, so its width is not checked
    pooled: Pooled | None = None
    inpaint: Callable[[ModelPatcher], bool] = _by_keys  # whether it reads the visible picture and the mask
    layout: Layout | None = None  # None: attention cannot be steered
    body: Callable[[BaseModel], GuidanceConfig | None] | None = None  # None: takes no body guidance
    t2i_places: int = 0  # length of T2I-Adapters' lists for input blocks, where they list more than the network has
    loras: tuple[LoraSign, ...] = ()  # any of them will do
    on_patches: tuple[str, ...] = ()  # modules, by how their names begin, whose rows are patches, picture by picture
    repeated: str | None = None  # a regular expression: modules that may get the batch twice, one after another
    mask_growth: float = SHARE_512  # how far Attentive Eraser blurs a mask: deviation in shares of the picture's side


class _Absent:
    """Stands for a class that this ComfyUI does not have yet: no model is one."""


_MageFlow: type = getattr(comfy.model_base, "MageFlow", _Absent)  # ComfyUI 0.24 has none


def _is(kind: type, but: tuple[type, ...] = ()) -> Callable[[BaseModel], bool]:
    return lambda model: isinstance(model, kind) and not isinstance(model, but)


def _configured(kind: type) -> Callable[[BaseModel], bool]:
    return lambda model: isinstance(model.model_config, kind)


_sd2 = _configured(comfy.supported_models.SD20)

# ComfyUI derives from its Flux some that have other text encoders and another way of guidance.
_flux = _is(comfy.model_base.Flux, (comfy.model_base.Flux2, comfy.model_base.Chroma, comfy.model_base.LongCatImage))

_TO_FLUX = Pooled(lambda model: model.model_config.unet_config.get("vec_in_dim") or 0, strict=False)

_SD15 = Family(
    "SD1.5",
    _configured(comfy.supported_models.SD15),
    native_pixels=512 * 512,
    prompts=own_prompts.SD,
    text_width=_in_configuration,
    texts={768: "SD1.5's"},
    loras=_in_attn2(768),
    layout=layouts.UNET,
    body=guidance_places.of_sd15,
)
_SD2 = _SD15._replace(
    name="SD2 (512 px)",  # its base and inpaint checkpoints, which predict noise
    matches=_sd2,
    texts={1024: "SD2's"},
    loras=_in_attn2(1024),
    body=guidance_places.of_sd2,
)
_SDXL = Family(
    "SDXL",
    _is(comfy.model_base.SDXL),
    prompts=own_prompts.SDXL,
    text_width=_in_configuration,
    texts={2048: "SDXL's"},
    loras=_in_attn2(2048),
    # Of what it reads, the rest are six numbers about sizes, 256 channels each. A picture may stand in its place.
    pooled=Pooled(lambda model: model.adm_channels - 6 * 256, instead="unclip_conditioning"),
    layout=layouts.UNET,
    body=guidance_places.of_sdxl,
    t2i_places=10,
    mask_growth=SHARE_1024,
)
_FLUX = Family(
    "Flux",
    lambda model: _flux(model) and not _by_width(model),
    prompts=own_prompts.FLUX,
    guidance=3.5,  # as its makers recommend
    text_width=_in_layer("txt_in"),
    texts={4096: "that of Flux and SD3"},
    loras=(LoraSign(r"double_blocks|single_blocks|single_transformer_blocks", frozenset({3072})),),
    pooled=_TO_FLUX,
    inpaint=_by_either,
    layout=layouts.FLUX,
    body=guidance_places.of_flux,
    repeated=r"^time_in\.",  # at the noise level, then at none: for reference latents with index_timestep_zero
)
_FLUX2 = _FLUX._replace(
    name="Flux 2",
    matches=_is(comfy.model_base.Flux2),
    prompts=own_prompts.OTHERS,
    guidance=None,
    texts={},
    loras=(LoraSign(r"double_blocks|single_blocks|single_transformer_blocks", frozenset({4096, 6144})),),
)
_LUMINA = Family(
    "Lumina 2 and Z-Image",
    _is(comfy.model_base.Lumina2),
    text_width=_in_captions,
    texts={2304: "Lumina's", 2560: "Z-Image's"},
    loras=(LoraSign(r"layers[._]\d+[._](attention|feed_forward|adaLN)", frozenset({2304, 3840})),),
    layout=layouts.LUMINA,
)

FAMILIES = (
    _SD15,
    _SD2._replace(
        name="SD2 (768 px)",
        matches=lambda model: _sd2(model) and model.model_type == ModelType.V_PREDICTION,
        native_pixels=768 * 768,
    ),
    _SD2,
    _SDXL,
    _SDXL._replace(
        name="SDXL Refiner",
        matches=_is(comfy.model_base.SDXLRefiner),
        texts={1280: "the SDXL refiner's"},
        loras=_in_attn2(1280),
        pooled=Pooled(lambda model: model.adm_channels - 5 * 256, instead="unclip_conditioning"),
        body=None,
    ),
    _FLUX,
    _FLUX._replace(
        name="Flux Fill",
        matches=lambda model: _flux(model) and _by_width(model),
        prompts=own_prompts.FLUX_FILL,
        guidance=30.0,
    ),
    Family(
        "SD3",
        _is(comfy.model_base.SD3),
        prompts=own_prompts.SD3,
        text_width=_in_layer("context_embedder"),
        texts={4096: "that of Flux and SD3"},
        loras=(LoraSign(r"^[a-z._]*(joint_blocks|transformer_blocks)", frozenset({1536, 2432})),),
        # A pooled_output of None may be given, but it has to be there.
        pooled=Pooled(lambda model: model.adm_channels, instead="pooled_output"),
        layout=layouts.SD3,
    ),
    Family(
        "Qwen-Image",
        _is(comfy.model_base.QwenImage, (_MageFlow,)),
        prompts=own_prompts.QWEN_IMAGE,
        text_width=_in_layer("txt_in"),
        texts={3584: "Qwen-Image's"},
        loras=(LoraSign(r"^[a-z._]*transformer_blocks", frozenset({3072})),),
        layout=layouts.QWEN_IMAGE,
        repeated=r"^time_text_embed\.|\.img_mod\.",  # as Flux's
    ),
    # Another network with Qwen-Image's way of prompting.
    Family(
        "Mage-Flow",
        _is(_MageFlow),
        prompts=own_prompts.QWEN_IMAGE,
        text_width=_in_layer("txt_in"),
    ),
    _FLUX2,
    _FLUX2._replace(name="LongCat-Image", matches=_is(comfy.model_base.LongCatImage)),
    _FLUX2._replace(
        name="Chroma",
        matches=_is(comfy.model_base.Chroma),
        pooled=None,
        body=None,
        on_patches=("nerf_image_embedder.", "nerf_blocks."),  # of Chroma Radiance
    ),
    _LUMINA._replace(
        name="Z-Image in pixels",
        matches=_is(comfy.model_base.ZImagePixelSpace),
        layout=None,
        loras=(),
        on_patches=("dec_net.",),
    ),
    _LUMINA,
    Family(
        "HunyuanImage 2.1",
        _configured(comfy.supported_models.HunyuanImage21),
        native_pixels=2048 * 2048,
        reads_as_is=False,
    ),
    Family("all other models", lambda model: True, reads_as_is=False),
)

NO_HOOKS = "model: no hooks for this model family yet ({name}). Attention can be steered in {names}."


# -- what is asked -----------------------------------------------------------------------------------------------------


def family_of(model: ModelPatcher) -> Family:
    """The MODEL's family, by its class and configuration. Control and inpaint variants go with their base."""
    return family_of_base(model.model)


def family_of_base(model: BaseModel) -> Family:
    """The same for who has ComfyUI's BaseModel alone, as ControlNets do."""
    return next(family for family in FAMILIES if family.matches(model))


def lora_made_for(widths: Mapping[str, int | None]) -> tuple[str, list[str]] | None:
    """The name of the models that a LoRA file seems to be made for, and the modules that tell it; None: unknown.

    widths: channels that its modules read, by their names as the file writes them; None: unknown. Models that are alike
    in this (Chroma is Flux's) go by the name of the first.
    """
    for family in FAMILIES:
        for sign in family.loras:
            telling = [name for name, width in widths.items() if width in sign.widths and re.search(sign.modules, name)]
            if telling:
                return plain_name(family), telling
    return None


def plain_name(family: Family) -> str:
    """Without what tells apart models that take the same LoRAs."""
    return family.name.split(" (")[0]


def distilled_guidance_of(model: ModelPatcher) -> float | None:
    """The `guidance` that a MODEL with distilled guidance is given; None for all others (Flux schnell too)."""
    unet = model.get_model_object("model_config").unet_config
    return family_of(model).guidance if unet.get("guidance_embed") else None


def body_config_of(model: BaseModel) -> GuidanceConfig | None:
    """Body guidance for this BaseModel, with the usual size of the network; None for families that take none."""
    body = family_of_base(model).body
    return None if body is None else body(model)


def layout_of(network: torch.nn.Module) -> Layout:
    """Where tokens lie in a network: in the one that runs, which is not always the MODEL's own.

    ValueError for one whose attention cannot be steered.
    """
    there = {family.name: family.layout for family in FAMILIES if family.layout is not None}
    for layout in dict.fromkeys(there.values()):
        if layout.fits(network):
            return layout
    raise ValueError(NO_HOOKS.format(name=type(network).__name__, names=", ".join(there)))


def pooled_width(model: BaseModel) -> int:
    """Channels of the pooled text; 0 where the model takes none or makes do without."""
    pooled = family_of_base(model).pooled
    return pooled.width(model) if pooled is not None and pooled.strict else model.adm_channels


def channels(width: int) -> str:
    """How wide a text is, in words, and whose such texts are."""
    whose = next((family.texts[width] for family in FAMILIES if width in family.texts), None)
    return f"{width:,} channels" if whose is None else f"{width:,} channels ({whose})"
