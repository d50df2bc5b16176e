"""LLaMA as a policy: how likely it finds whole responses."""

from itertools import chain

import torch
from torch import Tensor

from llama_gpt4.model import Llama


class Policy(Llama):
    """The language model, asked for the log-probability of each response instead of a loss."""

    def forward(  # type: ignore[override]
        self, tokens: Tensor, lengths: tuple[int, ...], answer_lengths: tuple[int, ...]
    ) -> Tensor:
        """`tokens` (N,) of responses of `lengths` (R,), each after its prompt, the last
        `answer_lengths` (R,) of which are the response and its EOS -> the sum of their
        log-probabilities: (R,) in fp32."""
        assert sum(lengths) == len(tokens), lengths
        device = tokens.device
        places = torch.tensor([*chain(*map(range, lengths))], device=device)
        sizes, answers = (torch.tensor(n, device=device) for n in (lengths, answer_lengths))
        response = torch.arange(len(lengths), device=device).repeat_interleave(sizes)
        # A token is predicted at the place before it.
        firsts = sizes - answers - 1
        predicts = (places >= firsts[response]) & (places < sizes[response] - 1)
        rows = predicts.nonzero().squeeze(1)
        hidden = self.model(tokens, places, lengths, rows)
        found = self.lm_head(hidden, tokens[rows + 1])  # (M,)
        return found.new_zeros(len(lengths)).index_add(0, response[rows], found)
