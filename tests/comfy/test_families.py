"""What is known of each family of models: every small model of the suite finds its record, and records are whole."""

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import pytest
import torch

from mild.mild_core.attention.mask_growth import SHARE_512, SHARE_1024
from mild.mild_core.comfy import guidance_places, layouts, own_prompts
from mild.mild_core.comfy.families import (
    FAMILIES,
    body_config_of,
    channels,
    family_of,
    family_of_base,
    layout_of,
    pooled_width,
)
from mild.mild_core.guidance.config import FAMILIES as GUIDED
from mild.mild_core.scene import BACKGROUND, PERSON
from mild.tests.helpers.tiny_models import FAMILIES as TINY

NATIVE = 1024 * 1024
EXPECTED = {  # name, native pixels, inpaint, where tokens lie, where body guidance goes, text, pooled text
    "sd15": ("SD1.5", 512 * 512, False, layouts.UNET, guidance_places.of_sd15, 768, 0),
    "sd15_inpaint": ("SD1.5", 512 * 512, True, layouts.UNET, guidance_places.of_sd15, 768, 0),
    "sd2": ("SD2 (768 px)", 768 * 768, False, layouts.UNET, guidance_places.of_sd2, 1024, 0),
    "sd2_inpaint": ("SD2 (512 px)", 512 * 512, True, layouts.UNET, guidance_places.of_sd2, 1024, 0),
    "sdxl": ("SDXL", NATIVE, False, layouts.UNET, guidance_places.of_sdxl, 2048, 1280),
    "sdxl_inpaint": ("SDXL", NATIVE, True, layouts.UNET, guidance_places.of_sdxl, 2048, 1280),
    "sd3": ("SD3", NATIVE, False, layouts.SD3, None, 4096, 2048),
    "flux": ("Flux", NATIVE, False, layouts.FLUX, guidance_places.of_flux, 4096, 0),
    "flux_fill": ("Flux Fill", NATIVE, True, layouts.FLUX, guidance_places.of_flux, 4096, 0),
    "flux2": ("Flux 2", NATIVE, False, layouts.FLUX, guidance_places.of_flux, 7680, 0),
    "lumina2": ("Lumina 2 and Z-Image", NATIVE, False, layouts.LUMINA, None, 2304, 0),
    "z_image": ("Lumina 2 and Z-Image", NATIVE, False, layouts.LUMINA, None, 2560, 0),
    "qwen_image": ("Qwen-Image", NATIVE, False, layouts.QWEN_IMAGE, None, 3584, 0),
    "chroma": ("Chroma", NATIVE, False, layouts.FLUX, None, 4096, 0),
    "chroma_radiance": ("Chroma", NATIVE, False, layouts.FLUX, None, 4096, 0),
}


@pytest.mark.parametrize("family", TINY)
def test_every_small_model_finds_its_record(tiny, family):
    name, native, inpaint, layout, body, text, pooled = EXPECTED[family]
    model = tiny(family).model
    record = family_of(model)
    assert (record.name, record.native_pixels, record.inpaint(model)) == (name, native, inpaint)
    assert record.layout is layout and layout_of(model.get_model_object("diffusion_model")) is layout
    assert record.body is body and (body_config_of(model.model) is not None) == (body is not None)
    assert record.text_width(model) == text and pooled_width(model.model) == pooled
    assert family_of(model.clone()) is record and family_of_base(model.model) is record


def test_inpaint_inputs_are_asked_of_the_patched_model(tiny):
    model = tiny("sd15").model.clone()
    model.add_object_patch("concat_keys", ("mask", "masked_image"))
    assert family_of(model).inpaint(model)
    assert not family_of(tiny("sd15").model).inpaint(tiny("sd15").model)


def test_every_kind_of_small_model_is_in_the_table():
    assert EXPECTED.keys() == set(TINY)


@pytest.mark.parametrize("record", FAMILIES, ids=lambda record: record.name)
def test_every_record_is_whole(record):
    assert record.name and record.prompts.texts.keys() == {BACKGROUND, PERSON}
    side = record.native_pixels**0.5
    assert side == round(side) and 512 <= side <= 2048
    assert record.mask_growth in (SHARE_512, SHARE_1024)
    assert record.guidance is None or record.guidance > 1
    assert all(width > 0 and whose for width, whose in record.texts.items())
    # whose texts' width is checked needs a place of its own to read it from, and body guidance a known text
    assert not record.reads_as_is or record.text_width is not FAMILIES[-1].text_width
    assert record.body is None or record.reads_as_is


def test_names_tell_the_families_apart_and_the_last_takes_whatever_is_left():
    names = [record.name for record in FAMILIES]
    assert len(set(names)) == len(names)
    left = comfy.model_base.BaseModel.__new__(comfy.model_base.BaseModel)
    torch.nn.Module.__init__(left)
    left.model_config, left.model_type = None, comfy.model_base.ModelType.EPS
    assert family_of_base(left) is FAMILIES[-1] and FAMILIES[-1].prompts is own_prompts.OTHERS
    assert not FAMILIES[-1].reads_as_is and FAMILIES[-1].layout is None


def of_class(name, base, config, unet):
    """A BaseModel of ComfyUI's without its weights."""
    model = getattr(comfy.model_base, base).__new__(getattr(comfy.model_base, base))
    torch.nn.Module.__init__(model)
    model.model_config = getattr(comfy.supported_models, config)(unet)
    model.model_type, model.concat_keys, model.adm_channels = comfy.model_base.ModelType.EPS, (), 2560
    return model


KINDS = [  # classes that no small model of the suite has
    ("SDXL Refiner", "SDXLRefiner", "SDXLRefiner", {"in_channels": 4}),
    ("SDXL", "SDXL", "SSD1B", {"in_channels": 4}),
    ("SDXL", "SDXL_instructpix2pix", "SDXL_instructpix2pix", {"in_channels": 8}),
    ("SD1.5", "SD15_instructpix2pix", "SD15_instructpix2pix", {"in_channels": 8}),
    ("SD2 (512 px)", "SD21UNCLIP", "SD21UnclipH", {"in_channels": 4}),
    ("Flux", "Flux", "FluxSchnell", {"in_channels": 16}),
    ("LongCat-Image", "LongCatImage", "LongCatImage", {"in_channels": 16}),
    ("Chroma", "Chroma", "Chroma", {"in_channels": 64, "out_channels": 64}),
    ("Mage-Flow", "MageFlow", "MageFlow", {"in_channels": 16}),
    ("Z-Image in pixels", "ZImagePixelSpace", "ZImagePixelSpace", {"in_channels": 3}),
    ("Lumina 2 and Z-Image", "Lumina2", "ZImage", {"in_channels": 16}),
    ("HunyuanImage 2.1", "HunyuanImage21", "HunyuanImage21", {"in_channels": 64}),
    ("all other models", "WAN21", "WAN21_T2V", {"in_channels": 16}),
    ("all other models", "AuraFlow", "AuraFlow", {"in_channels": 4}),
]


@pytest.mark.parametrize(("name", "base", "config", "unet"), KINDS, ids=[kind[1] for kind in KINDS])
def test_comfyuis_other_classes(name, base, config, unet):
    if not hasattr(comfy.model_base, base):
        pytest.skip(f"this ComfyUI has no {base}")
    assert family_of_base(of_class(name, base, config, unet)).name == name


def test_a_control_model_of_flux_is_no_fill_model():
    """Flux Canny and Depth read one picture more: as many channels again, and not more."""
    assert family_of_base(of_class("Flux", "Flux", "FluxInpaint", {"in_channels": 32})).name == "Flux"
    assert family_of_base(of_class("Flux", "Flux", "FluxInpaint", {"in_channels": 96})).name == "Flux Fill"


def test_body_guidance_reaches_every_family_that_its_files_may_name(tiny):
    assert {body_config_of(tiny(family).model.model).family for family in ("sd15", "sd2", "sdxl", "flux", "flux2")} == (
        GUIDED.keys()
    )


def test_the_refiners_pooled_text_has_a_number_less():
    refiner = of_class("SDXL Refiner", "SDXLRefiner", "SDXLRefiner", {"in_channels": 4})
    assert pooled_width(refiner) == 2560 - 5 * 256
    assert family_of_base(refiner).pooled.fits(refiner, {"pooled_output": torch.zeros(1, 1280)})
    assert not family_of_base(refiner).pooled.fits(refiner, {"pooled_output": torch.zeros(1, 768)})


def test_a_texts_width_in_words():
    assert channels(768) == "768 channels (SD1.5's)" and channels(1280) == "1,280 channels (the SDXL refiner's)"
    assert channels(4096) == "4,096 channels (that of Flux and SD3)" and channels(17) == "17 channels"
