"""Causal attention of each document to itself, over tokens that lie end to end.

A document may have a prefix, rows before it that its tokens see as well: answers to one prompt
share the prompt's keys and values.

One call of PyTorch's own attention a document: on a CPU that beats gathering documents into padded
batches, for 10 documents of 200 tokens as well as for 40 of 50 (forward and backward, 1.1-1.4
times), and there is no pad that could leak. Splitting and joining are a view and one copy in both
directions; slices of `q` would each allocate a gradient as large as all of `q`.
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Documents:
    """What each document's rows attend to, for the layers of one forward pass."""

    lengths: tuple[int, ...]
    pieces: tuple[int, ...]
    """Sizes of the pieces that make up all keys, cut wherever a document or a prefix ends."""
    seen: tuple[tuple[int, ...], ...]
    """The pieces that each document sees: its prefix, then itself."""
    masks: tuple[Tensor | None, ...]
    """(document, its keys) bool, aligned at the last of both; None where they are the same rows."""


def plan_attention(
    document_lengths: tuple[int, ...], device: torch.device, prefixes: tuple[range, ...] = ()
) -> Documents:
    """What `attention` needs to know about a micro-batch; made once for all layers.

    `prefixes` are rows, for each document or for none.
    """
    rows = rows_seen(document_lengths, prefixes)
    cuts = sorted({cut for pair in rows for part in pair for cut in (part.start, part.stop)})
    place = {cut: piece for piece, cut in enumerate(cuts)}
    return Documents(
        document_lengths,
        pieces=tuple(stop - start for start, stop in pairwise(cuts)),
        seen=tuple(
            tuple(piece for part in pair for piece in range(place[part.start], place[part.stop]))
            for pair in rows
        ),
        masks=tuple(_mask(len(prefix), len(own), device) for prefix, own in rows),
    )


def _mask(before: int, own: int, device: torch.device) -> Tensor | None:
    if not before:
        return None
    return torch.ones(own, before + own, dtype=torch.bool, device=device).tril(before)


def rows_seen(
    document_lengths: tuple[int, ...], prefixes: tuple[range, ...]
) -> list[tuple[range, range]]:
    """The rows of each document's prefix, which lies before it, and its own."""
    assert all(length > 0 for length in document_lengths), document_lengths
    own = [range(*bounds) for bounds in pairwise([0, *accumulate(document_lengths)])]
    pairs = [*zip(prefixes or (range(0),) * len(own), own, strict=True)]
    assert all(prefix.stop <= rows.start for prefix, rows in pairs), prefixes
    return pairs


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))  # (1, H, T, K)
    mixed = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
    )
    return mixed.squeeze(0).transpose(0, 1)


def _joined(pieces: tuple[Tensor, ...], seen: tuple[int, ...]) -> Tensor:
    return pieces[seen[0]] if len(seen) == 1 else torch.cat([pieces[i] for i in seen])


def attention(q: Tensor, k: Tensor, v: Tensor, documents: Documents) -> Tensor:
    """`q` (N, H, K), `k` and `v` (N, Hkv, K) -> (N, H, K); N is the sum of the lengths."""
    if len(documents.lengths) == 1:
        return _attend(q, k, v, None)
    keys, values = k.split(documents.pieces), v.split(documents.pieces)
    parts = zip(q.split(documents.lengths), documents.seen, documents.masks, strict=True)
    return torch.cat(
        [
            _attend(own, _joined(keys, seen), _joined(values, seen), mask)
            for own, seen, mask in parts
        ]
    )
