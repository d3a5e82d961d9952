"""What an adapter adds to some rows of a layer's output is what ComfyUI's merged weight would have given there."""

import mild.tests.helpers.in_process  # noqa: F401 (puts ComfyUI in place, so it stands first)

# isort: split
import comfy.lora
import comfy.ops
import pytest
import torch
from comfy.weight_adapter import LoRAAdapter, OFTAdapter

from mild.benchmarks.shared.live import LiveBytes
from mild.mild_core.comfy.adapters.addition import add
from mild.mild_core.comfy.adapters.formats import Matrices, Part, Place, fits, place_of, routable
from mild.mild_core.comfy.adapters.rows import Gains
from mild.tests.helpers.adapters import FORMATS, make_weights

OPS = comfy.ops.disable_weight_init
LAYERS = {
    "linear": (lambda: OPS.Linear(24, 32), (4, 7, 24)),
    "1x1": (lambda: OPS.Conv2d(24, 32, 1), (4, 24, 5, 4)),
    "3x3": (lambda: OPS.Conv2d(24, 32, 3, padding=1), (4, 24, 5, 4)),
    "stride": (lambda: OPS.Conv2d(24, 32, 3, stride=2, padding=1), (4, 24, 7, 4)),
    "dilation": (lambda: OPS.Conv2d(24, 32, 3, padding=(2, 0), dilation=2), (4, 24, 5, 6)),
    "wrapped": (lambda: OPS.Conv2d(24, 32, 3, padding=1, padding_mode="circular"), (4, 24, 5, 4)),
    "groups": (lambda: OPS.Conv2d(48, 32, 3, padding=1, groups=2), (4, 48, 5, 4)),
    "1d": (lambda: OPS.Conv1d(24, 32, 3, padding=1), (4, 24, 5)),
    "3d": (lambda: OPS.Conv3d(24, 32, (1, 3, 3), padding=(0, 1, 1)), (4, 24, 2, 5, 4)),
}
GAINS = (0.0, 0.7, -1.2, 0.7), (0.5, 0.5, 0.0, 0.5), (0.0, 0.0, 0.0, 1.0)


def made(kind):
    make, shape = LAYERS[kind]
    layer, generator = make(), torch.Generator().manual_seed(1)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return layer.requires_grad_(False), torch.randn(shape, generator=generator)


def with_merged(layer, x, adapter, gains, part=None):
    """Each row by the layer with the adapter in its weight at the row's strength."""
    plain, rows = layer.weight.data, []
    for row, gain in enumerate(gains):
        if adapter.name == "lokr" and (adapter.weights[7] is not None or plain.ndim in (3, 5)):
            layer.weight.data = plain + gain * kronecker(*adapter.weights[:8], plain.shape)
        else:
            patch = (gain, adapter, 1.0, part, None)
            layer.weight.data = comfy.lora.calculate_weight([patch], plain.clone(), "key")
        rows.append(layer(x[row : row + 1]))
    layer.weight.data = plain
    return torch.cat(rows)


def kronecker(left, whole, alpha, left_up, left_down, up, down, kernel, shape):
    """LoKr as LyCORIS defines it, where ComfyUI 0.30 logs an error and merges nothing: with a CP decomposition, and in
    1d and 3d convolutions.
    """
    left = left_up @ left_down if left is None else left
    scale = 1.0 if whole is not None or alpha is None else alpha / len(down)
    if whole is None:
        whole = up @ down if kernel is None else torch.einsum("ijkl,jr,ip->prkl", kernel, down, up).contiguous()
    return scale * torch.kron(left, whole.flatten(1)).view(shape)


def routed(layer, x, adapter, gains, place=None, y=None):
    assert routable(adapter) and fits(adapter, layer, place or Place("layer"))
    part, y = Part(adapter, place or Place("layer"), torch.float32), layer(x) if y is None else y
    add(part, layer, x, y, Gains("name", gains, x.device).runs)
    return y


def close(one, other):
    return torch.allclose(one, other, rtol=0, atol=1e-4 * float(other.abs().max()))


FLAT = "linear", "1d", "3d"
"""Layers for which there are no decompositions with a kernel between: files have them for 2d convolutions."""


@pytest.mark.parametrize("rank", [1, 3, 128])
@pytest.mark.parametrize(("kind", "layer"), [
    (kind, layer) for kind in FORMATS for layer in LAYERS
    if layer not in FLAT or kind not in ("lora_middle", "loha_cp", "lokr_cp")
])  # fmt: skip
def test_as_merged(kind, layer, rank):
    layer, x = made(layer)
    adapter = make_weights(kind, tuple(layer.weight.shape), rank, alpha=2.0 * rank, size=3.0)
    for gains in GAINS:
        expected = with_merged(layer, x, adapter, gains)
        assert close(routed(layer, x, adapter, gains), expected)
        assert not torch.allclose(expected, layer(x), atol=0.01 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", FORMATS)
def test_order_and_split_of_the_batch(kind):
    layer, x = made("3x3")
    adapter, gains = make_weights(kind, tuple(layer.weight.shape), size=3.0), GAINS[0]
    together = routed(layer, x, adapter, gains)
    order = [2, 0, 3, 1]
    assert close(routed(layer, x[order], adapter, [gains[row] for row in order]), together[order])
    halves = [routed(layer, x[rows], adapter, gains[rows]) for rows in (slice(0, 3), slice(3, 4))]
    assert close(torch.cat(halves), together)


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "lokr_whole"])
@pytest.mark.parametrize(("layer", "part"), [
    ("linear", (0, 8, 16)), ("linear", (1, 4, 12)), ("3x3", (0, 8, 16)), ("3x3", (1, 4, 12)),
])  # fmt: skip
def test_a_part_of_a_fused_weight(kind, layer, part):
    layer, x = made(layer)
    shape = list(layer.weight.shape)
    shape[part[0]] = part[2]
    adapter = make_weights(kind, tuple(shape), size=3.0)
    place = place_of(("diffusion_model.layer.weight", part))
    assert close(routed(layer, x, adapter, GAINS[0], place), with_merged(layer, x, adapter, GAINS[0], part))


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr_whole"])
@pytest.mark.parametrize("layer", ["linear", "3x3", "stride"])
def test_memory_in_another_order(kind, layer):
    """channels_last, or tokens that were transposed."""
    layer, x = made(layer)
    adapter = make_weights(kind, tuple(layer.weight.shape), size=3.0)
    expected = with_merged(layer, x, adapter, GAINS[0])
    if layer.weight.ndim == 2:
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
        y = layer(x).transpose(1, 2).contiguous().transpose(1, 2)
    else:
        x = x.to(memory_format=torch.channels_last)
        y = layer(x).to(memory_format=torch.channels_last)
    assert not y.is_contiguous() and close(routed(layer, x, adapter, GAINS[0], y=y), expected)


def test_linear_weights_for_a_convolution_and_the_other_way_round():
    """Stable Diffusion's proj_in is a convolution in some checkpoints and linear in others; files fit both."""
    for kind, shape in (("1x1", (32, 24)), ("linear", (32, 24, 1, 1))):
        layer, x = made(kind)
        adapter = make_weights("lora", shape, size=3.0)
        assert close(routed(layer, x, adapter, GAINS[0]), with_merged(layer, x, adapter, GAINS[0]))


def test_no_alpha_is_no_scale():
    layer, x = made("3x3")
    for kind in FORMATS:
        adapter = make_weights(kind, tuple(layer.weight.shape), alpha=None)
        assert close(routed(layer, x, adapter, GAINS[0]), with_merged(layer, x, adapter, GAINS[0]))


def test_in_half_precision():
    """The layer's input and output are what counts, whatever the file and the weight are stored in."""
    layer, x = made("linear")
    adapter = make_weights("lora", (32, 24), size=3.0)
    expected = with_merged(layer, x, adapter, GAINS[0])
    found = routed(layer, x.bfloat16(), adapter, GAINS[0], y=layer(x).bfloat16())
    assert found.dtype == torch.bfloat16 and torch.allclose(found.float(), expected, atol=0.02 * float(expected.max()))


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "lokr_whole"])
@pytest.mark.parametrize("layer", ["linear", "3x3", "stride"])
def test_no_memory_grows_with_the_batch(kind, layer):
    """But for what lies between up and down, which has as many channels as the rank."""
    layer, x = made(layer)
    adapter, rank = make_weights(kind, tuple(layer.weight.shape), 2), 4 if kind == "loha" else 2
    part = Part(adapter, Place("layer"), torch.float32)
    most = []
    for rows in (1, 16):
        tokens = x[:1].expand(rows, *x.shape[1:]).contiguous()
        y = layer(tokens)
        with LiveBytes() as live:
            add(part, layer, tokens, y, Gains("name", [0.5] * rows, x.device).runs)
        most.append(live.most)
    small = 4 * 16 * rank * y[0].numel() // 32 if kind in ("lora", "loha") else 0
    assert 0 < most[0] and most[1] - most[0] <= small


def test_a_high_rank_is_not_multiplied_out():
    """LoHa's pairs of ranks 2 and 2 are one of rank 4; those of 128 and 128 would be larger than the weight."""
    x = torch.zeros(1)
    up, down, left = Part(make_weights("loha", (32, 24), 2), Place("layer"), torch.float32).matrices(x)
    assert left is None and (up.shape, down.shape) == ((32, 4), (4, 24))
    up, down, left = Part(make_weights("loha", (32, 24), 128), Place("layer"), torch.float32).matrices(x)
    assert left is None and up is None and down.shape == (32, 24)


def test_what_cannot_be_routed():
    up, down, alpha, *_ = make_weights("lora", (32, 24)).weights
    dora = LoRAAdapter(set(), (up, down, alpha, None, torch.ones(32, 1), None))
    larger = LoRAAdapter(set(), (up, down, alpha, None, None, [32, 48]))
    turning = OFTAdapter(set(), (torch.zeros(4, 8, 8), None, None, None))
    for other in (dora, larger, turning, ("diff", (torch.zeros(32, 24),)), ("set", (torch.zeros(32, 24),))):
        assert not routable(other)
        with pytest.raises(ValueError, match="cannot be told apart"):
            Matrices.of(other)


def test_what_does_not_fit():
    linear, _ = made("linear")
    convolution, _ = made("3x3")
    grouped, _ = made("groups")
    lora = make_weights("lora", (32, 24))
    assert fits(lora, linear, Place("layer")) and not fits(lora, convolution, Place("layer"))
    assert not fits(lora, linear, Place("layer", outputs=(0, 16)))
    assert not fits(make_weights("lora", (32, 12, 3, 3)), grouped, Place("layer", outputs=(0, 32)))
    assert not fits(make_weights("lokr", (64, 24)), linear, Place("layer"))
