import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from llama_gpt4.architecture import LlamaConfig, parameter_shapes
from llama_gpt4.errors import InputError
from llama_gpt4.weights import RandomWeights, WeightSource, folder_weights

from ..tiny_llama import tiny_llama

TINY = tiny_llama(vocab_size=50, hidden_size=8, feed_forward_size=12, n_heads=2, n_kv_heads=1)
TIED = replace(TINY, tie_embeddings=True)
HEAD = "lm_head.weight"
Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
ROTARY = "model.layers.0.self_attn.rotary_emb.inv_freq"

Writer = Callable[[dict[str, Tensor], Path], None]


def values(
    architecture: LlamaConfig = TINY, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator).to(dtype)
        for name, shape in parameter_shapes(architecture).items()
    }


def safetensors(tensors: dict[str, Tensor], folder: Path) -> None:
    save_file(tensors, folder / "model.safetensors")


def safetensors_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    _shards(tensors, folder, "model.safetensors", save_file)


def pickled(tensors: dict[str, Tensor], folder: Path) -> None:
    torch.save(tensors, folder / "pytorch_model.bin")


def pickled_shards(tensors: dict[str, Tensor], folder: Path) -> None:
    _shards(tensors, folder, "pytorch_model.bin", torch.save)


def _shards(tensors: dict[str, Tensor], folder: Path, single: str, save: Any) -> None:
    """Three files, of every third tensor each."""
    stem, suffix = single.rsplit(".", 1)
    files = [f"{stem}-{number:05d}-of-00003.{suffix}" for number in (1, 2, 3)]
    weight_map = {name: files[index % 3] for index, name in enumerate(tensors)}
    for file in files:
        save({name: t for name, t in tensors.items() if weight_map[name] == file}, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / f"{single}.index.json").write_text(json.dumps(index))


FORMATS = (safetensors, safetensors_shards, pickled, pickled_shards)


@pytest.fixture(params=FORMATS, ids=lambda writer: writer.__name__)
def write(request: pytest.FixtureRequest) -> Writer:
    return request.param


def whole(source: WeightSource, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    target = torch.empty(prod(parameter_shapes(TINY)[name]), dtype=dtype)
    source.fill(name, 0, target)
    return target.view(parameter_shapes(TINY)[name])


def refusal(folder: Path, architecture: LlamaConfig = TINY) -> str:
    with pytest.raises(InputError) as caught:
        folder_weights(folder, architecture)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


def test_every_weight_is_the_files(write: Writer, tmp_path: Path) -> None:
    tensors = values()
    write(tensors, tmp_path)
    source = folder_weights(tmp_path, TINY)
    for name, tensor in tensors.items():
        assert torch.equal(whole(source, name), tensor), name


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_weights_are_cast_to_the_training_dtype(
    write: Writer, stored: torch.dtype, wanted: torch.dtype, tmp_path: Path
) -> None:
    tensors = values(dtype=stored)
    write(tensors, tmp_path)
    found = whole(folder_weights(tmp_path, TINY), Q_PROJ, wanted)
    assert torch.equal(found, tensors[Q_PROJ].to(wanted))


def test_any_slice_can_be_asked_for(write: Writer, tmp_path: Path) -> None:
    tensors = values(dtype=torch.float16)
    write(tensors, tmp_path)
    source = folder_weights(tmp_path, TINY)
    for start, stop in ((0, 1), (3, 64), (17, 18), (63, 64), (5, 5)):
        target = torch.empty(stop - start)
        source.fill(Q_PROJ, start, target)
        assert torch.equal(target, tensors[Q_PROJ].view(-1)[start:stop].float())


def test_what_the_model_has_not_is_left_alone(write: Writer, tmp_path: Path) -> None:
    """Old checkpoints hold the tables of their rotary embedding, one a layer."""
    extra = {ROTARY: torch.rand(2), "model.layers.0.mask": torch.ones(3, 3, dtype=torch.bool)}
    write(values() | extra, tmp_path)
    source = folder_weights(tmp_path, TINY)
    assert torch.equal(whole(source, Q_PROJ), values()[Q_PROJ])


@pytest.mark.parametrize("has_head", [False, True])
def test_a_tied_model_needs_no_head(write: Writer, has_head: bool, tmp_path: Path) -> None:
    tensors = values(TIED)
    assert HEAD not in tensors
    if has_head:
        tensors[HEAD] = tensors["model.embed_tokens.weight"].clone()
    write(tensors, tmp_path)
    source = folder_weights(tmp_path, TIED)
    embeddings = whole(source, "model.embed_tokens.weight")
    assert torch.equal(embeddings, tensors["model.embed_tokens.weight"])


def test_an_untied_model_needs_its_head(write: Writer, tmp_path: Path) -> None:
    write(values(TIED), tmp_path)
    assert f"has no {HEAD}" in refusal(tmp_path)


def test_a_missing_tensor_is_named(write: Writer, tmp_path: Path) -> None:
    tensors = values()
    del tensors[Q_PROJ]
    write(tensors, tmp_path)
    assert f"has no {Q_PROJ}" in refusal(tmp_path)


def test_another_shape_is_refused(write: Writer, tmp_path: Path) -> None:
    write(values(), tmp_path)
    message = refusal(tmp_path, replace(TINY, vocab_size=51))
    assert "model.embed_tokens.weight" in message and "(50, 8)" in message and "(51, 8)" in message


def test_quantised_weights_are_refused(write: Writer, tmp_path: Path) -> None:
    """Their integers are no weights; only their scales would make them so."""
    write(values() | {Q_PROJ: torch.ones(8, 8, dtype=torch.int8)}, tmp_path)
    message = refusal(tmp_path)
    assert Q_PROJ in message and "quantised" in message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "holds neither model.safetensors nor pytorch_model.bin" in refusal(tmp_path)


def test_safetensors_are_preferred_and_one_file_to_shards(tmp_path: Path) -> None:
    """In transformers' order: else two programs would load two models from one folder."""
    for scale, writer in enumerate((pickled_shards, pickled, safetensors_shards, safetensors), 1):
        writer({name: tensor * scale for name, tensor in values().items()}, tmp_path)
        found = whole(folder_weights(tmp_path, TINY), Q_PROJ)
        assert torch.equal(found, values()[Q_PROJ] * scale)


@pytest.mark.parametrize("write", [safetensors_shards, pickled_shards])
def test_a_missing_shard_is_named(write: Writer, tmp_path: Path) -> None:
    write(values(), tmp_path)
    victim = min(tmp_path.glob("*-00002-of-00003.*"))
    victim.unlink()
    assert f"lacks {victim.name}" in refusal(tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": []}',
        '{"weight_map": {"x": 3}}',
        '{"weight_map": {"x": "../../secret.safetensors"}}',
        '{"weight_map": {"x": "/etc/passwd"}}',
        "\udcff",
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_index_is_named(name: str, index: str, tmp_path: Path) -> None:
    file = tmp_path / f"{name}.index.json"
    file.write_bytes(index.encode(errors="surrogateescape"))
    assert refusal(tmp_path).startswith(f"{file} does not map weights to files")


def test_an_index_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").mkdir()
    assert "model.safetensors.index.json cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("write", [safetensors, safetensors_shards])
@pytest.mark.parametrize("kept", [0, 5, 0.5, 0.99])
def test_a_truncated_safetensors_file_is_named(write: Writer, kept: float, tmp_path: Path) -> None:
    write(values(), tmp_path)
    victim = min(tmp_path.glob("*.safetensors"))
    content = victim.read_bytes()
    victim.write_bytes(content[: int(kept * len(content) if kept < 1 else kept)])
    message = refusal(tmp_path)
    assert str(victim) in message and "cut short" in message


class Malicious:
    """Runs a command where it is unpickled in good faith."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self._mark}",)


def test_a_pickle_never_runs_code(tmp_path: Path) -> None:
    mark = tmp_path / "owned"
    file = tmp_path / "pytorch_model.bin"
    evil: dict[str, Any] = {**values(), ROTARY: Malicious(mark)}
    for save in (torch.save, lambda x, f: f.write_bytes(pickle.dumps(x))):
        save(evil, file)
        message = refusal(tmp_path)
        assert str(file) in message and "cannot be read as plain tensors" in message
        assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1", b"PK\3\4"])
def test_a_bin_file_that_is_none_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    assert "cannot be read as plain tensors" in refusal(tmp_path)


def test_a_cut_bin_file_is_named(tmp_path: Path) -> None:
    pickled(values(), tmp_path)
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot be read as plain tensors" in refusal(tmp_path)


def test_a_bin_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(3)], tmp_path / "pytorch_model.bin")
    assert "is not a dictionary of tensors" in refusal(tmp_path)
    torch.save({"model": values()}, tmp_path / "pytorch_model.bin")
    assert "has no model.embed_tokens.weight" in refusal(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_flipped_bits_of_a_bin_file_are_no_bug(tmp_path: Path) -> None:
    pickled(values(), tmp_path)
    file = tmp_path / "pytorch_model.bin"
    good = file.read_bytes()
    numbers = torch.Generator().manual_seed(0)
    for _ in range(50):
        content = bytearray(good)
        for at in torch.randint(1500, (3,), generator=numbers).tolist():
            content[at] ^= 1 << (at % 8)
        file.write_bytes(content)
        try:
            folder_weights(tmp_path, TINY)
        except InputError as error:
            assert "\n" not in str(error)


def test_a_transposed_tensor_of_a_bin_file_keeps_its_order(tmp_path: Path) -> None:
    tensors = values()
    pickled(tensors | {Q_PROJ: tensors[Q_PROJ].T.contiguous().T}, tmp_path)
    assert torch.equal(whole(folder_weights(tmp_path, TINY), Q_PROJ), tensors[Q_PROJ])


def test_random_weights_depend_on_seed_and_name_alone() -> None:
    source, other = RandomWeights(TINY, 3), RandomWeights(TINY, 4)
    full = whole(source, Q_PROJ)
    part = torch.empty(20)
    source.fill(Q_PROJ, 11, part)
    assert torch.equal(part, full.view(-1)[11:31])
    assert not torch.equal(full, whole(other, Q_PROJ))
    assert torch.equal(whole(source, "model.norm.weight"), torch.ones(8))
