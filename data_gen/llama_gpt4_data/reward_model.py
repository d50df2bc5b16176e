"""Reward models: a backbone without its vocabulary, and a head that reads one number off the last
token of a response.

The module names are those of Hugging Face's `…ForSequenceClassification` with one label, and so the
exported folder is one. Pads are known by lengths or a mask and never by their id, since `pad` is
often `eos`, the very token that is read.
"""

import inspect
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from llama_gpt4.model import Decoder, Linear

HEAD = "score.weight"


class LlamaReward(nn.Module):
    """Around our own decoder, over responses that lie end to end."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.model = decoder
        self.score = Linear(decoder.config.hidden_size, 1)

    def forward(self, tokens: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """`tokens` (N,) of responses of `lengths` (R,), each after its prompt -> rewards (R,)."""
        assert sum(lengths) == len(tokens), lengths
        device = tokens.device
        positions = torch.tensor([*chain(*map(range, lengths))], device=device)
        last = torch.tensor(lengths, device=device).cumsum(0) - 1
        hidden = self.model(tokens, positions, lengths, last)  # (R, D)
        return self.score(hidden).float().squeeze(-1)


class HubReward(nn.Module):
    """Around a model of `transformers`, over padded responses."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.prefix: str = whole.base_model_prefix
        self.add_module(self.prefix, getattr(whole, self.prefix))
        self.score = whole.score
        takes = inspect.signature(getattr(whole, self.prefix).forward).parameters
        self.takes_positions = "position_ids" in takes

    def forward(self, tokens: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """As `LlamaReward`."""
        assert sum(lengths) == len(tokens), lengths
        ids = pad_sequence(list(tokens.split(lengths)), batch_first=True)  # (R, T)
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.read(ids, places < torch.tensor(lengths, device=ids.device)[:, None])

    def read(self, ids: Tensor, is_real: Tensor) -> Tensor:
        """`ids`, `is_real` (R, T), with pads on either side -> rewards (R,)."""
        positions = {"position_ids": (is_real.cumsum(1) - 1).clamp(min=0)}
        hidden = getattr(self, self.prefix)(
            input_ids=ids,
            attention_mask=is_real.long(),
            use_cache=False,
            **(positions if self.takes_positions else {}),
        ).last_hidden_state  # (R, T, D)
        last = ids.shape[1] - 1 - is_real.flip(1).int().argmax(1)
        at_last = hidden[torch.arange(len(ids), device=ids.device), last]
        return self.score(at_last).float().squeeze(-1)
