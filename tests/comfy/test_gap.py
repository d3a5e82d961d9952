"""Record Attention Gap and Show Attention Gap: what is measured is what happens, and nothing else happens."""

import inspect
import json

import comfy.ldm.modules.attention
import pytest
import torch
from comfy import model_management

from mild.mild_core.attention.layer_regions import Maps
from mild.mild_core.attention.record import Pathway
from mild.mild_core.attention.regions import on_grid
from mild.mild_core.comfy.attention import catch
from mild.mild_core.comfy.attention.erase import AttentiveEraser, erase
from mild.mild_core.comfy.attention.recorder import PATCHES, recording
from mild.mild_core.comfy.attention.spatial import SpatialSettings, keep_apart
from mild.mild_core.comfy.erasers import builtin
from mild.mild_core.comfy.pixel_space import pixel_vae
from mild.mild_core.preview.gap_plot import WIDTH
from mild.tests.helpers.attention import Noting, overridden, sampled
from mild.tests.helpers.layers import WIDGETS, picture
from mild.tests.helpers.tiny_models import make

ROW = Pathway(0)


def box_mask(box, height=64, width=64):
    mask = torch.zeros(1, height, width)
    mask[:, box[1] : box[3], box[0] : box[2]] = 1
    return mask


HOLE, PEOPLE = box_mask((8, 8, 40, 40)), box_mask((44, 4, 64, 60))


def maps_of(hole=HOLE, people=PEOPLE):
    return Maps.of_mask(hole, people)


def recorded(tiny, model=None, maps=None, **sampling):
    """The record of one picture, and what came out."""
    model, recorder = recording(model or tiny.model, maps or maps_of())
    result = sampled(tiny, model, **sampling)
    return recorder.record.layers[ROW], result


def same_numbers(one, other, tolerance=1e-4):
    assert list(one.seen) == list(other.seen)
    for place, seen in one.seen.items():
        assert torch.allclose(seen.mass, other.seen[place].mass, atol=tolerance)
        assert seen.regions == other.seen[place].regions


# -- what is measured -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd15", "flux"])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_in_half_precision_it_moves_as_far_as_with_another_attention_function(family, dtype, most):
    """As the help says: by rounding, and so hardly at all in float32."""
    tiny, size = make(family, dtype=dtype), {"height": 8, "width": 8, "steps": 3}

    def split(func, q, k, v, heads, *args, **kwargs):
        return inspect.unwrap(comfy.ldm.modules.attention.attention_split)(q, k, v, heads, *args, **kwargs)

    plain = sampled(tiny, **size)
    recorded_so, other = (
        float((sampled(tiny, model, **size) - plain).abs().max() / plain.abs().max())
        for model in (recording(tiny.model, maps_of())[0], overridden(tiny.model, split))
    )
    assert 0 < recorded_so < 3 * other and recorded_so < most


@pytest.mark.parametrize(("family", "cfg"), [("sd15", 1.0), ("sdxl", 7.0), ("flux", 1.0), ("flux2", 7.0)])
def test_the_picture_stays_the_same(family, cfg):
    """Up to rounding: other widths of heads are other kernels."""
    tiny = make(family)
    record, result = recorded(tiny, cfg=cfg)
    plain = sampled(tiny, cfg=cfg)
    assert (result - plain).norm() < 1e-5 * plain.norm()
    for seen in record.seen.values():
        assert torch.allclose(seen.mass.sum(1), torch.ones(len(seen.mass)), atol=1e-4)
        assert seen.gap.abs().max() <= 1
    for looked in record.where.values():
        assert looked.min() >= -1e-6 and 0 < looked.sum() < 1.001  # the rest is the prompt's
    assert -1 <= record.gap() <= 1


def test_equal_to_a_dense_reference():
    tiny, dense = make("sd15"), []

    def reference(inner, site, q, k, v, heads, *args, **kwargs):
        if site.kind == "self":
            (span,) = site.spans
            members = on_grid({"hole": HOLE[0], "people": PEOPLE[0]}, span.grid)
            rows = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k)]
            weights = (rows[0] @ rows[1].transpose(-1, -2) * rows[0].shape[-1] ** -0.5).softmax(-1)[0]
            hole = members.soft[:, 1]
            mass = torch.einsum("hnr,n->hr", weights @ members.soft, hole) / hole.sum()
            dense.append((site.block, mass[:, 0] - mass[:, 2], mass))
        return inner(q, k, v, heads, *args, **kwargs)

    model = catch.put(tiny.model, Noting(change=reference), "test")
    record, _ = recorded(tiny, model, cfg=1.0, height=7, width=9)
    assert len(dense) == len(record.seen) == 16 * 2
    for ((block, _), seen), (own, gap, mass) in zip(record.seen.items(), dense, strict=True):
        assert block == own
        assert torch.allclose(seen.gap, gap, atol=1e-4) and torch.allclose(seen.mass, mass, atol=1e-4)


def test_only_the_positive_prompt_counts():
    tiny = make("sd15")
    alone, both = (recorded(tiny, cfg=cfg)[0] for cfg in (1.0, 7.0))
    first = alone.levels[0]
    for block in alone.blocks:  # at the first step both see the same noise
        assert torch.allclose(alone.seen[block, first].mass, both.seen[block, first].mass, atol=1e-4)


def test_where_it_looks_is_what_it_looks_at():
    """A sharp region made of whole tiles gets in the drawing what it gets in the numbers."""
    people = box_mask((32, 0, 64, 64))
    record, _ = recorded(make("sd15"), maps=maps_of(box_mask((0, 0, 16, 64)), people), steps=1)
    looked = record.where["early"]
    shares = [float(seen.mass[:, seen.regions.names.index("people")].mean()) for seen in record.seen.values()]
    assert looked[:, looked.shape[1] // 2 :].sum() == pytest.approx(sum(shares) / len(shares), abs=1e-4)


@pytest.mark.parametrize(("sampler", "steps"), [("euler", 1), ("euler", 3), ("heun", 2), ("dpm_2", 2)])
def test_noise_levels_are_the_samplers(sampler, steps):
    tiny, handler = make("sd15"), Noting()
    record, _ = recorded(tiny, catch.put(tiny.model, handler, "test"), steps=steps, sampler=sampler)
    sigmas = handler.runs[0].sigmas.tolist()
    levels = [level.sigma for level in record.levels]
    assert levels == sorted(levels, reverse=True) and levels[0] == pytest.approx(sigmas[0], rel=1e-4)
    assert all(any(abs(own - sigma) < 1e-3 * sigma for own in levels) for sigma in sigmas[:-1])
    assert list(record.where) == {1: ["early"], 2: ["early", "late"]}.get(steps, ["early", "middle", "late"])


# -- with rules on the same MODEL -------------------------------------------------------------------------------------


def put_both(tiny, order, put):
    """The record, with what `put` does to a MODEL before or after the recorder."""
    maps = maps_of()
    if order == "before":
        model, recorder = recording(put(tiny.model), maps)
    else:
        model, recorder = recording(tiny.model, maps)
        model = put(model)
    sampled(tiny, model, cfg=1.0)
    return recorder.record


@pytest.mark.parametrize("family", ["sd15", "flux"])
def test_with_stop_attention_bleed(family):
    tiny = make(family)
    plain = recorded(tiny, cfg=1.0)[0]
    before, after = (
        put_both(tiny, order, lambda model: keep_apart(model, maps_of(), SpatialSettings())[0]).layers[ROW]
        for order in ("before", "after")
    )
    assert before.shares()["people"] < 0.3 * plain.shares()["people"] and before.gap() > plain.gap()
    same_numbers(before, after, 1e-3)


@pytest.mark.parametrize("guidance", [None, 5.0])
def test_with_erase_by_attention(guidance):
    """What is hidden gets nothing at all; with guidance that is the second call's, kept apart from the first."""
    tiny = make("sd15")
    plain = recorded(tiny, cfg=1.0)[0]

    def put(model):
        return erase(model, maps_of(people=None), AttentiveEraser(guidance))

    for order in ("before", "after"):
        layers = put_both(tiny, order, put).layers
        assert set(layers) == ({ROW} if guidance is None else {ROW, Pathway(0, True)})
        hidden = layers[Pathway(0, guidance is not None)]
        # on the finest grid, where tokens are either hidden or not
        finest = [("output", number, 0) for number in (9, 10, 11)]
        shares = [hidden.seen[block, hidden.levels[0]].mass[:, 1].max() for block in finest]
        assert float(max(shares)) < 1e-6
        if guidance is not None:
            first = plain.levels[0]
            same = layers[ROW].seen[plain.blocks[0], first].mass
            assert torch.allclose(same, plain.seen[plain.blocks[0], first].mass, atol=1e-4)


def test_two_recorders_on_one_model():
    tiny = make("sd15")
    first, one = recording(tiny.model, maps_of())
    second, other = recording(first, maps_of(people=None))
    sampled(tiny, second)
    assert one.record.layers[ROW].shares()["people"] > 0
    assert "people" not in other.record.layers[ROW].shares()
    alone = recorded(tiny)[0]
    same_numbers(one.record.layers[ROW], alone)


# -- rows and layers --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_native_size")
def test_a_layer_alone_and_in_a_batch(sample, scenes):
    tiny, records = make("sd15"), []
    pair = [scenes[0]._replace(layers=(scenes[0].layers[0], scenes[0].layers[0]._replace(id="1/background-9")))]
    for memory in ("automatic", "save memory"):
        model, recorder = recording(tiny.model, Maps.of(pair))
        sample(pair, tiny, model=model, memory=memory)
        records.append(recorder.record.layers)
    assert set(records[0]) == {Pathway("1/background"), Pathway("1/background-9")}
    for who, record in records[0].items():
        same_numbers(record, records[1][who])


@pytest.mark.usefixtures("small_native_size")
def test_layers_keep_their_records_until_they_are_sampled_again(sample, scenes):
    """Sample Layers samples once for each size of crops; only what is sampled again is written anew."""
    tiny = make("sd15")
    model, recorder = recording(tiny.model, Maps.of(scenes))
    sample(scenes, tiny, model=model)
    first = {who: record.gaps() for who, record in recorder.record.layers.items()}
    assert {who.row for who in first} == {layer.id for layer in scenes[0].layers}
    assert recorder.record.layers[Pathway("1/person-2")].own == "herself"
    sample(scenes, tiny, model=model, which="people", seed=4, steps=3)
    second = recorder.record.layers
    assert second[Pathway("1/person-2")].gaps().shape[1] == 3
    for who in first:
        if who.row != "1/person-2":
            assert torch.equal(second[who].gaps(), first[who])


def test_a_batch_of_ksampler_by_rows():
    tiny = make("sd15")
    model, recorder = recording(tiny.model, maps_of(torch.cat([HOLE, HOLE.flip(2)])))
    sampled(tiny, model, batch=2)
    assert set(recorder.record.layers) == {Pathway(0), Pathway(1)}
    sampled(tiny, model, batch=2, steps=1)
    assert all(len(record.levels) == 1 for record in recorder.record.layers.values())


# -- the built-in model -----------------------------------------------------------------------------------------------


def test_the_built_in_models_layers_keep_apart(sample, scenes):
    plain = sample(scenes, start="noise")
    model, recorder = recording(builtin.load_model(), Maps.of(scenes))
    again = sample(scenes, model=model)
    for one, other in zip(plain[0].layers, again[0].layers, strict=True):
        assert torch.equal(one.pixels, other.pixels)
    layers = recorder.record.layers
    assert {who.row for who in layers} == {layer.id for layer in scenes[0].layers}
    for record in layers.values():
        assert record.blocks == (PATCHES,) and len(record.levels) == WIDGETS["steps"]
        assert sum(record.shares().values()) == pytest.approx(1, abs=1e-4)
        assert record.shares()["hole"] < 1e-3  # it has nothing to show
        assert all(looked.sum() == pytest.approx(1, rel=0.1) for looked in record.where.values())


def test_the_built_in_model_looks_at_what_nobody_forbids(run_node):
    """With a mask alone it may copy from anywhere else, which counts; what the conditioning forbids gets nothing."""
    photo = picture(48, 56)
    vae, conditioning = pixel_vae(), builtin.empty_conditioning()
    latent = {"samples": vae.encode(photo[None]), "noise_mask": box_mask((20, 10, 36, 30), 48, 56)[:, None]}
    people = box_mask((0, 0, 18, 48), 48, 56)
    shares = []
    for allowed in (None, 1 - people):
        values = {} if allowed is None else {"mild_allowed": allowed}
        model, recorder = recording(builtin.load_model(), maps_of(latent["noise_mask"][:, 0], people))
        cond = [[conditioning[0][0], values]]
        run_node("KSampler", model=model, positive=cond, negative=cond, latent_image=latent, seed=1, steps=3, cfg=1.0,
                 sampler_name="euler", scheduler="normal", denoise=1.0)  # fmt: skip
        shares.append(recorder.record.layers[ROW].shares()["people"])
    assert shares[0] > 0.02 and shares[1] == 0


# -- the nodes --------------------------------------------------------------------------------------------------------


def graph(comfy, tiny, latent, seed=0, steps=2):
    def given(value):
        return {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}}

    return {
        "model": given(tiny.model), "mask": given(HOLE), "avoid": given(PEOPLE), "latent": given(latent),
        "positive": given(tiny.positive), "negative": given(tiny.negative),
        "record": {"class_type": "MILD_RecordGap", "inputs": {
            "model": ["model", 0], "mask": ["mask", 0], "avoid": ["avoid", 0], "which": "all"}},
        "sampler": {"class_type": "KSampler", "inputs": {
            "model": ["record", 0], "positive": ["positive", 0], "negative": ["negative", 0],
            "latent_image": ["latent", 0], "seed": seed, "steps": steps, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1.0}},
        "show": {"class_type": "MILD_AttentionGap", "inputs": {"gap": ["record", 1], "sampled": ["sampler", 0]}},
    }  # fmt: skip


def test_queued_again(comfy):
    """Nothing runs twice for nothing, and whenever the sampler ran, so does what shows its record."""
    tiny = make("sd15")
    latent = tiny.empty_latent()
    first = comfy.run_graph(graph(comfy, tiny, latent))
    pictures, numbers = first.outputs["show"]
    assert (
        pictures.shape[2:] == (WIDTH, 3)
        and len(pictures) == 1
        and "Picture 1: attention gap" in first.ui["show"]["text"][0]
    )
    assert len(first.ui["show"]["images"]) == 1
    assert comfy.run_graph(graph(comfy, tiny, latent)).executed == []
    again = comfy.run_graph(graph(comfy, tiny, latent, seed=5, steps=3))
    assert again.executed == ["sampler", "show"]
    (before,), (after,) = (json.loads(text)["layers"] for text in (numbers, again.outputs["show"][1]))
    assert len(before["sigmas"]) == 2 and len(after["sigmas"]) == 3
    assert len(after["cells"]) == 3 * len(after["blocks"]) == 3 * 16
    assert before["gap"] != after["gap"] and -1 <= after["gap"] <= 1
    assert all(len(cell["gap_by_head"]) == len(cell["attention_by_head"]["people"]) > 0 for cell in after["cells"])
    assert after["own"] == "rest" and after["foreign"] == ["people"]


def test_cancelled_and_queued_again(comfy):
    tiny = make("sd15")
    latent = tiny.empty_latent()
    with pytest.raises(model_management.InterruptProcessingException):
        comfy.run_graph(graph(comfy, tiny, latent, steps=3), interrupt_at=2)
    ran = comfy.run_graph(graph(comfy, tiny, latent, steps=3))
    (layer,) = json.loads(ran.outputs["show"][1])["layers"]
    assert len(layer["cells"]) == 3 * 16  # no step is left over from before


@pytest.mark.usefixtures("small_native_size")
def test_layers_through_the_nodes(run_node, sample, scenes):
    """Layers that were not painted are not shown."""
    model, gap = run_node("MILD_RecordGap", model=builtin.load_model(), layers=scenes, which="all")
    painted = sample(scenes, model=model, which="people")
    pictures, numbers = run_node("MILD_AttentionGap", gap=gap, sampled=painted)
    (layer,) = json.loads(numbers)["layers"]
    assert layer["id"] == "1/person-2" and layer["name"] == "Person 2" and len(pictures) == 1
    painted = sample(painted, model=model, which="background", seed=8)
    pictures, numbers = run_node("MILD_AttentionGap", gap=gap, sampled=painted)
    assert len(pictures) == 3 and len(json.loads(numbers)["layers"]) == 3


def test_a_picture_below(run_node):
    """A picture of any size and number of channels is drawn below where the hole looks; a latent has none."""
    tiny = make("sd15")
    model, gap = run_node("MILD_RecordGap", model=tiny.model, mask=HOLE, which="all")
    sampled(tiny, model)
    drawn = []
    for photo in (
        torch.zeros(1, 50, 70, 3),
        torch.ones(1, 50, 70, 3),
        torch.ones(1, 50, 70, 4),
        torch.ones(1, 9, 5, 1),
    ):
        drawn.append(run_node("MILD_AttentionGap", gap=gap, sampled=photo)[0])
    assert torch.equal(drawn[1], drawn[2]) and drawn[1].mean() > drawn[0].mean()
    assert run_node("MILD_AttentionGap", gap=gap, sampled=tiny.empty_latent())[0].shape[2:] == (WIDTH, 3)


def test_bad_input(run_node, scenes):
    tiny = make("sd15")
    record = {"model": tiny.model, "which": "all"}
    with pytest.raises(ValueError, match="nothing is connected"):
        run_node("MILD_RecordGap", **record)
    with pytest.raises(ValueError, match="both are connected"):
        run_node("MILD_RecordGap", **record, layers=scenes, mask=HOLE)
    with pytest.raises(ValueError, match="mask: there is no hole"):
        run_node("MILD_RecordGap", **record, mask=HOLE * 0)
    with pytest.raises(ValueError, match="layers: there is no hole"):
        run_node("MILD_RecordGap", **record, layers=[scenes[0]._replace(layers=())])
    with pytest.raises(ValueError, match="no layer"):
        run_node("MILD_RecordGap", model=tiny.model, which="7", layers=scenes)
    model, gap = run_node("MILD_RecordGap", **record, mask=HOLE)
    with pytest.raises(ValueError, match="nothing was recorded"):
        run_node("MILD_AttentionGap", gap=gap, sampled=tiny.empty_latent())


def test_only_a_hole():
    """A mask that covers everything: all that is looked at is the hole."""
    record, _ = recorded(make("sd15"), maps=maps_of(torch.ones(1, 64, 64), None))
    assert record.shares()["hole"] == pytest.approx(1, abs=1e-4) and record.gap() == pytest.approx(-1, abs=1e-4)
