"""Comparisons are tokenised once, split by prompt, and refused in one line where they say nothing
about which response is better."""

import json
from pathlib import Path

import pytest
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared

from llama_gpt4.errors import InputError

from .reward_runs import many, on_opt, reward_config, scored, write


def test_a_second_start_opens_what_the_first_wrote(tmp_path: Path) -> None:
    file = write(tmp_path, many(8))
    first = prepare(reward_config(tmp_path, f"data.files=[{file}]"))
    written = (first.folder / "meta.json").stat().st_mtime_ns
    again = prepare(reward_config(tmp_path, f"data.files=[{file}]", "optim.lr=1"))
    assert again.folder == first.folder and again.fingerprint == first.fingerprint
    assert (first.folder / "meta.json").stat().st_mtime_ns == written
    shorter = prepare(reward_config(tmp_path, f"data.files=[{file}]", "data.row_tokens=200"))
    assert shorter.folder != first.folder


def test_all_responses_to_a_prompt_are_on_one_side(tmp_path: Path) -> None:
    records = many(30) + many(30)  # each prompt twice, as in v1, where a record is a pair
    file = write(tmp_path, records)
    prepared = prepare(reward_config(tmp_path, f"data.files=[{file}]", "data.validation.share=0.3"))
    assert prepared.validation is not None

    def prompts(part: Compared) -> set[int]:
        return {int(part.record_name(i).rsplit(" ", 1)[1]) % 30 for i in range(part.n)}

    train, held_out = prompts(prepared.train), prompts(prepared.validation)
    assert train and held_out and not train & held_out
    assert prepared.validation.n == 2 * len(held_out)


@pytest.mark.parametrize(
    "records, words",
    [
        ({"gpt4": [9.0, 8.0], "icm-1.3b": [4.0]}, ["lists of scores", "nothing can join them"]),
        ([scored("Why?", ("a", 9), ("b", 9))], ["no comparison for train has a better", "1 ties"]),
        ([scored("Why?", ("a", 9), (" ", 4))], ["1 empty responses"]),
        ([scored("Why?", ("a", 9), ("b", None))], ["record 0", "score", "null, not a number"]),
        ([{"instruction": "Why?", "output": "So."}], ["record 0 is no comparison"]),
        (
            [scored("Why? " * 300, ("a", 9), ("b", 4))],
            ["longer than data.row_tokens=256", "raise it to"],
        ),
        (
            [scored("Why?", ("a", 9), ("b " * 300, 4)), scored("Who?", ("c", 9), ("d " * 300, 4))],
            ["no comparison for train has two", "within data.row_tokens=256: raise it to"],
        ),
    ],
    ids=["lists", "ties", "empty", "no-score", "records", "too-long", "one-too-long"],
)
def test_what_cannot_be_learned_from_is_one_line(
    tmp_path: Path, records: object, words: list[str]
) -> None:
    file = write(tmp_path, records)
    with pytest.raises(InputError) as raised:
        prepare(reward_config(tmp_path, f"data.files=[{file}]"))
    message = str(raised.value)
    assert "comparisons.json" in message or "data.row_tokens" in message
    assert all(word in message for word in words) and "\n" not in message, message
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_margins_need_scores(tmp_path: Path) -> None:
    file = write(tmp_path, [{"prompt": "Why?", "chosen": "So.", "rejected": "No."}])
    with pytest.raises(InputError, match=r"record 0 has no scores, .* loss\.kind=pairwise"):
        prepare(reward_config(tmp_path, f"data.files=[{file}]", "loss.kind=margin"))


def test_a_model_of_transformers_brings_its_tokenizer(tmp_path: Path, opt: Path) -> None:
    file = write(tmp_path, [scored("Why?", ("</s> so", 9), ("no", 4))])
    prepared = prepare(reward_config(tmp_path, f"data.files=[{file}]", *on_opt(opt)))
    [first, second] = prepared.train.tokens_of(0)
    eos = prepared.ids["eos_id"]
    for ids in (first.tolist(), second.tolist()):
        assert ids[0] == ids[-1] == eos, "OPT begins and ends with the same token"
        assert ids.count(eos) == 2, "a response that spells it stays text"
    assert json.loads((prepared.tokenizer_folder / "tokenizer_config.json").read_text())
