"""How much of the erased is still there, by attention rows; and what a key then weighs."""

import pytest
import torch
import torch.nn.functional as F

from mild.mild_core.attention import evaluate, presence
from mild.mild_core.attention.factors import RowRule
from mild.mild_core.attention.presence import Rows

HEADS, TOKENS, WIDTH = 3, 23, 8
SCALE = 0.4


def tokens(seed, heads=HEADS):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(heads, TOKENS, WIDTH, generator=generator)


def dense(q, k, mask=None):
    """[N, M]: the whole matrix, averaged over heads."""
    logits = q @ k.transpose(-1, -2) * SCALE
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else logits + mask
    return logits.softmax(-1).mean(0)


def masks():
    some = torch.arange(TOKENS) < 17
    return {
        "none": None,
        "bool": some.expand(1, 1, -1),
        "added": 3 * torch.randn(HEADS, TOKENS, TOKENS, generator=torch.Generator().manual_seed(5)),
    }


@pytest.mark.parametrize("kind", masks())
@pytest.mark.parametrize("most", [1, 3 * HEADS * TOKENS, 2**22])
@pytest.mark.parametrize("part", [slice(None), slice(4, 19)])
def test_presence_is_the_cosine_of_mean_rows(monkeypatch, kind, most, part):
    """Whatever number of queries is worked out at once."""
    monkeypatch.setattr(presence, "MOST_LOGITS", most)
    mask, queries = masks()[kind], torch.tensor([2, 3, 5, 7, 11, 13, 20])
    kept = presence.source_rows(Rows(tokens(0), tokens(1), queries, SCALE, mask, part))
    found = presence.presence(kept, Rows(tokens(2), tokens(3), queries, SCALE, mask, part))
    source, picture = (dense(tokens(n), tokens(n + 1), mask)[:, part] for n in (0, 2))
    assert kept.shape == (7, source.shape[1])
    assert torch.allclose(found, F.cosine_similarity(source, picture)[queries], atol=1e-6)


def test_the_same_picture_is_all_there_and_what_looks_elsewhere_is_not():
    q, k, queries = tokens(0), tokens(1), torch.arange(TOKENS)
    same = presence.presence(presence.source_rows(Rows(q, k, queries, SCALE)), Rows(q, k, queries, SCALE))
    assert torch.allclose(same, torch.ones(TOKENS), atol=1e-6)
    left, right = torch.zeros(1, 1, TOKENS), torch.zeros(1, 1, TOKENS)
    left[..., :9], right[..., 9:] = float("-inf"), float("-inf")
    kept = presence.source_rows(Rows(q, k, queries, SCALE, left))
    assert not presence.presence(kept, Rows(q, k, queries, SCALE, right)).any()


def test_fewer_heads_of_keys():
    q, k, queries = tokens(0, 4), tokens(1, 2), torch.arange(TOKENS)
    every = k.repeat_interleave(2, 0)
    assert torch.equal(*(presence.source_rows(Rows(q, keys, queries, SCALE)) for keys in (k, every)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_half(dtype):
    q, k, queries = tokens(0).to(dtype), tokens(1).to(dtype), torch.arange(TOKENS)
    kept = presence.source_rows(Rows(q, k, queries, SCALE))
    found = presence.presence(kept, Rows(q, k, queries, SCALE))
    assert kept.dtype == torch.float16 and torch.allclose(found, torch.ones(TOKENS), atol=2e-3) and found.max() <= 1


def test_weights_of_keys():
    """Exactly eta = 1 - p; at 1 the key is gone, and nothing is infinite."""
    present = torch.tensor([0.0, 0.25, 0.9, 1.0])
    bias = presence.key_bias(present)
    assert torch.isfinite(bias).all() and torch.allclose(bias.exp(), 1 - present)
    q, k, v = (tokens(n)[None] for n in range(3))
    eta = torch.ones(TOKENS)
    eta[[1, 4, 8, 15]] = 1 - present
    b = torch.zeros(TOKENS, 1)
    b[[1, 4, 8, 15], 0] = bias
    weights = (q @ k.transpose(-1, -2) * WIDTH**-0.5).exp() * eta
    expected = (weights / weights.sum(-1, keepdim=True)) @ v

    def attention(q, k, v, heads, mask=None, scale=None, **kwargs):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

    for form in ("columns", "dense"):
        rule = RowRule(a=torch.ones(TOKENS, 1), b=b)
        found = evaluate.attend(attention, q, k, v, HEADS, rows=[rule], form=form, skip_reshape=True,
                                skip_output_reshape=True)  # fmt: skip
        assert torch.allclose(found, expected, atol=1e-5)
