"""Files that do not fit, in one sentence each: LoRAs for other models, files that are none, broken ones."""

import comfy.utils as comfy_utils
import pytest
import torch

from mild.mild_core.comfy.adapters.misfit import made_for, no_lora
from mild.mild_core.comfy.adapters.modules import modules_of
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import background, person, picture
from mild.tests.helpers.loras import DORA, LORA, clip_names, lora_of, save_lora, unet_names
from mild.tests.helpers.tiny_clip import make_clip

PHOTO = picture(90, 130)
SCENES = [
    Scene(
        PHOTO,
        (
            background(PHOTO, (5, 5, 25, 40), box=(0, 0, 40, 40)),
            person(PHOTO, 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88)),
        ),
    )
]


@pytest.fixture
def given(loras_folder, adapted, tiny):
    """given(file's tensors, family, ...): what the node returns, as the background's LoRA."""

    def run(tensors, family="sd15", socket="background_lora", **changes):
        comfy_utils.save_torch_file(tensors, str(loras_folder / "one.safetensors"))
        return adapted(tiny(family).model, SCENES, **{socket: "one.safetensors"}, **changes)

    return run


@pytest.mark.parametrize(
    ("of", "on", "names"),
    [("sd15", "sdxl", "SD1.5"), ("sdxl", "sd15", "SDXL"), ("sd2", "sd15", "SD2"), ("sd15", "flux", "SD1.5")],
)
def test_for_another_architecture(given, tiny, of, on, names):
    """UNets share many layers, names and sizes: those that read the prompt tell."""
    tensors = lora_of(unet_names(tiny(of).model, "attn"))
    with pytest.raises(ValueError, match=r"^person_lora: one\.safetensors") as raised:
        given(tensors, on, "person_lora")
    message = str(raised.value)
    assert f"made for {names}." in message and "lora_unet_" in message


@pytest.mark.parametrize(
    ("layer", "width", "family"),
    [
        ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k", 768, "SD1.5"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v", 1024, "SD2"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k", 2048, "SDXL"),
        ("lora_unet_double_blocks_0_img_attn_qkv", 3072, "Flux"),
        ("transformer.single_transformer_blocks.0.attn.to_q", 3072, "Flux"),
        ("diffusion_model.double_blocks.0.img_attn.qkv", 6144, "Flux 2"),
        ("diffusion_model.joint_blocks.0.x_block.attn.qkv", 1536, "SD3"),
        ("transformer.transformer_blocks.0.attn.to_q", 2432, "SD3"),
        ("transformer_blocks.0.attn.to_q", 3072, "Qwen-Image"),
        ("diffusion_model.layers.0.attention.to_q", 3840, "Lumina 2 and Z-Image"),
        ("diffusion_model.blocks.0.cross_attn.k", 5120, None),
    ],
)
@pytest.mark.parametrize("ends", [("lora_down", "lora_up"), ("lora_A", "lora_B")])
def test_what_it_is_made_for_is_told_by_layers_and_widths(layer, width, family, ends):
    tensors = {f"{layer}.{ends[0]}.weight": torch.zeros(4, width), f"{layer}.{ends[1]}.weight": torch.zeros(8, 4)}
    assert made_for(tensors, modules_of(tensors), {}) == family
    note = {"modelspec.architecture": "wan2.1/lora"}
    assert made_for(tensors, modules_of(tensors), note) == (family or "wan2.1/lora")


def test_for_a_larger_model_of_the_kind(given, tiny):
    """The same names, other sizes in all layers."""
    shapes = {name: (64, 1536) for name in unet_names(tiny("sd15").model)}
    with pytest.raises(
        ValueError, match="background_lora: .* larger or smaller model .*SD1.5.*64 x 1536 where .*32 x 768"
    ):
        given(lora_of(shapes))


def test_what_fits_in_part_is_applied_and_counted(given, tiny, comfy, loras_folder):
    shapes = unet_names(tiny("sd15").model)
    first = next(iter(shapes))
    wrong = {**shapes, first: (5, 7), "lora_unet_of_another_model": (4, 4)}
    model = given(lora_of(wrong))[0]
    assert model is not tiny("sd15").model
    text = node_text(comfy, tiny("sd15").model, background_lora="one.safetensors")
    assert f"{len(shapes) - 1} of its {len(shapes) + 1} modules fit" in text
    assert "lora_unet_of_another_model" in text and "1 of them have another size" in text


def test_what_comfyui_does_not_read_of_it_is_said(loras_folder, tiny, comfy):
    """PEFT's names of DoRA's scales, and embeddings that some trainers put into the file."""
    tensors = lora_of(unet_names(tiny("sd15").model))
    layer = next(iter(tensors)).split(".")[0]
    tensors |= {
        f"{layer}.lora_magnitude_vector": torch.ones(32),
        "bundle_emb.place.string_to_param.*": torch.ones(2, 768),
    }
    comfy_utils.save_torch_file(tensors, str(loras_folder / "one.safetensors"))
    text = node_text(comfy, tiny("sd15").model, background_lora="one.safetensors")
    assert "a DoRA whose scales ComfyUI does not read" in text
    assert "1 more entries are no part of a LoRA, and left out: bundle_emb" in text


def test_parts_of_a_fused_weight_fit(loras_folder, tiny, comfy):
    """Diffusers' names on Flux: query, key and value are one weight of ComfyUI's, with the MLP in single blocks."""
    names = (
        "single_transformer_blocks.0.attn.to_q",
        "single_transformer_blocks.0.attn.to_v",
        "transformer_blocks.1.attn.to_k",
    )
    tensors = {}
    for name in names:
        tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(2, 64)
        tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(64, 2)
    tensors["transformer.transformer_blocks.0.attn.to_k.lora_A.weight"] = torch.randn(2, 64)
    tensors["transformer.transformer_blocks.0.attn.to_k.lora_B.weight"] = torch.randn(96, 2)
    comfy_utils.save_torch_file(tensors, str(loras_folder / "one.safetensors"))
    text = node_text(comfy, tiny("flux").model, person_lora="one.safetensors")
    assert "3 modules of the model, for these layers alone" in text and "3 of its 4 modules fit" in text


def test_sizes_are_those_of_modules_not_of_what_is_stored(tiny, given, monkeypatch):
    """Some quantised weights are stored as half as many bytes."""
    model = tiny("sd15").model
    shapes = unet_names(model, "attn1_to_q")
    for name, module in model.model.diffusion_model.named_modules():
        if name.endswith("attn1.to_q"):
            packed = torch.nn.Parameter(module.weight[:, ::2].to(torch.uint8), requires_grad=False)
            monkeypatch.setattr(module, "weight", packed)
    assert given(lora_of(shapes))[0] is not model


def node_text(comfy, model, clip=None, **changes):
    widgets = {"background_lora": "none", "background_strength": 1.0, "person_lora": "none", "person_strength": 1.0}
    graph = {"node": {"class_type": "MILD_LayerAdapters", "inputs": {**widgets, "people": "all", "which": "all"}}}
    graph["node"]["inputs"] |= changes
    for name, value in {"model": model, "layers": SCENES, **({"clip": clip} if clip else {})}.items():
        graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        graph["node"]["inputs"][name] = [name, 0]
    return comfy.run_graph(graph, wanted=["node"]).ui["node"]["text"][0]


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight"], "a checkpoint"),
        (["input_blocks.0.0.weight", "time_embed.0.weight"], "a checkpoint's diffusion model"),
        (["emb_params"], "an embedding"),
        (["clip_l", "clip_g"], "an embedding"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight"], "a ControlNet"),
        (["lora_controlnet", "input_blocks.1.0.lora.up.weight", "input_blocks.1.0.lora.down.weight"], "a ControlNet"),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], "a text encoder"),
        (["encoder.conv_in.weight", "decoder.conv_in.weight"], "a VAE"),
        (["nothing.known"], "something else"),
    ],
)
def test_files_that_are_no_lora(given, keys, kind):
    with pytest.raises(ValueError, match=f"^background_lora: one.safetensors is no LoRA: it looks like {kind}"):
        given({key: torch.ones(2, 2) for key in keys})


def test_a_lora_that_names_a_parameter_like_a_checkpoints_is_one():
    keys = ["diffusion_model.double_blocks.0.img_attn.qkv.lora_A.weight"]
    assert no_lora(keys, modules_of(keys)) is None


def test_broken_files(loras_folder, adapted, tiny):
    model = tiny("sd15").model
    name = save_lora(loras_folder / "whole.safetensors", unet_names(model))
    whole = (loras_folder / name).read_bytes()
    (loras_folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (loras_folder / "page.safetensors").write_text("<html>sign in</html>", encoding="utf-8")
    (loras_folder / "empty.pt").write_bytes(b"")
    torch.save(["no", "weights"], loras_folder / "list.pt")
    for name in ("cut.safetensors", "page.safetensors", "empty.pt", "list.pt"):
        with pytest.raises(ValueError, match=f"^person_lora: {name} cannot be read .*Fetch it again"):
            adapted(model, SCENES, person_lora=name)
    half = lora_of(unet_names(model), LORA)
    comfy_utils.save_torch_file(
        {key: value for key, value in half.items() if "lora_down" not in key}, str(loras_folder / "half.safetensors")
    )
    with pytest.raises(ValueError, match="^person_lora: half.safetensors is broken"):
        adapted(model, SCENES, person_lora="half.safetensors")


def test_a_file_that_is_gone(loras_folder, tiny):
    from mild.mild_core.comfy.adapters.for_layers import adapt

    with pytest.raises(ValueError, match="^background_lora: gone.safetensors is not in ComfyUI/models/loras"):
        adapt(tiny("sd15").model, SCENES, ("gone.safetensors", 1.0), ("none", 1.0))
    (loras_folder.parent / "outside.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="is not in ComfyUI/models/loras"):
        adapt(tiny("sd15").model, SCENES, ("../outside.safetensors", 1.0), ("none", 1.0))


def test_words_that_fit_do_not_save_a_file_for_another_model(given, tiny):
    """Text encoders are shared by models of many kinds."""
    clip = make_clip("sd15")
    unknown = {"blocks_of_another_kind": (8, 8)}
    for connected in (None, clip):
        with pytest.raises(ValueError, match=r"not fit this MODEL \(SD1.5\): 1 of its 2 modules .*of_another_kind"):
            given({**lora_of(unknown), **lora_of(clip_names(clip))}, clip=connected)


@pytest.mark.parametrize("kind", [LORA, DORA])
def test_text_encoder_alone(loras_folder, comfy, adapted, tiny, kind):
    """Without a CLIP it is left out, and said; with one the MODEL stays what it is."""
    model, clip = tiny("sd15").model, make_clip("sd15")
    name = save_lora(loras_folder / "words.safetensors", clip_names(clip), kind)
    assert adapted(model, SCENES, person_lora=name) == (model, None, None)
    assert "left out: no clip is connected" in node_text(comfy, model, person_lora=name)
    same, behind, person_clip = adapted(model, SCENES, person_lora=name, clip=clip)
    assert same is model and not behind.patcher.patches and person_clip.patcher.patches
    assert "nothing for the model; 1 module of the text encoder, in the CLIPs" in node_text(
        comfy, model, clip, person_lora=name
    )


@pytest.mark.parametrize("widget", ["people", "which"])
def test_layers_that_are_not_there(loras_folder, adapted, tiny, widget):
    with pytest.raises(ValueError, match=f"^{widget}: no layer is called '7'. There are: background, person layers 2"):
        adapted(tiny("sd15").model, SCENES, **{widget: "7"})
    if widget == "people":
        with pytest.raises(ValueError, match="^people: 'background' names nobody"):
            adapted(tiny("sd15").model, SCENES, people="background")


def test_a_file_that_nobody_gets_is_said(loras_folder, comfy, tiny):
    name = save_lora(loras_folder / "one.safetensors", unet_names(tiny("sd15").model))
    text = node_text(comfy, tiny("sd15").model, person_lora=name, which="background")
    assert text.startswith("Warning: what was chosen changes nothing here.") and f"{name} is not used" in text
    text = node_text(comfy, tiny("sd15").model, background_lora=name, person_lora=name, which="background")
    assert not text.startswith("Warning") and f"{name} is not used" in text
