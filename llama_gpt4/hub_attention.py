"""Our attention for models of `transformers`, which then read tokens that lie end to end: without
pads, and a prompt once for all its responses.

`transformers` takes a function under a name, hands it the keywords that the model was called with,
and makes no mask for it.
"""

from typing import Any

from llama_gpt4_kernels.attention import Documents, attention, plan_attention
from torch import Tensor

NAME = "documents"
MODEL_TYPES = ("gpt_neox", "opt", "qwen2", "qwen3")
"""Those whose positions are `position_ids` and whose attention is plain; a test compares each."""


def implementation(config: Any) -> str | None:
    """What `from_pretrained` is to be told for the model of `config`; None: its own attention, for
    which rows are padded."""
    if config.model_type not in MODEL_TYPES or getattr(config, "sliding_window", None) is not None:
        return None
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    return NAME


def hidden_states(
    backbone: Any,
    tokens: Tensor,
    positions: Tensor,
    document_lengths: tuple[int, ...],
    prefixes: tuple[range, ...] = (),
) -> Tensor:
    """As our `Decoder`, by a `backbone` that was built so: `tokens`, `positions` (N,) -> (N, D)."""
    return backbone(
        input_ids=tokens[None],
        position_ids=positions[None],
        use_cache=False,
        documents=plan_attention(document_lengths, tokens.device, prefixes),
    ).last_hidden_state[0]


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    documents: Documents,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """`query` (1, H, N, K), `key` and `value` (1, Hkv, N, K) -> (1, N, H, K)."""
    assert attention_mask is None and len(query) == 1
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))  # (N, H, K)
    usual = q.shape[-1] ** -0.5
    if scaling != usual:  # OPT has scaled its queries already
        q = q * (scaling / usual)
    return attention(q, k, v, documents).unsqueeze(0), None
