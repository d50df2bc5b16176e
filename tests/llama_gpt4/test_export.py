import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_gpt4_kernels.reference import REFERENCE
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_gpt4.architecture import LlamaConfig, from_hugging_face, parameter_shapes
from llama_gpt4.checkpoint import Checkpoint, RunState
from llama_gpt4.errors import InputError
from llama_gpt4.export import run
from llama_gpt4.model import Llama
from llama_gpt4.program import ExitReport
from llama_gpt4.safetensors_file import Outgoing, read_entries, write_file
from llama_gpt4.weights import RandomWeights

from ..command import CLI, ENVIRONMENT, llama_gpt4, train
from ..tiny_llama import tiny_llama

TINY = tiny_llama(vocab_size=101, initializer_std=0.2)
LARGE = replace(
    TINY, vocab_size=8000, hidden_size=768, feed_forward_size=2048, n_layers=9, head_size=192
)
"""270 MB of float32 master weights."""
TOKENS = torch.tensor([1, 5, 17, 99, 100, 3, 3, 8])


def save_checkpoint(
    run_dir: Path,
    step: int = 6,
    architecture: LlamaConfig = TINY,
    dtype: str = "float32",
    n_ranks: int = 3,
) -> Path:
    """As a run leaves it: each rank holds one range of each parameter, the last a short one."""
    folder = run_dir / "checkpoints" / f"step-{step}"
    folder.mkdir(parents=True)
    weights = RandomWeights(architecture, seed=step)
    files = {}
    for rank in range(n_ranks):
        tensors, ranges = [], []
        for name, shape in parameter_shapes(architecture).items():
            size = -(-prod(shape) // n_ranks)
            start, n = rank * size, min(size, prod(shape) - rank * size)
            key = f"{name}:{start}:master"
            tensors.append(Outgoing(key, torch.float32, (n,), slice_of(weights, name, start, n)))
            ranges.append([name, start, n])
        file = f"rank-{rank:05d}.safetensors"
        files[file] = {"sha256": write_file(folder / file, tensors), "ranges": ranges}
    manifest = {
        "state": {field.name: "" for field in fields(RunState)} | {"step": step},
        "architecture": architecture.to_hugging_face(dtype, bos_id=1, eos_id=2, pad_id=0),
        "shapes": parameter_shapes(architecture),
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (run_dir / "tokenizer").mkdir(exist_ok=True)
    (run_dir / "tokenizer" / "tokenizer_config.json").write_text("{}")
    return folder


def slice_of(weights: RandomWeights, name: str, start: int, n: int) -> Iterator[Tensor]:
    target = torch.empty(n)
    weights.fill(name, start, target)
    yield target


def export(run_dir: Path, *overrides: str) -> Path:
    run([f"run_dir={run_dir}", *overrides], ExitReport())
    return run_dir / "model"


def refusal(run_dir: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        export(run_dir, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def our_logits(checkpoint: Checkpoint, dtype: torch.dtype, tokens: Tensor) -> Tensor:
    """Of our own model: the checkpoint's weights rounded to `dtype`, computed in float32."""
    model = Llama(from_hugging_face(checkpoint.architecture), REFERENCE, "none")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            checkpoint.fill(name, 0, parameter.data.view(-1))
            parameter.copy_(parameter.to(dtype))
        return model(tokens, torch.arange(len(tokens)), (len(tokens),))


def their_logits(model: Path, tokens: Tensor) -> Tensor:
    theirs, info = AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, output_loading_info=True
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        return theirs(tokens[None]).logits[0]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 20_000])
def test_transformers_loads_it_with_equal_logits(
    shard_bytes: int, dtype: str, tied: bool, tmp_path: Path
) -> None:
    folder = save_checkpoint(tmp_path, architecture=replace(TINY, tie_embeddings=tied))
    model = export(tmp_path, f"dtype={dtype}", f"shard_bytes={shard_bytes}")
    ours = our_logits(Checkpoint(folder), getattr(torch, dtype), TOKENS)
    assert (their_logits(model, TOKENS) - ours).abs().max() <= 1e-5 * ours.abs().max()
    assert json.loads((model / "config.json").read_text())["dtype"] == dtype


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shards_and_index_hold_every_weight_once(dtype: str, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path)
    model = export(tmp_path, f"dtype={dtype}", "shard_bytes=20000")
    index = json.loads((model / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in model.glob("*.safetensors"))
    assert len(files) > 2
    assert files == [
        f"model-{n + 1:05d}-of-{len(files):05d}.safetensors" for n in range(len(files))
    ]
    shapes, checkpoint, total = parameter_shapes(TINY), Checkpoint(folder), 0
    assert index["weight_map"].keys() == shapes.keys()
    for file in files:
        entries = read_entries(model / file)
        assert {name for name, place in index["weight_map"].items() if place == file} == set(
            entries
        )
        n_bytes = sum(prod(shapes[name]) for name in entries) * getattr(torch, dtype).itemsize
        header = 8 + int.from_bytes((model / file).read_bytes()[:8], "little")
        assert (model / file).stat().st_size == header + n_bytes
        assert n_bytes <= 20000 or len(entries) == 1
        total += n_bytes
        for name, tensor in load_file(model / file).items():
            master = torch.empty(prod(shapes[name]))
            checkpoint.fill(name, 0, master)
            assert tensor.dtype == getattr(torch, dtype) and tensor.numel() > 0
            assert torch.equal(tensor, master.view(shapes[name]).to(tensor.dtype)), name
    assert index["metadata"]["total_size"] == total


@pytest.mark.parametrize("tied", [False, True])
def test_vllm_finds_every_weight_where_it_looks_for_it(tied: bool, tmp_path: Path) -> None:
    """Its LlamaForCausalLM stacks q, k, v and gate, up, knows no further name, and pads the
    vocabulary itself; it reads all *.safetensors that the index names. tests/e2e/test_vllm.py runs
    it."""
    save_checkpoint(tmp_path, architecture=replace(TINY, tie_embeddings=tied))
    model = export(tmp_path, "dtype=bfloat16", "shard_bytes=20000")
    config = json.loads((model / "config.json").read_text())
    wide, narrow = config["hidden_size"], config["intermediate_size"]
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    size, vocabulary = config["head_dim"], config["vocab_size"]
    expected = {"model.embed_tokens.weight": (vocabulary, wide), "model.norm.weight": (wide,)}
    if not config["tie_word_embeddings"]:
        expected["lm_head.weight"] = (vocabulary, wide)
    for layer in range(config["num_hidden_layers"]):
        expected |= {
            f"model.layers.{layer}.{name}.weight": shape
            for name, shape in {
                "self_attn.q_proj": (heads * size, wide),
                "self_attn.k_proj": (groups * size, wide),
                "self_attn.v_proj": (groups * size, wide),
                "self_attn.o_proj": (wide, heads * size),
                "mlp.gate_proj": (narrow, wide),
                "mlp.up_proj": (narrow, wide),
                "mlp.down_proj": (wide, narrow),
                "input_layernorm": (wide,),
                "post_attention_layernorm": (wide,),
            }.items()
        }
    index = json.loads((model / "model.safetensors.index.json").read_text())["weight_map"]
    assert set(index.values()) == {path.name for path in model.glob("*.safetensors")}
    found = {
        name: entry.shape for file in set(index.values())
        for name, entry in read_entries(model / file).items()
    }  # fmt: skip
    assert found == expected
    assert config["architectures"] == ["LlamaForCausalLM"] and config["dtype"] == "bfloat16"
    ends = json.loads((model / "generation_config.json").read_text())
    assert ends["eos_token_id"] == config["eos_token_id"] == 2


def test_one_shard_needs_no_index(tmp_path: Path) -> None:
    save_checkpoint(tmp_path)
    names = {path.name for path in export(tmp_path).iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer_config.json",
    }  # fmt: skip


def test_the_newest_step_in_the_training_dtype_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (8, 10, 9):
        save_checkpoint(tmp_path, step, dtype="bfloat16")
    model = export(tmp_path)
    assert capsys.readouterr().out == f"step 10 -> {model}\n"
    assert read_entries(model / "model.safetensors")["lm_head.weight"].dtype == torch.bfloat16
    export(tmp_path, "step=8", f"output={tmp_path}/new/place", "dtype=float32")
    found = load_file(tmp_path / "new" / "place" / "model.safetensors")["lm_head.weight"]
    whole = torch.empty(found.numel())
    RandomWeights(TINY, seed=8).fill("lm_head.weight", 0, whole)
    assert torch.equal(found.view(-1), whole)


def test_a_step_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 3)
    save_checkpoint(tmp_path, 12)
    assert refusal(tmp_path, "step=5") == (f"step=5 has no checkpoint: {tmp_path} has steps 3, 12")


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    for run_dir in (tmp_path, tmp_path / "nowhere"):
        assert f"run_dir={run_dir} has no checkpoint" in refusal(run_dir)


def flip_a_byte(folder: Path) -> None:
    file = folder / "rank-00001.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "flipped_byte": (flip_a_byte, "rank-00001.safetensors is damaged or missing"),
    "missing_file": (lambda f: (f / "rank-00002.safetensors").unlink(), "rank-00002.safetensors"),
    "no_manifest": (lambda f: (f / "manifest.json").unlink(), "is no complete checkpoint"),
    "half_manifest": (
        lambda f: (f / "manifest.json").write_text('{"state": {"step": 6'),
        "is no complete checkpoint",
    ),
    "no_tokenizer": (lambda f: shutil.rmtree(f.parents[1] / "tokenizer"), "tokenizer does not"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_changes_nothing(damage: str, tmp_path: Path) -> None:
    model = (save_checkpoint(tmp_path, 5), export(tmp_path))[1]
    before = tree(model)
    apply, message = DAMAGES[damage]
    apply(save_checkpoint(tmp_path, 6))
    assert message in refusal(tmp_path)
    assert tree(model) == before
    assert not list(tmp_path.glob("model.*"))


def test_a_checkpoint_that_lacks_a_range_is_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["rank-00001.safetensors"]["ranges"][3]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "lacks a part of model.layers.0.self_attn.v_proj.weight" in refusal(tmp_path)
    assert not (tmp_path / "model").exists()


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path)
    (tmp_path / "file").write_text("")
    message = refusal(tmp_path, f"output={tmp_path}/file/model")
    assert message == f"{tmp_path}/file/model cannot be written (Not a directory)"


def test_a_full_disk_leaves_the_old_model_and_no_debris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path)
    before = tree(export(tmp_path))

    def full(path: Path, tensors: list[Outgoing]) -> str:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llama_gpt4.safetensors_file.write_file", full)
    assert "cannot be written (No space left on device)" in refusal(tmp_path)
    assert tree(tmp_path / "model") == before
    assert not list(tmp_path.glob("model.*"))


def test_a_folder_that_the_user_named_is_never_replaced(tmp_path: Path) -> None:
    save_checkpoint(tmp_path)
    mine = tmp_path / "documents"
    mine.mkdir()
    (mine / "thesis.tex").write_text("all of it")
    for output in (mine, tmp_path):
        assert f"output={output} exists" in refusal(tmp_path, f"output={output}")
    assert (mine / "thesis.tex").read_text() == "all of it"


def test_the_runs_own_model_is_replaced_as_a_whole(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, 5)
    (export(tmp_path, "shard_bytes=20000") / "stale.txt").write_text("")
    save_checkpoint(tmp_path, 6)
    model = export(tmp_path, f"output={tmp_path}/model")
    assert not (model / "stale.txt").exists() and len(list(model.glob("*.safetensors"))) == 1
    assert not list(tmp_path.glob("model.*"))


def test_cut_off_between_the_two_renames_one_whole_model_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path)
    before = tree(export(tmp_path))
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == "model.partial":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        export(tmp_path)
    assert tree(tmp_path / "model.replaced") == before
    assert tree(export(tmp_path)) == before
    assert not list(tmp_path.glob("model.*"))


@pytest.fixture(scope="module")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("large") / "run"
    save_checkpoint(run_dir, architecture=LARGE)
    return run_dir


MEASURED = """
import sys
from load_run import MemoryPeak
from llama_gpt4.checkpoint import Checkpoint
from llama_gpt4.export import run
from llama_gpt4.program import ExitReport

memory = MemoryPeak()
before = memory.start()
run(sys.argv[1:], ExitReport())
print(memory.peak() - before)
"""


@pytest.mark.e2e
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_exporting_takes_a_few_pieces_of_memory(
    large_run: Path, dtype: str, tmp_path: Path
) -> None:
    """Of 270 MB not even a shard, of 100 MB, is ever whole in memory."""
    benchmarks = str(Path(__file__).parents[2] / "benchmarks")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, f"run_dir={large_run}", f"output={tmp_path}/model",
         f"dtype={dtype}", "shard_bytes=100000000"],
        env={**ENVIRONMENT, "PYTHONPATH": benchmarks}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    n = sum(prod(shape) for shape in parameter_shapes(LARGE).values())
    written = sum(path.stat().st_size for path in (tmp_path / "model").glob("*.safetensors"))
    n_bytes = n * getattr(torch, dtype).itemsize
    assert n_bytes <= written <= 1.01 * n_bytes
    assert int(done.stdout.splitlines()[-1]) < 64 * 2**20


@pytest.mark.e2e
@pytest.mark.parametrize("has_model", [False, True])
def test_killed_in_the_middle_it_leaves_no_half_model(
    large_run: Path, has_model: bool, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "checkpoints").symlink_to(large_run / "checkpoints")
    (run_dir / "tokenizer").symlink_to(large_run / "tokenizer")
    if has_model:
        (run_dir / "model").mkdir()
        (run_dir / "model" / "config.json").write_text("the old one")
    process = subprocess.Popen(
        [*CLI, "export", f"run_dir={run_dir}", "shard_bytes=50000000"], env=ENVIRONMENT
    )
    until = time.monotonic() + 60
    while not list((run_dir / "model.partial").glob("model-00003*")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (run_dir / "model.partial").exists()
    left = tree(run_dir / "model") if has_model else {}
    assert left == ({"config.json": b"the old one"} if has_model else {})
    assert (run_dir / "model").exists() == has_model
    done = llama_gpt4("export", f"run_dir={run_dir}", "dtype=bfloat16")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"step 6 -> {run_dir}/model\n"
    assert sorted(path.name for path in run_dir.glob("model*")) == ["model"]


@pytest.mark.e2e
def test_a_trained_models_export_is_our_model(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    train(run_dir, "train.steps=2")
    checkpoint = Checkpoint(run_dir / "checkpoints" / "step-2")
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "model")
    tokens = tokenizer("The capital of Portugal is Lisbon.", return_tensors="pt").input_ids[0]
    ours = our_logits(checkpoint, torch.float32, tokens)
    theirs = their_logits(run_dir / "model", tokens)
    assert (theirs - ours).abs().max() <= 1e-5 * ours.abs().max()
    done = llama_gpt4("export", f"run_dir={run_dir}", f"output={tmp_path}/again", "step=2")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "again") == tree(run_dir / "model")


@pytest.mark.e2e
def test_bad_input_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    done = llama_gpt4("export", f"run_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == (
        f"llama-gpt4 export: run_dir={tmp_path} has no checkpoint: name the directory of a run\n"
    )
