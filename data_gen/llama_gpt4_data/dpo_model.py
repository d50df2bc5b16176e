"""LLaMA as a policy: how likely it finds whole responses."""

import numpy as np
from torch import Tensor, from_numpy

from llama_gpt4.model import Llama
from llama_gpt4_data.groups import Groups, layout, predictions


class Policy(Llama):
    """The language model, asked for the log-probability of each response instead of a loss."""

    def forward(self, tokens: Tensor, groups: Groups) -> Tensor:  # type: ignore[override]
        """`tokens` (N,) of `groups` of R responses, each with its EOS -> the sum of the
        log-probabilities of its tokens: (R,) in fp32."""
        plan = layout(groups)
        assert len(plan.positions) == len(tokens), groups
        whose, predicted, predicting = predictions(groups)
        # The decoder takes each row once, and the last of a prompt predicts in all its responses.
        unique, of_unique = np.unique(predicting, return_inverse=True)
        positions, rows, places, response, target = (
            from_numpy(x).to(tokens.device)
            for x in (plan.positions, unique, of_unique, whose, predicted)
        )
        hidden = self.model(tokens, positions, plan.document_lengths, rows, plan.prefixes)
        found = self.lm_head(hidden.index_select(0, places), tokens[target])  # (M,)
        return found.new_zeros(len(plan.ends)).index_add(0, response, found)
