"""A model with more rows: the old ones as they were, the new ones means, nothing else touched."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from llama_gpt4_kernels.reference import REFERENCE
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.random_checkpoint import MEGA, write_checkpoint
from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.embeddings import EMBEDDINGS, write_extended
from llama_gpt4.errors import InputError
from llama_gpt4.model import Llama

from ..command import ENVIRONMENT
from ..tiny_llama import tiny_llama
from .test_weights import TIED, TINY, Writer, safetensors, values, write  # noqa: F401

SPELLINGS = [[3, 4], [49], [10, 11, 12, 12], [0, 1, 2]]
N_OLD = TINY.vocab_size


def extend(folder: Path, architecture: LlamaConfig = TINY, n_old: int = N_OLD) -> dict[str, Tensor]:
    """All tensors of the longer model."""
    target = folder / "longer"
    target.mkdir()
    write_extended(folder, architecture, n_old, SPELLINGS, target)
    return load_file(target / "model.safetensors")


def expected(old: Tensor, n_old: int = N_OLD) -> Tensor:
    """Old rows, a mean for each spelling, and the mean of all up to 64 rows."""
    old = old[:n_old]
    new = torch.stack([old[ids].float().mean(0) for ids in SPELLINGS])
    rest = old.double().mean(0).float().expand(64 - n_old - len(SPELLINGS), -1)
    return torch.cat([old, new.to(old.dtype), rest.to(old.dtype)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_are_means_of_what_spelled_the_piece_and_the_rest_is_untouched(
    write: Writer,  # noqa: F811
    dtype: torch.dtype,
    tmp_path: Path,
) -> None:
    old = values(dtype=dtype)
    write(old, tmp_path)
    new = extend(tmp_path)
    assert new.keys() == old.keys()
    for name, tensor in old.items():
        wanted = expected(tensor) if name in EMBEDDINGS else tensor
        assert new[name].dtype == dtype and torch.equal(new[name], wanted), name


def test_a_tied_model_has_one_table_also_where_its_file_holds_two(tmp_path: Path) -> None:
    old = values(TIED)
    safetensors(old | {"lm_head.weight": torch.zeros(N_OLD, TIED.hidden_size)}, tmp_path)
    new = extend(tmp_path, TIED)
    assert new.keys() == old.keys() and "lm_head.weight" not in new
    table = "model.embed_tokens.weight"
    assert torch.equal(new[table], expected(old[table]))


def test_rows_that_only_fill_up_give_way_to_new_ones(tmp_path: Path) -> None:
    old = values(replace(TINY, vocab_size=64))
    safetensors(old, tmp_path)
    new = extend(tmp_path, replace(TINY, vocab_size=64))
    for name in EMBEDDINGS:
        assert torch.equal(new[name], expected(old[name]))


def test_rows_that_only_fill_up_are_never_the_likeliest(tmp_path: Path) -> None:
    """By the model itself: of means, logits are means, and likelihoods at most the average."""
    old = values()
    old["lm_head.weight"] -= 5.0  # rows of zeros would win now and then
    safetensors(old, tmp_path)
    new = extend(tmp_path)
    model = Llama(replace(TINY, vocab_size=64), REFERENCE, "none")
    model.load_state_dict(new)
    tokens = torch.arange(N_OLD)
    with torch.no_grad():
        logits = model(tokens, tokens, (len(tokens),))
    filling = slice(N_OLD + len(SPELLINGS), None)
    likelihoods = logits.exp()
    assert (logits[:, filling] < logits[:, :N_OLD].max(1, keepdim=True).values).all()
    average = likelihoods[:, :N_OLD].mean(1, keepdim=True)
    assert (likelihoods[:, filling] <= average).all()
    assert (logits[:, :N_OLD].max(1).values < 0).any()


def test_a_model_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    old = values()
    del old["lm_head.weight"]
    safetensors(old, tmp_path)
    with pytest.raises(InputError, match=r"has no lm_head\.weight"):
        extend(tmp_path)


LARGE = tiny_llama(vocab_size=40_000, hidden_size=768, feed_forward_size=2048, n_layers=4)
"""180 MB in bfloat16, of which each embedding is a third."""
MEASURED = """
import sys
from pathlib import Path
from load_run import MemoryPeak
from llama_gpt4.architecture import described, from_hugging_face
from llama_gpt4.embeddings import write_extended

source, target = map(Path, sys.argv[1:])
memory = MemoryPeak()
before = memory.start()
spellings = [[i, i + 1, i + 2] for i in range(2000)]
write_extended(source, from_hugging_face(described(source)), 40_000, spellings, target)
print(memory.peak() - before)
"""


@pytest.mark.slow
def test_no_tensor_is_ever_whole_in_memory(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "old", LARGE, torch.bfloat16, 100 * MEGA)
    (tmp_path / "new").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "old"), str(tmp_path / "new")],
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2] / "benchmarks")},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    longer = replace(LARGE, vocab_size=42_048)
    shapes = parameter_shapes(longer)
    new = load_file(tmp_path / "new" / "model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in new.items()} == shapes
    table = 2 * 40_000 * LARGE.hidden_size
    assert int(done.stdout) < table, f"{int(done.stdout) / table:.2f} of a table"
    assert json.loads((tmp_path / "old" / "config.json").read_text())["vocab_size"] == 40_000
