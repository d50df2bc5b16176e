"""Reward models: a backbone without its vocabulary, and a head that reads one number off the last
token of a response.

The module names are those of Hugging Face's `…ForSequenceClassification` with one label, and so the
exported folder is one. Pads are known by lengths or a mask and never by their id, since `pad` is
often `eos`, the very token that is read.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from llama_gpt4.hub_attention import NAME, hidden_states
from llama_gpt4.model import Decoder, Linear
from llama_gpt4_data.groups import Groups, layout

HEAD = "score.weight"


class LlamaReward(nn.Module):
    """Around our own decoder, which reads a prompt once for all its responses."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.model = decoder
        self.score = Linear(decoder.config.hidden_size, 1)

    def forward(self, tokens: Tensor, groups: Groups) -> Tensor:
        """`tokens` (N,) of `groups` of R responses -> rewards (R,)."""
        plan = layout(groups)
        assert len(plan.positions) == len(tokens), groups
        positions = torch.from_numpy(plan.positions).to(tokens.device)
        ends = torch.from_numpy(plan.ends).to(tokens.device)
        hidden = self.model(tokens, positions, plan.document_lengths, ends, plan.prefixes)  # (R, D)
        return self.score(hidden).float().squeeze(-1)


class HubReward(nn.Module):
    """Around a model of `transformers`: over documents where it attends to them, else over padded
    responses, each after its prompt."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.prefix: str = whole.base_model_prefix
        self.add_module(self.prefix, getattr(whole, self.prefix))
        self.score = whole.score
        self.takes_documents = whole.config._attn_implementation == NAME
        takes = inspect.signature(getattr(whole, self.prefix).forward).parameters
        self.takes_positions = "position_ids" in takes

    def forward(self, tokens: Tensor, groups: Groups) -> Tensor:
        """As `LlamaReward`."""
        if self.takes_documents:
            return self.read_documents(tokens, groups)
        rows = apart(tokens, groups)
        ids = pad_sequence(rows, batch_first=True)  # (R, T)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.read(ids, places < lengths[:, None])

    def read_documents(self, tokens: Tensor, groups: Groups) -> Tensor:
        """As `forward`, each prompt once."""
        plan = layout(groups)
        positions = torch.from_numpy(plan.positions).to(tokens.device)
        backbone = getattr(self, self.prefix)
        hidden = hidden_states(
            backbone, tokens, positions, plan.document_lengths, plan.prefixes
        )  # (N, D)
        at_end = hidden.index_select(0, torch.from_numpy(plan.ends).to(tokens.device))
        return self.score(at_end).float().squeeze(-1)

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


def apart(tokens: Tensor, groups: Groups) -> list[Tensor]:
    """The R responses in `tokens` (N,) of `groups`, each after its prompt."""
    found: list[Tensor] = []
    for own, group in zip(tokens.split([g.tokens for g in groups]), groups, strict=True):
        prompt, *responses = own.split([group.prompt, *group.responses])
        found += [torch.cat([prompt, response]) for response in responses]
    return found
