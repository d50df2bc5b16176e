"""Which backbone a reward model stands on, how it is built, and where its weights come from."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_gpt4.architecture import (
    LlamaConfig,
    architecture_of,
    described,
    model_flops,
    n_parameters,
)
from llama_gpt4.errors import InputError, require
from llama_gpt4.hub import local_snapshot
from llama_gpt4.model_config import ModelConfig
from llama_gpt4_data.reward_config import RewardConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from llama_gpt4.ranks import Ranks
    from llama_gpt4.weights import WeightSource

KIND = "ForSequenceClassification"
LABELS = {"id2label": {"0": "reward"}, "label2id": {"reward": 0}}


@dataclass(frozen=True)
class Backbone:
    """A reward model that is yet to be built."""

    build: Callable[[dict[str, Any]], "nn.Module"]
    """Of DeepSpeed's settings; sharded under ZeRO-3."""
    weights: "WeightSource | None"
    """None: `build` brings them."""
    hidden_size: int
    n_parameters: int
    described: dict[str, Any]
    """The exported folder's config.json."""
    flops_of: Callable[[int, int, int], float]
    """(tokens, sum of squared lengths, responses) -> FLOPs of a forward and backward pass."""


def is_llama(model: ModelConfig) -> bool:
    """Whether our own decoder computes it."""
    if model.path is None:
        return True
    folder = local_snapshot(model.path, wanted=("config.json",))
    return described(folder).get("model_type") == "llama"


def require_plain(model: ModelConfig, row_tokens: int) -> None:
    """Refuse, of a model that `transformers` computes, what only ours can do."""
    if is_llama(model):
        return
    assert model.path is not None
    content = described(local_snapshot(model.path, wanted=("config.json",)))
    name = f"model.path={model.path} is {content.get('model_type')}, which transformers computes"
    for key, only in (("kernels", "reference"), ("attention", "sdpa")):
        value = getattr(model, key)
        require(value == only, f"{name}: model.{key}={value} is of our LLaMA, use {only}")
    require(
        model.recompute in ("none", "full"),
        f"{name}: model.recompute={model.recompute} is of our LLaMA, use none or full",
    )
    for key in ("n_layers", "hidden_size", "feed_forward_size", "n_heads", "n_kv_heads"):
        require(
            getattr(model, key) is None,
            f"{name}, and its config.json says its sizes: leave model.{key} null, as "
            "model=from_path does",
        )
    longest = positions(content)
    require(
        longest is None or row_tokens <= longest,
        f"{name}: data.row_tokens={row_tokens} exceeds its {longest} positions",
    )


def positions(content: dict[str, Any]) -> int | None:
    """How many tokens a model with this config.json can read; None where they have no end."""
    found = content.get("max_position_embeddings") or content.get("n_positions")
    return found if isinstance(found, int) else None


def llama_backbone(
    config: RewardConfig, vocab_size: int, ids: dict[str, Any], ranks: "Ranks"
) -> Backbone:
    """Our own decoder; `ids` are those of BOS, EOS and pad."""
    from llama_gpt4.engine import operators, sharded
    from llama_gpt4.model import Decoder
    from llama_gpt4.weights import RandomWeights, folder_weights
    from llama_gpt4_data.reward_model import LlamaReward

    architecture = architecture_of(config.model, vocab_size)
    ops = operators(config, ranks.device)

    def build(settings: dict[str, Any]) -> "nn.Module":
        with sharded(config, settings, ranks.device):
            return LlamaReward(Decoder(architecture, ops, config.model.recompute))

    # A tied head has no weight of its own: so these are the decoder's parameters alone.
    decoder = replace(architecture, tie_embeddings=True)
    weights: WeightSource = RandomWeights(decoder, config.seed)
    has_head = False
    if config.model.path is not None:
        folder = local_snapshot(config.model.path)
        weights, has_head = folder_weights(folder, decoder), is_reward_model(folder)
    return Backbone(
        build=build,
        weights=weights if has_head else WithNewHead(weights),
        hidden_size=architecture.hidden_size,
        n_parameters=n_parameters(decoder) + architecture.hidden_size,
        described={
            **architecture.to_hugging_face(config.precision.dtype, **ids),
            "architectures": [f"Llama{KIND}"],
            **LABELS,
        },
        flops_of=lambda *sizes: _llama_flops(decoder, *sizes),
    )


def _llama_flops(decoder: LlamaConfig, tokens: int, squared_lengths: int, responses: int) -> float:
    return model_flops(replace(decoder, vocab_size=1), tokens, squared_lengths, responses)


def is_reward_model(folder: Path) -> bool:
    """Whether `folder` holds a head that gives one number; `InputError` where it gives others."""
    content = described(folder)
    names = content.get("architectures") or [""]
    if not names[0].endswith(KIND):
        return False
    labels = len(content.get("id2label") or range(2))
    require(labels == 1, f"{folder} tells {labels} classes apart: a reward model has one label")
    return True


def reward_model_folder(path: str) -> Path:
    """The reward model that the user calls `path`, a folder or a name of the hub."""
    folder = local_snapshot(path)
    inner = folder / "model"
    if not (folder / "config.json").is_file() and inner.is_dir():
        raise InputError(f"model.path={folder} is a run directory: name {inner}")
    require_reward_model(folder)
    return folder


def require_reward_model(folder: Path) -> None:
    require(
        is_reward_model(folder),
        f"{folder} is no reward model: its architecture gives no single number",
    )


class WithNewHead:
    """A backbone's weights and a head of zeros: at the start all rewards are 0, every pair is worth
    ln 2, and the first step teaches the head alone."""

    def __init__(self, backbone: "WeightSource") -> None:
        self._backbone = backbone

    def fill(self, name: str, start: int, target: "Tensor") -> None:
        from llama_gpt4_data.reward_model import HEAD

        if name == HEAD:
            target.zero_()
        else:
            self._backbone.fill(name, start, target)


def hub_backbone(config: RewardConfig, vocab_size: int, ids: dict[str, Any]) -> Backbone:
    """Any causal model of `transformers`."""
    import torch
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as CLASSES

    assert config.model.path is not None
    folder = local_snapshot(config.model.path)
    settings_of_model = hub_config(folder)
    if type(settings_of_model) not in CLASSES:
        raise InputError(
            f"model.path={config.model.path}: transformers has no model of the type "
            f"{settings_of_model.model_type} with a head for one number: choose another backbone"
        )
    kind = CLASSES[type(settings_of_model)]
    with torch.device("meta"):
        empty = kind(settings_of_model)
    require_headed(empty, config.model.path)
    rows = empty.get_input_embeddings().num_embeddings
    require(
        vocab_size <= rows,
        f"the tokenizer has {vocab_size} pieces, model.path={config.model.path} only {rows} rows "
        "of embeddings: use the model's own tokenizer",
    )
    n = sum(parameter.numel() for parameter in empty.parameters())
    return Backbone(
        build=lambda settings: _build_hub(config, kind, folder, settings),
        weights=None,
        hidden_size=settings_of_model.hidden_size,
        n_parameters=n,
        described={
            **settings_of_model.to_dict(),
            "architectures": [kind.__name__],
            "vocab_size": rows,
            "dtype": config.precision.dtype,
            "bos_token_id": ids["bos_id"],
            "eos_token_id": ids["eos_id"],
            "pad_token_id": ids["pad_id"],
        },
        # Without attention, and with the embeddings, which are looked up.
        flops_of=lambda tokens, squared, responses: 6.0 * n * tokens,
    )


def hub_config(folder: Path) -> Any:
    """The model's configuration with one label and no dropout: two responses must not differ by
    chance, and a resumed run must not depend on a state of random numbers."""
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{folder} is no model that transformers knows: {reason}") from error
    found.id2label, found.label2id = {0: "reward"}, {"reward": 0}
    for key, value in found.to_dict().items():
        if "drop" in key and isinstance(value, float):
            setattr(found, key, 0.0)
    return found


def require_headed(model: Any, path: str) -> None:
    """Refuse a model whose head is not the linear layer `score` after the backbone."""
    headed = hasattr(model, "score") and hasattr(model, model.base_model_prefix)
    require(
        headed and {n for n, _ in model.score.named_parameters()} == {"weight"},
        f"model.path={path}: its class for one number has no plain head: choose another backbone",
    )


def quiet() -> None:
    """Without the report that a head is new and the bar of a load, once a rank."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _build_hub(
    config: RewardConfig, kind: Any, folder: Path, settings: dict[str, Any]
) -> "nn.Module":
    """`from_pretrained` shards by itself where it finds DeepSpeed's settings alive: under a plain
    `zero.Init` a model keeps the values that torch gave it, without a word."""
    from transformers.integrations import HfDeepSpeedConfig

    from llama_gpt4 import zero_state
    from llama_gpt4.engine import DTYPES
    from llama_gpt4.hub_attention import implementation
    from llama_gpt4_data.reward_model import HEAD, HubReward

    quiet()
    settings_of_model = hub_config(folder)
    kept_alive = HfDeepSpeedConfig(settings) if config.zero.stage == 3 else contextlib.nullcontext()
    try:
        whole, loading = kind.from_pretrained(
            folder,
            config=settings_of_model,
            attn_implementation=implementation(settings_of_model),
            dtype=DTYPES[config.precision.dtype],
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{folder}: its weights cannot be read: {reason}") from error
    finally:
        del kept_alive
    missing = set(loading["missing_keys"]) - {HEAD}
    require(
        not missing,
        f"{folder} has no {min(missing, default='')}: its weights do not belong to its config",
    )
    if config.model.recompute == "full":
        whole.gradient_checkpointing_enable()
    model = HubReward(whole)
    if HEAD in loading["missing_keys"]:
        for name, _, values in zero_state.local_slices(model):
            if name == HEAD:
                values.zero_()
    return model
