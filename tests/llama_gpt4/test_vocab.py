"""From texts and a model to a folder that trains, answers and loads elsewhere; bad input."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor
from transformers import AutoModelForCausalLM, AutoTokenizer

from llama_gpt4.architecture import LlamaConfig
from llama_gpt4.errors import InputError
from llama_gpt4.program import ExitReport
from llama_gpt4.prompt import CHAT_TEMPLATE
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer
from llama_gpt4.vocab import run

from ..command import FAST, llama_gpt4
from ..tiny_llama import tiny_llama
from .test_tokenizer import ADVERSARIAL, ENGLISH, texts_of_all_kinds
from .test_weights import safetensors_shards, values

ZH = [record.output for record in read_records("sample:zh")]
TEMPLATE = "{{ bos_token }}{{ messages[0]['content'] }}"


def write_config(folder: Path, architecture: LlamaConfig) -> None:
    folder.mkdir()
    described = architecture.to_hugging_face("bfloat16", bos_id=1, eos_id=2, pad_id=0)
    (folder / "config.json").write_text(json.dumps(described))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a tokenizer that knows no Chinese, a template and a length of its own."""
    folder = tmp_path_factory.mktemp("base") / "model"
    records = read_records("sample:en")
    texts = [ENGLISH.split("\n")[0], *(r.output for r in records)]
    train_tokenizer(texts, 600, folder.parent / "tokenizer.model")
    tokenizer = Tokenizer.load(folder.parent)
    architecture = tiny_llama(vocab_size=tokenizer.vocab_size, max_positions=512)
    write_config(folder, architecture)
    safetensors_shards(values(architecture, torch.bfloat16), folder)
    tokenizer.save(folder, chat_template=TEMPLATE, max_tokens=77)
    (folder / "generation_config.json").write_text('{"do_sample": true, "top_p": 0.6}')
    return folder


def vocab(output: Path, *arguments: str, files: str = "[sample:zh]") -> Path:
    run([f"files={files}", f"output={output}", *arguments], ExitReport())
    return output


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "model"
    return vocab(output, f"model.path={base}", "pieces=150", files="[sample:zh,sample:en]")


def test_the_folder_holds_both_tokenizers_the_model_and_the_report(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == [
        "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocabulary.json",
    ]  # fmt: skip
    assert not list(made.parent.glob("*.partial"))


def test_template_length_and_generation_are_the_models_own(base: Path, made: Path) -> None:
    assert (made / "chat_template.jinja").read_text() == TEMPLATE
    said = json.loads((made / "tokenizer_config.json").read_text())
    assert said["model_max_length"] == 512 and said["pad_token"] == "<unk>"
    name = "generation_config.json"
    assert (made / name).read_text() == (base / name).read_text()
    old, new = (json.loads((folder / "config.json").read_text()) for folder in (base, made))
    assert new == old | {"vocab_size": new["vocab_size"]}


def test_all_three_readers_of_the_tokenizer_agree(made: Path) -> None:
    ours = Tokenizer.load(made)
    json_only = Tokenizer.load(made / "tokenizer.json")
    theirs = SentencePieceProcessor(model_file=str(made / "tokenizer.model"))
    transformers = AutoTokenizer.from_pretrained(made)
    for text in [*ZH, *texts_of_all_kinds(200, seed=11), *ADVERSARIAL]:
        ids = ours.encode(text)
        assert ids == theirs.encode(text) == json_only.encode(text), repr(text)
        if not any(name in text for name in ("<s>", "</s>", "<unk>")):
            assert transformers(text)["input_ids"] == [ours.bos_id, *ids], repr(text)


def test_rows_are_those_of_the_tokenizer_rounded_up_and_means(base: Path, made: Path) -> None:
    old, new = Tokenizer.load(base), Tokenizer.load(made)
    rows = json.loads((made / "config.json").read_text())["vocab_size"]
    assert rows % 64 == 0 and rows - 64 < new.vocab_size == old.vocab_size + 150 <= rows
    before = {k: v for file in base.glob("*.safetensors") for k, v in load_file(file).items()}
    after = load_file(made / "model.safetensors")
    assert before.keys() == after.keys()
    pieces = [new.decode([id], continuation=True) for id in range(old.vocab_size, new.vocab_size)]
    spelled = [ids[:-1] for ids in old.encode_answers(pieces)]
    assert min(map(len, spelled)) >= 3  # bytes of Chinese
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(after[name][: old.vocab_size], before[name])
        for id, ids in enumerate(spelled, old.vocab_size):
            wanted = before[name][ids].float().mean(0).to(torch.bfloat16)
            assert torch.equal(after[name][id], wanted)


def test_the_model_says_of_old_text_what_it_said(base: Path, made: Path) -> None:
    ids = torch.tensor([Tokenizer.load(base).encode_prompts(["Name the capital of Portugal."])[0]])
    logits = []
    for folder in (base, made):
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True
        )
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        with torch.no_grad():
            logits.append(model(ids).logits[0])
    n_old = logits[0].shape[1]
    assert torch.allclose(logits[1][:, :n_old], logits[0], atol=1e-6)


def test_the_report_has_every_part_and_language(made: Path) -> None:
    report = json.loads((made / "vocabulary.json").read_text())
    assert report["added"] == 150 and report["unreachable"] == 0
    rows = {(row["part"], row["language"]): row for row in report["costs"]}
    assert {("training", "zh"), ("held_out", "zh"), ("training", "en"), ("held_out", "en")} <= {
        *rows
    }
    assert sum(row["texts"] for row in rows.values()) == 115 + 115
    for part in ("training", "held_out"):
        row = rows[part, "zh"]
        assert row["after"]["per_character"] < row["before"]["per_character"] / 1.3
        assert row["after"]["byte_share"] < row["before"]["byte_share"]


@pytest.mark.parametrize("name", ["book.txt", "book.txt.gz"])
def test_a_tokenizer_alone_and_plain_text(name: str, base: Path, tmp_path: Path) -> None:
    lines = "".join(f"{text}\r\n\n" for text in ZH)
    content = ("\ufeff" + lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    output = vocab(
        tmp_path / "out", f"tokenizer={base}/tokenizer.model", "pieces=40", "held_out_share=0",
        files=f"[{tmp_path}/{name}]",
    )  # fmt: skip
    names = {path.name for path in output.iterdir()}
    assert "tokenizer.json" in names and "config.json" not in names
    report = json.loads((output / "vocabulary.json").read_text())
    assert {row["part"] for row in report["costs"]} == {"training"}
    assert sum(row["texts"] for row in report["costs"]) == sum(
        bool(line.strip()) for line in lines.split("\n")
    )
    assert (output / "chat_template.jinja").read_text() == TEMPLATE  # from beside the file
    assert json.loads((output / "tokenizer_config.json").read_text())["model_max_length"] == 77


def test_a_corpus_of_objects_with_a_text(base: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text, "id": 7}) + "\n" for text in ZH))
    lines = tmp_path / "corpus.txt"
    lines.write_text("".join(text.replace("\n", " ") + "\n" for text in ZH))
    made = [
        vocab(tmp_path / name, f"tokenizer={base}", "pieces=40", "held_out_share=0", files=f"[{f}]")
        for name, f in (("a", corpus), ("b", lines))
    ]
    learned = [(folder / "tokenizer.model").read_bytes() for folder in made]
    assert learned[0] == learned[1]


def test_without_a_template_it_is_the_projects_and_it_can_be_extended_again(tmp_path: Path) -> None:
    train_tokenizer(
        ["Name the capital of Portugal. It is Lisbon."], 400, tmp_path / "tokenizer.model"
    )
    first = vocab(tmp_path / "first", f"tokenizer={tmp_path}/tokenizer.model", "pieces=30")
    assert (first / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    second = vocab(tmp_path / "second", f"tokenizer={first}", "pieces=30")
    ids = [Tokenizer.load(folder).encode_answers(["Lisbon"]) for folder in (first, second)]
    assert ids[0] == ids[1]
    report = json.loads((second / "vocabulary.json").read_text())
    assert report["duplicate"] >= 30


def test_twice_is_the_same_byte_for_byte(base: Path, tmp_path: Path) -> None:
    made = [vocab(tmp_path / name, f"tokenizer={base}", "pieces=40") for name in ("a", "b")]
    for path in made[0].iterdir():
        assert path.read_bytes() == (made[1] / path.name).read_bytes()


# Bad input


def refusal(output: Path, *arguments: str, **files: str) -> str:
    with pytest.raises(InputError) as caught:
        vocab(output, *arguments, **files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BAD: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "neither": (lambda base: [], "tokenizer and model are both null"),
    "pieces": (lambda base: [f"tokenizer={base}", "pieces=0"], "pieces=0 must be positive"),
    "share": (lambda base: [f"tokenizer={base}", "held_out_share=1"], "held_out_share=1.0 is not"),
    "no_such": (lambda base: ["tokenizer=./nowhere"], "tokenizer=./nowhere does not exist"),
    "no_model": (lambda base: ["model.path=/nowhere"], "model.path=/nowhere does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_key_is_named(case: str, base: Path, tmp_path: Path) -> None:
    arguments, message = BAD[case]
    assert message in refusal(tmp_path / "out", *arguments(base))
    assert not list(tmp_path.iterdir())


def test_more_pieces_than_the_texts_yield_is_answered_with_how_many(
    base: Path, tmp_path: Path
) -> None:
    message = refusal(tmp_path / "out", f"tokenizer={base}", "pieces=20000")
    assert message.startswith("pieces=20000 are more than these texts yield: give more text, or ")
    most = int(message.removesuffix(" or less").rpartition(" ")[2])
    assert not list(tmp_path.iterdir())
    assert f" {most} or less" in refusal(
        tmp_path / "out", f"tokenizer={base}", f"pieces={most + 1}"
    )
    vocab(tmp_path / "out", f"tokenizer={base}", f"pieces={most}")


def test_text_without_anything_to_learn(base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("only English\n")
    message = refusal(tmp_path / "out", f"tokenizer={base}", files=f"[{tmp_path}/a.txt]")
    assert f"{tmp_path}/a.txt: nothing to learn" in message


def test_files_that_cannot_be_read(base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("好的\n".encode("gbk"))
    (tmp_path / "a.md").write_text("# 好的\n", encoding="utf-8")
    cases = {
        "a.txt": "line 1 is not UTF-8",
        "a.md": "is neither a JSON array nor",
        "b": "not exist",
    }
    for name, message in cases.items():
        found = refusal(tmp_path / "out", f"tokenizer={base}", files=f"[{tmp_path}/{name}]")
        assert str(tmp_path / name) in found and message in found


def test_an_output_that_exists_is_left_alone(base: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    assert f"output={tmp_path} exists" in refusal(tmp_path, f"tokenizer={base}")
    assert (tmp_path / "thesis.tex").read_text() == "all of it"


def test_an_output_that_cannot_be_written(base: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = refusal(tmp_path / "file" / "out", f"tokenizer={base}", "pieces=40")
    assert found == f"{tmp_path}/file/out cannot be written (Not a directory)"


def test_a_full_disk_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, tensors: Any) -> str:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llama_gpt4.safetensors_file.write_file", full)
    found = refusal(tmp_path / "out", f"model.path={base}", "pieces=40")
    assert found == f"{tmp_path}/out cannot be written (No space left on device)"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [-1, +1])
def test_a_tokenizer_of_another_model_is_refused(rows: int, base: Path, tmp_path: Path) -> None:
    n = Tokenizer.load(base).vocab_size
    write_config(tmp_path / "other", tiny_llama(vocab_size=n + rows))
    found = refusal(tmp_path / "out", f"tokenizer={base}", f"model.path={tmp_path}/other")
    assert f"has {n + rows:,} rows of embeddings, the tokenizer {n:,} pieces" in found


def test_a_tokenizer_that_is_no_sentencepiece_bpe_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    assert "is not a SentencePiece model" in refusal(tmp_path / "out", f"tokenizer={tmp_path}")
    shutil.copy(base / "tokenizer.json", tmp_path)  # as beside LLaMA-3's, but not bytes
    spec = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    spec["model"]["byte_fallback"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    found = refusal(tmp_path / "out", f"tokenizer={tmp_path}")
    assert found.startswith(
        f"{tmp_path} is not a SentencePiece BPE with bytes: pieces can be added"
    )


@pytest.mark.e2e
def test_bad_input_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    done = llama_gpt4("vocab", "files=[sample:zh]", f"output={tmp_path}/out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "llama-gpt4 vocab: tokenizer and model are both null: name one that the pieces are added "
        "to\n"
    )


@pytest.mark.slow
def test_a_model_gets_pieces_is_trained_and_answers(base: Path, tmp_path: Path) -> None:
    """`vocab` → `train` on two ZeRO-3 ranks → `answer`."""
    done = llama_gpt4(
        "vocab", "files=[sample:zh]", f"model={base}", "pieces=100", f"output={tmp_path}/longer"
    )
    assert done.returncode == 0, done.stderr
    assert "100 new" in done.stdout and f"-> {tmp_path}/longer" in done.stdout
    sizes = [word for word in FAST if not word.startswith(("model.", "tokenizer."))]
    trained = llama_gpt4(
        "train", *sizes, "model=from_path", f"model.path={tmp_path}/longer",
        "data.files=[sample:zh]", f"run_dir={tmp_path}/run", "launch.processes=2",
        "train.steps=2",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    rows = [
        json.loads((tmp_path / folder / "config.json").read_text())["vocab_size"]
        for folder in ("longer", "run/model")
    ]
    assert rows[0] == rows[1] and rows[0] % 64 == 0
    longer, after = Tokenizer.load(tmp_path / "longer"), Tokenizer.load(tmp_path / "run/model")
    assert longer.fingerprint() == after.fingerprint()
    answers = tmp_path / "answers.jsonl"
    asked = llama_gpt4(
        "answer", f"model={tmp_path}/run/model", "questions=sample:zh", f"output={answers}",
        "decoding.max_new_tokens=4", "device=cpu",
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert len(answers.read_text().splitlines()) == 115
