"""What LoRA files change in the text encoder: every layer's prompts are encoded with what its adapters say."""

import comfy.utils
import pytest
import torch

from mild.mild_core.comfy.adapters.text_parts import clip_of
from mild.mild_core.comfy.families import family_of
from mild.mild_core.comfy.sampling.prompts import Prompts
from mild.mild_core.scene import Scene
from mild.tests.helpers.layers import background, person, picture
from mild.tests.helpers.loras import DORA, LORA, clip_names, lora_of, save_lora, unet_names
from mild.tests.helpers.tiny_clip import make_clip

PHOTO = picture(90, 130)
BEHIND = background(PHOTO, (5, 5, 25, 40), box=(0, 0, 40, 40))
ANNA = person(PHOTO, 2, (10, 50, 25, 85), (25, 55, 35, 80), (3, 48, 43, 88))
BEN = person(PHOTO, 3, (60, 10, 75, 40), (50, 15, 60, 35), (43, 5, 83, 45))
LAYERS = [Scene(PHOTO, (BEHIND, ANNA, BEN))]


@pytest.fixture(scope="module")
def clip():
    return make_clip("sd15")


@pytest.fixture
def files(loras_folder, clip):
    """Three files that change the text encoder alone."""
    kinds = (LORA, DORA, LORA)
    return [
        save_lora(loras_folder / f"{number}.safetensors", clip_names(clip, part), kind, seed=number)
        for number, (part, kind) in enumerate(zip(("k_proj", "v_proj", "q_proj"), kinds, strict=True))
    ]


@pytest.fixture
def encoded(run_node, tiny):
    """encoded(clip, (name, strength), ...): a text by ComfyUI's own LoRA loader and CLIP Text Encode."""

    def run(clip, *named, text="a street"):
        for name, strength in named:
            clip = run_node(
                "LoraLoader", model=tiny("sd15").model, clip=clip, lora_name=name, strength_model=0.0,
                strength_clip=strength,
            )[1]  # fmt: skip
        return run_node("CLIPTextEncode", clip=clip, text=text)[0][0][0]

    return run


def close(one, other):
    return torch.allclose(one, other, atol=1e-4)


def test_each_output_is_what_comfyuis_loader_gives(tiny, clip, files, adapted, encoded):
    one, two, _ = files
    plain = encoded(clip)
    model, behind, people = adapted(
        tiny("sd15").model, LAYERS, background_lora=one, person_lora=two, person_strength=0.6, clip=clip
    )
    assert model is tiny("sd15").model
    assert close(encoded(behind), encoded(clip, (one, 1.0))) and not close(encoded(behind), plain)
    assert close(encoded(people), encoded(clip, (two, 0.6))) and not close(encoded(people), plain)
    assert torch.equal(encoded(clip), plain)


@pytest.mark.parametrize("connected", ["background_clip", "person_clip"])
def test_chained_it_adds_whichever_is_connected(tiny, clip, files, adapted, encoded, run_node, connected):
    """Each layer's is made out of either, with what stands between the nodes: another LoRA, CLIP Set Last Layer."""
    anna, ben, style = files
    slot = 1 if connected == "background_clip" else 2
    model = tiny("sd15").model
    first = adapted(model, LAYERS, person_lora=anna, people="2", clip=clip)[slot]
    between = run_node("CLIPSetLastLayer", clip=first, stop_at_clip_layer=-1)[0]
    second = adapted(model, LAYERS, person_lora=ben, people="3", clip=between)
    assert close(encoded(second[2]), encoded(clip, (ben, 1.0)))
    third = adapted(model, LAYERS, background_lora=style, person_lora=style, person_strength=0.5, clip=second[slot])
    expected = {
        BEHIND.id: [(style, 1.0)],
        ANNA.id: [(anna, 1.0), (style, 0.5)],
        BEN.id: [(ben, 1.0), (style, 0.5)],
    }
    for layer_id, named in expected.items():
        own = clip_of(third[slot], layer_id)
        assert close(encoded(own), encoded(clip, *named)) and own.layer_idx == -1
    assert close(encoded(third[1]), encoded(clip, (style, 1.0)))
    assert close(encoded(third[2]), encoded(clip, (style, 0.5))), "what all of these people get"


def test_sample_layers_encodes_its_prompts_with_each_layers_own(tiny, clip, files, adapted, encoded):
    one, two, _ = files
    outputs = adapted(tiny("sd15").model, LAYERS, background_lora=one, person_lora=two, clip=clip)
    for connected in outputs[1:]:
        prompts = Prompts(tiny("sd15").model, clip=connected)
        given = {layer.id: prompts.of(layer)["positive"] for layer in (BEHIND, ANNA, BEN)}
        assert given[ANNA.id] is given[BEN.id]
        for layer, file in ((BEHIND, one), (ANNA, two)):
            words = family_of(tiny("sd15").model).prompts.texts[layer.domain].positive
            assert close(given[layer.id][0][0], encoded(clip, (file, 1.0), text=words))
        assert "encoded for each layer with its own adapters" in "\n".join(prompts.notes())
    prompts = Prompts(tiny("sd15").model, clip=clip)
    prompts.of(BEHIND), prompts.of(ANNA)
    assert "own adapters" not in "\n".join(prompts.notes())


def test_without_text_parts_it_is_the_same_clip(loras_folder, tiny, clip, adapted):
    style = save_lora(loras_folder / "style.safetensors", unet_names(tiny("sd15").model))
    assert adapted(tiny("sd15").model, LAYERS, background_lora=style, clip=clip)[1:] == (clip, clip)
    assert adapted(tiny("sd15").model, LAYERS, clip=clip)[1:] == (clip, clip)


def test_a_checkpoint_without_a_text_encoder_is_refused(tiny, adapted, run_graph, comfy):
    graph = {"node": {"class_type": "MILD_LayerAdapters", "inputs": {
        "background_lora": "none", "background_strength": 1.0, "person_lora": "none", "person_strength": 1.0,
        "people": "all", "which": "all",
    }}}  # fmt: skip
    for name, value in (("model", tiny("sd15").model), ("layers", LAYERS), ("clip", None)):
        graph[name] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}
        graph["node"]["inputs"][name] = [name, 0]
    with pytest.raises(ValueError, match="^clip: there is no CLIP"):
        run_graph(graph, wanted=["node"])


def test_a_file_with_both_changes_both(loras_folder, tiny, clip, adapted, encoded):
    model = tiny("sd15").model
    both = {**lora_of(unet_names(model)), **lora_of(clip_names(clip))}
    comfy.utils.save_torch_file(both, str(loras_folder / "both.safetensors"))
    given, behind, people = adapted(model, LAYERS, person_lora="both.safetensors", clip=clip)
    assert given is not model and close(encoded(behind), encoded(clip)) and not close(encoded(people), encoded(clip))
