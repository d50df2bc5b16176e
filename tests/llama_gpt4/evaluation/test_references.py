"""References and answers are joined by id, and files that do not fit are refused by name."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.references import Questions, read_joined
from llama_gpt4.questions import hashed_id


@pytest.fixture
def join(tmp_path: Path):
    def joined(references: list[Any], answers: list[Any], missing: str = "error") -> Questions:
        for name, records in (("refs.json", references), ("a.jsonl", answers)):
            (tmp_path / name).write_text("\n".join(map(json.dumps, records)) + "\n", "utf-8")
        return read_joined(
            str(tmp_path / "refs.json"), {"tuned": str(tmp_path / "a.jsonl")}, missing
        )

    return joined


def asked(n: int, **more: Any) -> dict[str, Any]:
    return {"id": n, "instruction": f"Do {n}.", "output": f"done {n}", **more}


def answer(n: Any, text: str, **more: Any) -> dict[str, Any]:
    return {"question_id": n, "question": f"Do {n}.", "answer": text, "sample": 0, **more}


def test_ids_join_whatever_the_order(join) -> None:
    found = join([asked(1), asked(2)], [answer("2", "b"), answer(1, "a")])
    assert found.ids == ["1", "2"]
    assert found.references == ["done 1", "done 2"]
    assert found.answers == {"tuned": [["a"], ["b"]]}


def test_a_label_is_the_reference_beside_an_output(join) -> None:
    records = [
        {"instruction": f"Do {n}.", "input": "it", "label": f"label {n}", "output": f"output {n}"}
        for n in (1, 2)
    ]
    found = join(records, records[::-1])
    assert found.references == ["label 1", "label 2"]
    assert found.answers["tuned"] == [["output 1"], ["output 2"]]


def test_half_the_labels_are_refused(join) -> None:
    with pytest.raises(InputError, match=r"refs.json record 2 has no `label`"):
        join([asked(1, label="x"), asked(2)], [])


def test_files_without_ids_join_by_what_is_asked(join) -> None:
    bare = {"instruction": "Do 1.", "input": "", "output": "done"}
    assert join([asked(1)], [bare]).ids == ["1"]
    assert join([bare], [asked(1)]).ids == [hashed_id("Do 1.", "")]
    hashed = {"question_id": hashed_id("Do 1.", ""), "question": "Do 1.", "answer": "a"}
    assert join([bare], [hashed]).answers == {"tuned": [["a"]]}


def test_the_252_and_fastchats_answers_are_read(join) -> None:
    reference = {"id": "t", "instruction": "Do.", "instances": [{"input": "", "output": "x"}]}
    found = join([reference], [{"question_id": "t", "model_id": "m", "text": "y"}])
    assert (found.references, found.answers) == (["x"], {"tuned": [["y"]]})


def test_each_file_joins_in_its_own_way(tmp_path: Path) -> None:
    """References with ids, records without, and answers that say their question as one text."""
    files = {
        "refs": asked(1),
        "bare": {"instruction": "Do 1.", "output": "b"},
        "ids": answer(1, "a"),
    }
    for name, record in files.items():
        (tmp_path / name).write_text(json.dumps([record]), "utf-8")
    models = {name: str(tmp_path / name) for name in ("bare", "ids")}
    found = read_joined(str(tmp_path / "refs"), models, "error")
    assert (found.ids, found.answers) == (["1"], {"bare": [["b"]], "ids": [["a"]]})


def test_samples_of_a_question_stay_together(join) -> None:
    answers = [answer(1, "a"), answer(1, "b", sample=1), answer(1, "a", sample=1)]
    found = join([asked(1)], answers)
    assert found.answers == {"tuned": [["a", "b"]]}
    assert [ids for file, ids in found.duplicates.items() if file.endswith("a.jsonl")] == [["1"]]


def test_duplicates_are_reported_and_the_first_counts(join, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        found = join(
            [asked(1), asked(1, output="again"), asked(2)], [answer(1, "a"), answer(2, "")]
        )
    assert found.references == ["done 1", "done 2"]
    assert list(found.duplicates.values()) == [["1"]]
    assert "refs.json has 1 question (1) more than once" in caplog.text


def test_duplicates_of_a_file_that_has_both_are_reported_once(tmp_path: Path) -> None:
    file = tmp_path / "both.json"
    record = {"instruction": "Do.", "label": "right", "output": "done"}
    file.write_text(json.dumps([record] * 3), "utf-8")
    found = read_joined(str(file), {"gpt4": str(file)}, "error")
    assert found.duplicates == {str(file): [hashed_id("Do.", "")]}


def test_one_id_for_two_questions_is_refused(join) -> None:
    with pytest.raises(InputError, match=r"record 2 has the id 1 of .* asks something else"):
        join([asked(1), asked(2, id=1)], [answer(1, "a")])


def test_misaligned_files_are_refused_with_ids(join) -> None:
    answers = [answer(n, "x", question=f"Do {n + 1}.") for n in range(7)]
    with pytest.raises(InputError) as refused:
        join([asked(n) for n in range(7)], answers)
    assert "is not aligned" in str(refused.value)
    assert "7 questions (0, 1, 2, 3, 4 and 2 more) ask different things" in str(refused.value)
    assert '(0: "Do 1.", but "Do 0.")' in str(refused.value)


def test_what_is_missing_is_named_or_left_out(join) -> None:
    references, answers = [asked(1), asked(2), asked(3)], [answer(2, "b")]
    with pytest.raises(InputError, match=r"no answer to 2 questions \(1, 3\) .*missing=drop"):
        join(references, answers)
    found = join(references, answers, "drop")
    assert (found.ids, found.left_out, found.unknown) == (["2"], 2, {"tuned": 0})


def test_answers_to_unknown_questions_are_refused_or_counted(join) -> None:
    answers = [answer(1, "a"), answer(9, "i")]
    with pytest.raises(InputError, match=r"answers 1 question \(9\), not in"):
        join([asked(1)], answers)
    assert join([asked(1)], answers, "drop").unknown == {"tuned": 1}


def test_files_without_a_question_in_common_are_refused(join) -> None:
    with pytest.raises(InputError, match=r"answers no question of .* such as 7, not 1"):
        join([asked(1)], [answer(7, "a")], "drop")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": 1, "instruction": "Do."}, "holds no answer: `output`, `answer` and FastChat's"),
        ({"question_id": 1, "text": "What?", "category": "generic"}, "holds no answer"),
        ({"question_id": 1, "answer": None}, "`answer` is a JSON null, not a string"),
        ({"question_id": 1, "question": 2, "answer": "a"}, "`question` is a JSON number"),
        ({"answer": "a"}, "has no `question_id` and no `instruction`"),
        (3, "is a JSON number, not an object"),
    ],
)
def test_what_is_no_answer_is_named(join, record: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        join([asked(1)], [record])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.json does not exist$"):
        read_joined(str(tmp_path / "nowhere.json"), {"m": "a"}, "error")
