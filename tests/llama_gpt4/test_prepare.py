"""Prepared data: what an example is, what is counted, and a cache that is whole or absent.

`UPDATE_GOLDEN=1 pytest tests/llama_gpt4/test_prepare.py -k golden` rewrites golden/tokens.json.
"""

import json
import logging
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import llama_gpt4
from llama_gpt4.errors import InputError
from llama_gpt4.examples import report_lines
from llama_gpt4.hub import TOKENIZER_FILES
from llama_gpt4.prepare import cache_key, main, prepare
from llama_gpt4.prompt import CHAT_TEMPLATE, render_prompt
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer

PACKAGE = Path(llama_gpt4.__file__).parent
GOLDEN = Path(__file__).parents[1] / "golden" / "tokens.json"
REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
IGNORE = -100

ADVERSARIAL = [
    *('"4"', "-1", "- a\n- b", "// x", "(a)", "```python\nprint(1)\n```", ":", "Response:"),
    *(" leads", "  two  spaces  ", "\n", "\n\nx\n", "\ttab", "trails ", "a\r\nb", " \N{NBSP}x"),
    *("</s>", "a</s>b", "<s>", "<unk>", "<0x0A>", "▁", "▁a ▁", "### Instruction:\nagain"),
    *(
        "你好，世界。",
        "，",
        "　全角",
        "😀👩‍👩‍👧",
        "é e\N{COMBINING ACUTE ACCENT}",
        "𠮷",
        "\u202eabc",
        "ﬁ ½ Å",
    ),
    *("\ufeffx", "a\u2028b", "\x00", "\x7f", "{input}", "\\n", "0" * 300),
]


def record(instruction="Add.", input="", output="4"):
    return {"instruction": instruction, "input": input, "output": output}


def answers_of(examples, tokenizer):
    """The learned text of each example; its EOS is checked and taken off."""
    texts = []
    for i in range(examples.n):
        learned = examples.tokens_of(i)[examples.prompt_lengths[i] :].tolist()
        assert learned[-1] == tokenizer.eos_id
        texts.append(tokenizer.decode(learned[:-1], continuation=True))
    return texts


# What an example is.


@pytest.mark.parametrize("language", ["en", "zh"])
def test_only_the_answer_and_its_end_are_learned(config_for, language):
    prepared = prepare(config_for(**{"data.files": [f"sample:{language}"]}))
    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    records = read_records(f"sample:{language}")
    assert prepared.train.n == len(records)
    assert answers_of(prepared.train, tokenizer) == [r.output for r in records]
    for i, r in enumerate(records):
        prompt = prepared.train.tokens_of(i)[: prepared.train.prompt_lengths[i]].tolist()
        assert prompt[0] == tokenizer.bos_id
        assert tokenizer.decode(prompt[1:]) == render_prompt(r.instruction, r.input)


def test_an_adversarial_answer_is_learned_to_the_letter(config_for, write_json):
    """Nothing merges across the border, and text that spells a token stays text."""
    path = write_json([record(output=text) for text in ADVERSARIAL if text.strip()])
    prepared = prepare(config_for(**{"data.files": [path], "data.row_tokens": 1024}))
    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    assert answers_of(prepared.train, tokenizer) == [text for text in ADVERSARIAL if text.strip()]
    special = [tokenizer.bos_id, tokenizer.eos_id]
    for i in range(prepared.train.n):
        ids = prepared.train.tokens_of(i)
        assert np.isin(ids, special).sum() == 2
        assert prepared.train.prompt_lengths[i] == prepared.train.prompt_lengths[0]


def test_an_adversarial_prompt_has_one_bos_and_no_eos(config_for, write_json):
    texts = [text for text in ADVERSARIAL if text.strip()]
    path = write_json([record(instruction=text, input=text) for text in texts])
    prepared = prepare(config_for(**{"data.files": [path], "data.row_tokens": 1024}))
    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    for i, text in enumerate(texts):
        prompt = prepared.train.tokens_of(i)[: prepared.train.prompt_lengths[i]].tolist()
        assert tokenizer.bos_id not in prompt[1:] and tokenizer.eos_id not in prompt
        # U+2581 in a prompt reads as the space that it is LLaMA's sign for.
        assert tokenizer.decode(prompt[1:]) == render_prompt(text, text).replace("▁", " ")


def test_examples_know_their_records(config_for, write_json, tmp_path):
    array = write_json([record(), record(output=" "), record(output="5")], "a.json")
    lines = tmp_path / "b.jsonl"
    lines.write_text("\n" + json.dumps(record(output="6")) + "\n")
    train = prepare(config_for(**{"data.files": [array, str(lines)]})).train
    names = [train.record_name(i) for i in range(train.n)]
    assert names == [f"{array} record 0", f"{array} record 2", f"{lines} record 2"]


def test_a_moved_file_opens_the_same_cache_under_its_new_name(config_for, write_json):
    first, second = (write_json([record()], name) for name in ("a.json", "b.json"))
    old, new = (prepare(config_for(**{"data.files": [path]})) for path in (first, second))
    assert old.folder == new.folder
    assert new.train.record_name(0) == f"{second} record 0"


def test_a_small_vocabulary_takes_two_bytes_a_token(config_for):
    prepared = prepare(config_for())
    assert prepared.train.tokens_of(0).dtype == np.uint16
    size = (prepared.folder / "train" / "tokens.bin").stat().st_size
    assert size == 2 * prepared.train.lengths.sum() == 2 * prepared.report["train"]["tokens"]


def test_special_ids_and_vocabulary_are_the_tokenizers(config_for):
    prepared = prepare(config_for())
    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    for name in ("vocab_size", "bos_id", "eos_id", "unk_id"):
        assert getattr(prepared, name) == getattr(tokenizer, name)
    assert len({prepared.bos_id, prepared.eos_id, prepared.unk_id}) == 3


# What is counted, dropped and refused.


def check_sums(report):
    assert report["read"] == report["used"] + sum(report["dropped"].values())
    assert report["longest"] <= report["length_100_percent"]
    assert report["length_99_percent"] <= report["length_100_percent"]
    assert 0 < report["target_tokens"] < report["tokens"]


def test_the_counts_add_up(config_for, write_json):
    records = [record(output="word " * k) for k in range(100)] + [record(output=" \n")]
    path = write_json(records)
    config = config_for(**{"data.files": [path], "data.row_tokens": 128})
    prepared = prepare(config)
    report, train = prepared.report["train"], prepared.train
    check_sums(report)
    assert report["read"] == 101 and report["dropped"]["empty_output"] == 2
    assert report["dropped"]["too_long"] > 0
    assert report["used"] == train.n == len(train.lengths) == len(train.prompt_lengths)
    assert report["tokens"] == train.lengths.sum()
    assert report["target_tokens"] == (train.lengths - train.prompt_lengths).sum()
    assert report["longest"] == train.lengths.max() <= 128
    assert prepared.report["validation"] is None and prepared.validation is None


def test_answers_that_broke_off_are_not_learned(config_for, tmp_path):
    answers = [
        {"question_id": i, "question": f"Say {i}.", "answer": "word " * i, "finish_reason": reason}
        for i, reason in enumerate(["stop", "stop", "length", "stop"])
    ]
    path = tmp_path / "R1.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in answers))
    prepared = prepare(config_for(**{"data.files": [str(path)]}))
    report = prepared.report["train"]
    check_sums(report)
    assert report["used"] == 2
    assert {rule: n for rule, n in report["dropped"].items() if n} == {
        "empty_output": 1,
        "cut_output": 1,
    }
    assert "1 dropped for an output that broke off" in report_lines(prepared)[0]
    path.write_text(json.dumps(answers[2]) + "\n")
    with pytest.raises(InputError, match="is left of 1: 1 dropped for an output that broke off"):
        prepare(config_for(**{"data.files": [str(path)]}))


def test_an_example_is_used_whole_or_not_at_all(config_for, write_json):
    """At the limit nothing is cut, one token beyond it is dropped."""
    path = write_json([record(output="x"), record(output="a b c d e f g h")])
    whole = prepare(config_for(**{"data.files": [path]})).train.lengths.tolist()
    fits = prepare(config_for(**{"data.files": [path], "data.row_tokens": whole[1]}))
    assert fits.train.lengths.tolist() == whole
    short = prepare(config_for(**{"data.files": [path], "data.row_tokens": whole[1] - 1}))
    assert short.train.lengths.tolist() == whole[:1]
    assert short.report["train"]["length_100_percent"] == whole[1]
    assert short.train.tokens_of(0)[-1] == short.eos_id


def one_line(caught):
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_too_long_as_an_error_names_the_record_and_the_key(config_for, write_json):
    path = write_json([record(), record(output="word " * 500)])
    config = config_for(**{"data.files": [path], "data.policy.too_long": "error"})
    with pytest.raises(InputError) as caught:
        prepare(config)
    assert re.fullmatch(
        rf"data.policy.too_long=error, and 1 record for train has it, first {path} record 1 "
        rf"\(\d+ tokens, \d+ to ask\); `llama-gpt4 prepare` lists all: data.row_tokens=\d+ would "
        rf"hold 99 % of the examples, data.row_tokens=\d+ all, or say data.policy.too_long=drop",
        one_line(caught),
    )


@pytest.mark.parametrize("too_long", ["drop", "error"])
def test_when_nothing_fits_the_key_to_raise_is_named(config_for, write_json, too_long):
    path = write_json([record(output=str(i)) for i in range(3)])
    config = config_for(
        **{"data.files": [path], "data.row_tokens": 16, "data.policy.too_long": too_long}
    )
    with pytest.raises(InputError) as caught:
        prepare(config)
    found = re.fullmatch(
        r"all 3 examples for train are longer than data.row_tokens=16: "
        r"raise it to (\d+) to keep 99 %, (\d+) to keep all",
        one_line(caught),
    )
    enough = config_for(**{"data.files": [path], "data.row_tokens": int(found[2])})
    assert prepare(enough).train.n == 3


def test_only_empty_outputs(config_for, write_json):
    path = write_json([record(output="")] * 2)
    with pytest.raises(InputError) as caught:
        prepare(config_for(**{"data.files": [path]}))
    assert one_line(caught) == (
        f"{path}: no record for train is left of 2: 2 dropped for an empty output"
    )


# Validation data.


def test_validation_files_are_another_part(config_for, write_json):
    path = write_json([record(), record(output="")])
    prepared = prepare(config_for(**{"data.validation.files": [path]}))
    assert prepared.validation.n == 1
    assert prepared.validation.record_name(0) == f"{path} record 0"
    assert prepared.report["validation"]["dropped"]["empty_output"] == 1
    alone = prepare(config_for())
    assert alone.train.n == prepared.train.n and alone.key != prepared.key
    assert alone.fingerprint == prepared.fingerprint


def test_a_share_is_drawn_by_the_seed(config_for):
    def names(seed):
        prepared = prepare(config_for(**{"data.validation.share": 0.2, "seed": seed}))
        parts = (prepared.train, prepared.validation)
        check_sums(prepared.report["validation"])
        return [[part.record_name(i) for i in range(part.n)] for part in parts]

    train, validation = names(1)
    n = len(read_records("sample:en"))
    assert len(validation) == pytest.approx(0.2 * n, abs=3)
    assert not set(train) & set(validation) and len(train) + len(validation) == n
    assert names(2)[1] != validation
    order = [int(name.rsplit(" ", 1)[1]) for name in validation]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("share", "n", "fault"),
    [
        (0.01, 10, "data.validation.share=0.01 of 10 records holds out none: raise it to 0.1"),
        (0.99, 5, "data.validation.share=0.99 of 5 records leaves none to train on: lower it"),
    ],
)
def test_a_share_that_leaves_a_side_empty(config_for, write_json, share, n, fault):
    path = write_json([record(instruction=f"Q{i}") for i in range(n)])
    with pytest.raises(InputError) as caught:
        prepare(config_for(**{"data.files": [path], "data.validation.share": share}))
    assert one_line(caught) == fault


def test_validation_examples_that_are_all_too_long(config_for, write_json):
    path = write_json([record(output="word " * 600)])
    with pytest.raises(InputError, match="all 1 examples for validation are longer than"):
        prepare(config_for(**{"data.validation.files": [path]}))


# The tokenizer.


def test_a_tokenizer_is_trained_where_there_is_none(train_config):
    config = train_config(**{"tokenizer.vocab_size": 512})
    prepared = prepare(config)
    assert prepared.vocab_size == 512
    assert (prepared.tokenizer_folder / "tokenizer.model").is_file()
    template = (prepared.tokenizer_folder / "tokenizer_config.json").read_text()
    jinja = prepared.tokenizer_folder / "chat_template.jinja"
    assert CHAT_TEMPLATE in (jinja.read_text() if jinja.exists() else json.loads(template).values())


def test_training_the_tokenizer_again_gives_the_same_tokens(train_config, tmp_path):
    def fingerprint(cache):
        changes = {"tokenizer.vocab_size": 512, "data.cache_dir": str(tmp_path / cache)}
        return prepare(train_config(**changes)).fingerprint

    assert fingerprint("one") == fingerprint("two")


def test_the_tokenizer_beside_the_model_is_used(train_config, tokenizer_folder, config_for):
    beside = prepare(train_config(**{"model.path": str(tokenizer_folder)}))
    named = prepare(config_for())
    assert beside.folder == named.folder


def test_a_tokenizer_may_be_a_file(config_for, tokenizer_folder):
    file = prepare(config_for(**{"tokenizer.path": str(tokenizer_folder / "tokenizer.model")}))
    assert file.fingerprint == prepare(config_for()).fingerprint


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_the_key_changes_with_what_lies_beside_a_tokenizer_file(
    train_config, tokenizer_folder, tmp_path, name
):
    copy = tmp_path / "copy"
    shutil.copytree(tokenizer_folder, copy)
    paths = [copy, copy / "tokenizer.model"]
    before = {cache_key(train_config(**{"tokenizer.path": str(path)})) for path in paths}
    with open(copy / name, "a") as file:
        file.write(" ")
    after = {cache_key(train_config(**{"tokenizer.path": str(path)})) for path in paths}
    assert len(before | after) == 4


@pytest.mark.parametrize("key", ["tokenizer.path", "model.path"])
def test_a_path_without_a_tokenizer(train_config, tmp_path, key):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        prepare(train_config(**{key: str(tmp_path / "empty")}))
    with pytest.raises(InputError, match=f"{key}=/not/there does not exist"):
        prepare(train_config(**{key: "/not/there"}))


# The key.


@pytest.mark.parametrize(
    "change",
    [
        {"data.row_tokens": 256},
        {"data.policy.too_long": "error"},
        {"data.policy.same_prompt": "drop"},
        {"data.decontaminate": ["sample:zh"]},
        {"data.decontaminate_rouge_l": 0.6},
        {"data.files": ["sample:zh"]},
        {"data.files": ["sample:en", "sample:zh"]},
        {"data.validation.files": ["sample:zh"]},
        {"data.validation.share": 0.1},
        {"data.validation.share": 0.1, "seed": 7},
        {"tokenizer.vocab_size": 512},
    ],
    ids=str,
)
def test_the_key_changes_with(train_config, change):
    keys = {cache_key(train_config())} | {
        cache_key(train_config(**{key: change[key] for key in list(change)[:n]}))
        for n in range(1, len(change) + 1)
    }
    assert len(keys) == len(change) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"optim.lr": 0.5},
        {"data.batching": "pad"},
        {"data.last_window": "drop"},
        {"data.weights": [1.5]},
    ],
    ids=str,
)
def test_the_key_does_not_change_with(train_config, change):
    assert cache_key(train_config()) == cache_key(train_config(**change))


def test_the_key_changes_with_any_input_byte(train_config, write_json):
    path = Path(write_json([record()]))
    content = path.read_bytes()
    keys = set()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        keys.add(cache_key(train_config(**{"data.files": [str(path)]})))
    assert len(keys) == len(content)


def test_the_key_changes_with_the_order_of_files(train_config):
    orders = (["sample:en", "sample:zh"], ["sample:zh", "sample:en"])
    assert len({cache_key(train_config(**{"data.files": order})) for order in orders}) == 2


def test_the_key_changes_with_the_tokenizers_bytes(config_for, tokenizer_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tokenizer_folder, copy)
    config = config_for(**{"tokenizer.path": str(copy)})
    before = cache_key(config)
    assert before == cache_key(config_for())
    model = copy / "tokenizer.model"
    model.write_bytes(model.read_bytes()[:-1])
    assert cache_key(config) != before


@pytest.mark.parametrize("module", ["records", "prompt", "tokenizer", "prepare", "audit"])
def test_the_key_changes_with_the_code(train_config, tmp_path, module):
    copy = tmp_path / "llama_gpt4"  # in full, and first on its process's path
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    config = train_config()
    ask = "from llama_gpt4.prepare import cache_key; print(cache_key(config))"
    assert run(ask, config, package=copy).stdout.strip() == cache_key(config)
    with open(copy / f"{module}.py", "a") as file:
        file.write("# a change\n")
    assert run(ask, config, package=copy).stdout.strip() != cache_key(config)


# The cache, as several processes meet it.

PREAMBLE = """
import logging, pickle, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
config = pickle.loads(bytes.fromhex(sys.argv[1]))
"""


def start(code, config, package=PACKAGE):
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PREAMBLE + code, pickle.dumps(config).hex()],
        env=os.environ | {"PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code, config, package=PACKAGE):
    process = start(code, config, package)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    return subprocess.CompletedProcess(process.args, 0, stdout, stderr)


PREPARE = """
from llama_gpt4.prepare import prepare
print("fingerprint", prepare(config).fingerprint)
"""


def test_concurrent_starts_build_once(train_config):
    config = train_config(**{"data.files": ["sample:en", "sample:zh"]})
    processes = [start(PREPARE, config) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum("training a tokenizer" in output for output in outputs) == 1
    assert sum("tokens are in" in output for output in outputs) == 1
    assert len({re.search("fingerprint (.+)", output)[1] for output in outputs}) == 1
    assert not list(Path(config.data.cache_dir).glob("*.tmp"))


STUCK = """
import time
class Stop(logging.Handler):
    def emit(self, record):
        if "train: 1000 records tokenised" in record.getMessage():
            print("half", flush=True)
            time.sleep(600)
logging.getLogger().addHandler(Stop())
from llama_gpt4.prepare import prepare
prepare(config)
"""


def test_a_killed_build_leaves_nothing_that_the_next_start_believes(config_for, write_json):
    path = write_json([record(output=str(i)) for i in range(4001)])
    config = config_for(**{"data.files": [path]})
    process = start(STUCK, config)
    while process.stdout.readline() != "half\n":
        assert process.poll() is None, process.stderr.read()
    waiting = start(PREPARE, config)
    assert "waiting" in waiting.stdout.readline()
    cache = Path(config.data.cache_dir)
    assert len(list(cache.glob("*.tmp"))) == 1
    assert not (cache / cache_key(config)).exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    output, errors = waiting.communicate(timeout=60)
    assert "tokens are in" in output, errors
    assert not list(cache.glob("*.tmp"))
    assert prepare(config).train.n == 4001


def test_a_failed_build_leaves_nothing(config_for, write_json):
    path = write_json([record(), {"instruction": "x"}])
    config = config_for(**{"data.files": [path]})
    for _ in range(2):
        with pytest.raises(InputError, match="record 1 has no key `output`"):
            prepare(config)
    assert [path.suffix for path in Path(config.data.cache_dir).iterdir()] == [".lock"]


def test_a_warm_start_loads_no_tokenizer(config_for):
    config = config_for(**{"data.files": ["sample:en", "sample:zh"]})
    prepare(config)
    code = """
import sys
from llama_gpt4.prepare import prepare
prepared = prepare(config)
assert prepared.train.tokens_of(0)[0] == prepared.bos_id
heavy = {"torch", "transformers", "tokenizers", "sentencepiece", "llama_gpt4.tokenizer"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run(code, config).stdout.splitlines()[-1] == "[]"


def test_a_warm_start_needs_no_right_to_write(config_for):
    config = config_for()
    prepare(config)
    cache = Path(config.data.cache_dir)
    before = sorted((path, path.stat().st_mtime_ns) for path in cache.rglob("*"))
    for lock in cache.glob("*.lock"):
        lock.unlink()
    prepare(config)
    after = sorted((path, path.stat().st_mtime_ns) for path in cache.rglob("*"))
    assert after == [entry for entry in before if entry[0].suffix != ".lock"]


def test_a_cache_dir_that_cannot_be_written(config_for, write_json):
    path = write_json([record()])
    config = config_for(**{"data.cache_dir": f"{path}/cache"})
    with pytest.raises(InputError) as caught:
        prepare(config)
    assert one_line(caught) == (
        f"data.cache_dir={path}/cache cannot be written (Not a directory): choose another"
    )


@pytest.mark.parametrize(
    "file", ["meta.json", "train/tokens.bin", "train/examples.npy", "train/targets.npy"]
)
@pytest.mark.parametrize("damage", ["cut", "emptied", "removed"])
def test_a_damaged_cache_is_noticed(config_for, file, damage):
    config = config_for()
    path = prepare(config).folder / file
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "emptied":  # as a power cut leaves it
        path.write_bytes(b"{}" if path.suffix == ".json" else b"")
    else:
        path.unlink()
    with pytest.raises(InputError, match=r"is damaged .*: delete it and start again"):
        prepare(config)


def test_tokenising_goes_by_blocks(config_for, write_json, caplog):
    path = write_json([record(output=str(i)) for i in range(2001)])
    with caplog.at_level(logging.INFO):
        prepare(config_for(**{"data.files": [path]}))
    told = [r.getMessage() for r in caplog.records if "tokenised" in r.getMessage()]
    assert told == [f"train: {n} records tokenised" for n in (1000, 2000, 2001)]


# The program.


def test_the_report_in_words(config_for, write_json):
    path = write_json([record(output="word " * k) for k in range(60)])
    config = config_for(**{"data.files": [path], "data.row_tokens": 96})
    prepared = prepare(config)
    lines = report_lines(prepared)
    report = prepared.report["train"]
    assert lines[0] == (
        f"train: 60 records read, {report['used']} used, 1 dropped for an empty output, "
        f"{report['dropped']['too_long']} dropped for their length"
    )
    assert lines[1] == "train: found and kept: 56 same_prompt; `llama-gpt4 prepare` lists them"
    assert f"data.row_tokens={report['length_99_percent']} would hold 99 %" in lines[3]


def test_the_program_shows_the_audit_and_keeps_it(config_for, write_json, capsys):
    from llama_gpt4.frozen_config import freeze

    path = write_json([record(), record(output="5"), record(output="")])
    config = config_for(**{"data.files": [path], "data.policy.same_prompt": "error"})
    assert main(["--resolved", str(freeze(config))]) == 2
    said, run_dir = capsys.readouterr(), Path(config.run_dir)
    assert said.out.startswith("train: 3 records = 1 used + 2 dropped\n")
    assert said.out.endswith(f"lengths of the examples: {run_dir}/lengths.png\n")
    assert said.err == (
        "llama-gpt4 prepare: data.policy.same_prompt=error, and 1 record for train has it, first "
        f"{path} record 1 (as file 1, record 0: Add.); `llama-gpt4 prepare` lists all: "
        "mend what is there, or say data.policy.same_prompt=drop\n"
    )
    audit = json.loads((run_dir / "audit.json").read_text())
    assert audit["train"]["findings"]["empty_output"]["records"] == [
        {"file": path, "record": 2, "found": ""}
    ]
    accepted = config_for(**{"data.files": [path], "data.policy.same_prompt": "keep"})
    assert main(["--resolved", str(freeze(accepted))]) == 0
    with pytest.raises(InputError, match=r"same_prompt=error, and 1 record"):
        prepare(config)  # as `train` does, also from a warm cache


# One record in full, and forty of them pinned.


@pytest.mark.parametrize(
    ("language", "fields"),
    [
        ("en", ("Sort the numbers in descending order.", "14, 2, 30, 8", "30, 14, 8, 2")),
        ("zh", ("把下面的词语译成英文。", "月亮", "Moon，月亮")),
    ],
)
def test_a_walk_from_json_to_labels(config_for, write_json, language, fields):
    instruction, input, output = fields
    path = write_json([record(instruction, input, output)])

    (read,) = read_records(path)
    prompt = render_prompt(read.instruction, read.input)
    assert prompt.endswith(
        f"\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
    )

    prepared = prepare(config_for(**{"data.files": [path]}))
    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    ids = prepared.train.tokens_of(0).tolist()
    n_prompt = int(prepared.train.prompt_lengths[0])
    assert ids[0] == prepared.bos_id
    assert tokenizer.decode(ids[1:n_prompt]) == prompt
    assert tokenizer.decode(ids[n_prompt:-1], continuation=True) == output
    assert ids[-1] == prepared.eos_id

    labels = labels_of(prepared.train, 0)
    assert labels == [IGNORE] * n_prompt + ids[n_prompt:]
    learned = [label for label in labels if label != IGNORE]
    assert learned[-1] == prepared.eos_id
    assert tokenizer.decode(learned[:-1], continuation=True) == output


def labels_of(examples, i):
    """What each position is labelled with; the model shifts by one when it compares."""
    ids, n_prompt = examples.tokens_of(i).tolist(), int(examples.prompt_lengths[i])
    return [IGNORE] * n_prompt + ids[n_prompt:]


def test_golden_tokens_and_labels(config_for, write_json):
    records = [
        {"instruction": r.instruction, "input": r.input, "output": r.output}
        for language in ("en", "zh")
        for r in read_records(f"sample:{language}")[:20]
    ]
    prepared = prepare(config_for(**{"data.files": [write_json(records)]}))
    train = prepared.train
    table = [
        {
            **fields,
            "ids": " ".join(map(str, train.tokens_of(i).tolist())),
            "labels": " ".join(map(str, labels_of(train, i))),
        }
        for i, fields in enumerate(records)
    ]
    assert train.n == 40
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8")
    assert json.loads(GOLDEN.read_text("utf-8")) == table


# Real records.


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_real_records_with_llamas_tokenizer(train_config):
    files = [f"{REAL_DATA}/alpaca_gpt4_{language}.json" for language in ("en", "zh")]
    config = train_config(
        **{
            "data.files": files,
            "tokenizer.path": f"{REAL_DATA}/llama_tokenizer",
            "data.row_tokens": 2048,
            "data.policy.duplicate": "keep",  # there are ten
        }
    )
    prepared = prepare(config)
    tokenizer = Tokenizer.load(prepared.tokenizer_folder)
    records = [r for file in files for r in read_records(file)]
    check_sums(prepared.report["train"])
    assert prepared.report["train"]["used"] == len(records) == 1399
    assert answers_of(prepared.train, tokenizer) == [r.output for r in records]
    assert 200 < prepared.train.lengths[:699].mean() < 240
    assert prepare(config).fingerprint == prepared.fingerprint
