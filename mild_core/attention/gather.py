"""Leave forbidden keys out of the attention call: exact, and not slower than plain attention.

Queries come in groups that may see the same keys; each group is one call on the keys that are left.
"""

from torch import Tensor


def pick(tensor: Tensor, tokens: Tensor | None) -> Tensor:
    """tensor [b, H, N, d] at these tokens (indices; None: all, without a copy)."""
    return tensor if tokens is None else tensor.index_select(2, tokens)


def put(target: Tensor, tokens: Tensor | None, values: Tensor) -> None:
    """Write values [b, H, n, d] into target [b, H, N, d] at these tokens."""
    if tokens is None:
        target.copy_(values)
    else:
        target.index_copy_(2, tokens, values)


def rows_of(mask: Tensor | None, rows: slice | list[int], count: int) -> Tensor | None:
    """An attention mask of some of `count` rows. Masks are [N | 1, M], [b, N | 1, M] or [b, H | 1, N | 1, M], where a
    size of 1 stands for all.
    """
    if mask is None or mask.ndim < 3 or mask.shape[0] != count:
        return mask
    return mask[rows]


def heads_of(mask: Tensor | None, heads: slice, count: int) -> Tensor | None:
    """An attention mask of some of `count` heads."""
    if mask is None or mask.ndim < 4 or mask.shape[1] != count:
        return mask
    return mask[:, heads]


def tokens_of(
    mask: Tensor | None, queries: Tensor | None, keys: Tensor | None, counts: tuple[int, int]
) -> Tensor | None:
    """An attention mask of some of counts[0] queries and counts[1] keys."""
    if mask is None:
        return None
    if queries is not None and mask.shape[-2] == counts[0]:
        mask = mask.index_select(-2, queries)
    if keys is not None and mask.shape[-1] == counts[1]:
        mask = mask.index_select(-1, keys)
    return mask
