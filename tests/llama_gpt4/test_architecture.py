import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.architecture import (
    LlamaConfig,
    from_hugging_face,
    from_path,
    from_sizes,
    model_flops,
    parameter_shapes,
)
from llama_gpt4.errors import InputError
from llama_gpt4.model_config import ModelConfig

SMALL: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def test_absent_keys_mean_what_they_mean_in_transformers() -> None:
    assert from_hugging_face(SMALL) == LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        feed_forward_size=56,
        n_layers=2,
        n_heads=4,
        n_kv_heads=4,
        head_size=8,
        max_positions=2048,
        rope_theta=10000.0,
        rope_scaling=None,
        norm_eps=1e-6,
        tie_embeddings=False,
        initializer_std=0.02,
    )


@pytest.mark.parametrize(
    ("keys", "theta", "scaling"),
    [
        ({"rope_theta": 5e5}, 5e5, None),
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, 5e5, None),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            1e4,
            {"rope_type": "linear", "factor": 2.0},
        ),
        ({"rope_theta": 5e5, "rope_scaling": LLAMA3}, 5e5, LLAMA3),
        ({"rope_parameters": {"rope_theta": 5e5, **LLAMA3}}, 5e5, LLAMA3),
    ],
)
def test_rotary_keys_old_and_new(keys: dict, theta: float, scaling: dict | None) -> None:
    config = from_hugging_face({**SMALL, **keys})
    assert (config.rope_theta, config.rope_scaling) == (theta, scaling)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"model_type": "mistral"}, "model_type"),
        ({"model_type": None}, "model_type"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_dropout": 0.1}, "attention_dropout"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.rope_type"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_parameters.rope_type"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"vocab_size": None}, "vocab_size"),
        ({"hidden_size": 30}, "hidden_size"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
        ({"head_dim": 7}, "head_dim"),
    ],
)
def test_other_mathematics_is_refused_by_name(keys: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        from_hugging_face({**SMALL, **keys})


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True},
        {"rope_theta": 5e5, "rope_scaling": LLAMA3, "max_position_embeddings": 512},
        {"rope_scaling": {"type": "linear", "factor": 4.0}, "rms_norm_eps": 1e-5},
    ],
)
def test_a_config_json_survives_transformers(keys: dict, tmp_path: Path) -> None:
    from transformers import AutoConfig

    config = from_hugging_face({**SMALL, **keys})
    described = config.to_hugging_face("bfloat16", bos_id=1, eos_id=2, pad_id=0)
    assert from_hugging_face(described) == config
    (tmp_path / "config.json").write_text(json.dumps(described))
    theirs = AutoConfig.from_pretrained(tmp_path)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 2, 0)
    assert str(theirs.dtype) == "torch.bfloat16"
    theirs.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert "rope_parameters" in again  # the keys of transformers 5
    assert from_hugging_face(again) == config


def sizes(**changes: Any) -> ModelConfig:
    values: dict[str, Any] = dict.fromkeys(ModelConfig.__dataclass_fields__)
    values |= {"path": "some", "initializer_std": 0.02, "kernels": "reference"}
    return ModelConfig(**{**values, "attention": "sdpa", "recompute": "none", **changes})


def test_sizes_of_the_configuration() -> None:
    model = sizes(
        path=None,
        n_layers=2,
        hidden_size=32,
        feed_forward_size=56,
        n_heads=4,
        n_kv_heads=4,
        max_positions=2048,
        rope_theta=10000.0,
        norm_eps=1e-6,
        tie_embeddings=False,
    )
    assert from_sizes(model, vocab_size=96) == from_hugging_face(SMALL)


def test_a_folder_says_its_sizes_and_a_contradiction_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    assert from_path(tmp_path, sizes(n_layers=2)) == from_hugging_face(SMALL)
    with pytest.raises(InputError, match=r"model\.n_layers=3"):
        from_path(tmp_path, sizes(n_layers=3))
    with pytest.raises(InputError, match="other"):
        from_path(tmp_path / "other", sizes())


def test_a_tied_head_has_no_tensor_of_its_own() -> None:
    own = parameter_shapes(from_hugging_face(SMALL))
    tied = parameter_shapes(from_hugging_face({**SMALL, "tie_word_embeddings": True}))
    assert own.keys() - tied.keys() == {"lm_head.weight"}
    assert len(own) == 3 + 2 * 9


def test_seven_billion_parameters_cost_six_operations_each_a_token() -> None:
    config = from_hugging_face(
        {**SMALL, "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008}
        | {"num_hidden_layers": 32, "num_attention_heads": 32}
    )
    parameters = 6_738_415_616 - 32000 * 4096  # an embedding is a table, not a product
    assert model_flops(config, 10**6, 0, 10**6) == pytest.approx(6e6 * parameters, rel=2e-3)


def test_no_torch_is_needed() -> None:
    code = "import sys, llama_gpt4.architecture; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
