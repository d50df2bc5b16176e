"""How a token is drawn from a model's distribution: each answer by random numbers of its own.

They follow from the seed, the key of the question and the number of the sample, one a token, so
that an answer does not depend on what is made beside it.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import LogitsProcessor

from llama_gpt4.chat_tokens import Row

if TYPE_CHECKING:
    from llama_gpt4.decoding import DecodingConfig


class DrawPerRow(LogitsProcessor):
    """Draws the next token of each row of a batch that stays together."""

    def __init__(
        self,
        rows: Sequence[Row],
        decoding: "DecodingConfig",
        seed: int,
        n_tokens: int,
        prompt_tokens: int,
    ) -> None:
        self._decoding, self._prompt_tokens = decoding, prompt_tokens
        self._draws = torch.stack([draws(seed, row, n_tokens) for row in rows])  # (B, n_tokens)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores` (B, V) -> (B, V): 0 for the token that is drawn, -inf for the others."""
        draw = self._draws[:, input_ids.shape[1] - self._prompt_tokens].to(scores.device)
        return only_drawn(scores, draw, self._decoding)


def only_drawn(scores: Tensor, draw: Tensor, decoding: "DecodingConfig") -> Tensor:
    """`scores` (B, V) -> (B, V): 0 for the token that the number `draw` (B,) takes, -inf for the
    others.

    It is the first whose cumulative probability, in the order of ids, passes the number.
    """
    probabilities = torch.softmax(scores.double() / decoding.temperature, dim=-1)
    if decoding.top_p < 1:
        probabilities = keep_likeliest(probabilities, decoding.top_p)
    cumulative = probabilities.cumsum(-1)
    # A draw is below 1, so below the total, unless rounding made them equal: hence the clamp.
    target = draw.double()[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True)
    token = torch.minimum(token, _last_possible(probabilities))
    return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


def draws(seed: int, row: Row, n_tokens: int) -> Tensor:
    """(n_tokens,) float32 within [0, 1): the random numbers of one answer, one a token.

    A longer limit goes on with the same numbers.
    """
    source = torch.Generator().manual_seed(seed_of(seed, row))
    return torch.rand(n_tokens, generator=source, dtype=torch.float32)


def seed_of(seed: int, row: Row) -> int:
    """What an answer's random numbers start from, within 64 signed bits."""
    digest = hashlib.sha256(f"{seed}/{row.sample}/{row.key}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def keep_likeliest(probabilities: Tensor, top_p: float) -> Tensor:
    """(B, V) without what is less likely than the last token needed to reach `top_p`."""
    falling = probabilities.sort(dim=-1, descending=True).values
    n_kept = (falling.cumsum(-1) - falling < top_p).sum(-1, keepdim=True)
    least = falling.gather(1, n_kept - 1)
    return probabilities.where(probabilities >= least, 0.0)


def _last_possible(probabilities: Tensor) -> Tensor:
    """(B, 1) the highest id of positive probability."""
    last = (probabilities > 0).flip(-1).int().argmax(-1, keepdim=True)
    return probabilities.shape[-1] - 1 - last
