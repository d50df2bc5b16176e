"""What is found in records, what becomes of them, and that the counts add up."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_gpt4 import blocks, parts
from llama_gpt4.audit import RULES
from llama_gpt4.config import TrainConfig
from llama_gpt4.data_config import ALWAYS_KEPT_OUT
from llama_gpt4.errors import InputError
from llama_gpt4.inspection import Inspection
from llama_gpt4.parts import write_part
from llama_gpt4.prepare import prepare
from llama_gpt4.questions import read_questions
from llama_gpt4.records import readable_records
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")
ConfigFor = Callable[..., TrainConfig]
Json = dict[str, Any]

EN: Json = {"instruction": "Name a tree that grows in the north.", "output": "A birch does."}
ZH: Json = {"instruction": "请说出一种生长在北方的树。", "output": "白桦树生长在北方。"}
PLAIN = [EN | {"output": f"A birch is one, and it is {n} years old."} for n in range(20)]
PLAIN_ZH = [ZH | {"output": f"白桦树就是一种，它已经{n}岁了。"} for n in range(20)]

FAULTS: dict[str, list[Json]] = {
    "broken_record": [{"instruction": "Name a bush."}, {"instruction": "说出一种灌木。"}],
    "empty_output": [
        EN | {"output": " \n"},
        ZH | {"output": "无输出"},
        EN | {"output": "<nooutput>"},
    ],
    "cut_output": [
        {"question": "Name a bush.", "answer": "A hazel is", "finish_reason": "length"},
        {"question": "说出一种灌木。", "answer": "榛子是一种", "finish_reason": "length"},
    ],
    "cut_start": [EN | {"output": "e! Here is one: the oak."}, ZH | {"output": "，因此是橡树。"}],
    "placeholder_input": [
        EN | {"input": "<noinput>", "output": "An oak does."},
        EN | {"input": "N/A", "output": "A lime does."},
        ZH | {"input": "无", "output": "橡树生长在那里。"},
    ],
    "wrong_language": [
        EN | {"output": "白桦树生长在北方，橡树也是。"},
        ZH | {"output": "The birch grows in the north of the country."},
    ],
    "evaluation_overlap": [
        {"instruction": "Which rivers of Spain are the longest?", "output": "The Tagus is."},
        {"instruction": "西班牙最长的河流是哪一条？", "output": "塔霍河最长。"},
    ],
    "prompt_fills_row": [EN | {"input": "tree " * 300}, ZH | {"input": "树木" * 300}],
    "too_long": [EN | {"output": "It is a tree. " * 60}, ZH | {"output": "这是一棵树。" * 100}],
    "duplicate": [PLAIN[3], PLAIN_ZH[3]],
    "same_prompt": [],  # all of PLAIN but the first
}
QUESTIONS = [
    {"question_id": 1, "text": "Which rivers in Spain are the longest?"},
    {"question_id": 2, "text": "西班牙最长的河流是哪一条？"},
]


@pytest.fixture
def audited(config_for: ConfigFor, tmp_path: Path) -> Callable[..., Json]:
    """Prepare records, a list a file, under policies; the report on them."""

    def audit(*files: list[Json], **policies: str) -> Json:
        names = []
        for n, records in enumerate(files):
            names.append(str(tmp_path / f"{n}.json"))
            Path(names[-1]).write_text(json.dumps(records, ensure_ascii=False), "utf-8")
        questions = tmp_path / "questions.jsonl"
        questions.write_text("\n".join(json.dumps(question) for question in QUESTIONS))
        config = config_for(
            **{
                "data.files": names,
                "data.decontaminate": [str(questions)],
                "data.row_tokens": 256,
                **{f"data.policy.{rule}": policy for rule, policy in policies.items()},
            }
        )
        prepared = prepare(config)
        report: Json = prepared.report["train"]
        assert report["used"] == prepared.train.n
        return report

    return audit


def places(report: Json, rule: str) -> list[tuple[str, int]]:
    return [(Path(p["file"]).name, p["record"]) for p in report["findings"][rule]["records"]]


def check_sums(report: Json) -> None:
    assert tuple(report["findings"]) == tuple(report["dropped"]) == RULES
    assert report["read"] == report["used"] + sum(report["dropped"].values())
    assert report["read"] == sum(source["read"] for source in report["sources"])
    assert report["used"] == sum(source["used"] for source in report["sources"])
    for rule, finding in report["findings"].items():
        assert finding["found"] == len(finding["records"]) >= finding["dropped"]
        assert finding["dropped"] == report["dropped"][rule]
        assert finding["policy"] != "keep" or not finding["dropped"]


@pytest.mark.parametrize("rule", [rule for rule in RULES if FAULTS[rule]])
def test_each_fault_is_found_where_it_is(audited: Callable[..., Json], rule: str) -> None:
    """English and Chinese, behind sound records of their language."""
    policies = {"broken_record": "drop"} if rule == "broken_record" else {}
    english = [f for f in FAULTS[rule] if f.get("instruction", f.get("question", "")).isascii()]
    chinese = [f for f in FAULTS[rule] if f not in english]
    report = audited(PLAIN + english, PLAIN_ZH + chinese, **policies)
    check_sums(report)
    expected = [("0.json", 20 + n) for n in range(len(english))]
    expected += [("1.json", 20 + n) for n in range(len(chinese))]
    assert places(report, rule) == expected
    others = {other for other in RULES if other != rule and report["findings"][other]["found"]}
    assert others <= {"same_prompt"}  # PLAIN has one prompt
    assert [source["language"] for source in report["sources"]] == ["en", "zh"]


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[list[Json]], dict[str, str]]:
    """Two files of sound records and faulty ones, some of these twice over, and policies."""
    faults = [fault for rule in RULES for fault in FAULTS[rule]]
    more = st.sampled_from([{}, {"input": "N/A"}, {"output": "e! Here it is, the oak."}])
    files = []
    for plain in (PLAIN, PLAIN_ZH):
        drawn = draw(st.lists(st.tuples(st.sampled_from(faults), more), max_size=15))
        records = [fault if "question" in fault else fault | extra for fault, extra in drawn]
        files.append(draw(st.permutations(records + plain[: draw(st.integers(1, 20))])))
    policies = {
        rule: draw(st.sampled_from(["drop", "error"] + ["keep"] * (rule not in ALWAYS_KEPT_OUT)))
        for rule in RULES
    }
    return files, policies | {"broken_record": "drop"}  # `error` ends everything


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [text for fault in (*PLAIN, *PLAIN_ZH) for text in fault.values()]
    train_tokenizer(texts, 400, folder / "tokenizer.model")
    return folder


@given(mixture=mixtures(), block_values=st.sampled_from([1, 3, 1000]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_counts_add_up_for_any_mixture_of_faults(
    mixture: tuple[list[list[Json]], dict[str, str]],
    block_values: int,
    train_config: ConfigFor,
    tmp_path: Path,
    tokenizer: Path,
) -> None:
    files, policies = mixture
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(json.dumps(question) for question in QUESTIONS))
    names = [str(tmp_path / f"{n}.json") for n in range(2)]
    for name, values in zip(names, files, strict=True):
        Path(name).write_text(json.dumps(values))
    data = train_config(
        **{
            "data.files": names,
            "data.row_tokens": 256,
            "data.decontaminate": [str(questions)],
            **{f"data.policy.{rule}": policy for rule, policy in policies.items()},
        }
    ).data
    inspection = Inspection(data, "train", None, tokenizer, np.uint16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_VALUES", block_values)
        patch.setattr(parts, "usable_cores", lambda: 1)
        report = nothing_left = None
        try:
            report = write_part(inspection, Tokenizer.load(tokenizer), tmp_path)
        except InputError as error:
            nothing_left = str(error)
    if report is None:
        assert "left of" in nothing_left or "are longer than" in nothing_left
        return
    check_sums(report)
    used = [tuple(place) for place in np.load(tmp_path / "examples.npy")[:, 3:].tolist()]
    assert report["read"] == sum(map(len, files)) and report["used"] == len(used)
    refused = {
        (place["file"], place["record"])
        for rule, finding in report["findings"].items()
        for place in finding["records"]
        if policies[rule] != "keep"
    }
    assert len(refused) == report["read"] - report["used"]  # each is counted once
    assert refused.isdisjoint(used)
    read = [{record.index: record for record in readable_records(name)} for name in names]
    records = [read[source][index] for source, index in used]
    if policies["duplicate"] != "keep":
        assert len({(r.instruction, r.input, r.output) for r in records}) == len(used)
    if policies["same_prompt"] != "keep" and policies["duplicate"] != "keep":
        assert len({(r.instruction, r.input) for r in records}) == len(used)


def conversation(*exchanges: Json) -> Json:
    """Records as the turns of one."""
    speakers = (("human", "instruction"), ("gpt", "output"))
    return {"conversations": [{"from": s, "value": e[k]} for e in exchanges for s, k in speakers]}


@pytest.mark.parametrize("rule", ["empty_output", "cut_start", "evaluation_overlap"])
def test_a_fault_of_any_turn_is_one_of_the_conversation(
    audited: Callable[..., Json], rule: str
) -> None:
    fault, sound = FAULTS[rule][0], [conversation(PLAIN[n], PLAIN[n + 1]) for n in range(12)]
    report = audited([*sound, conversation(EN, fault), conversation(EN, fault, PLAIN[0], fault)])
    check_sums(report)
    assert places(report, rule) == [("0.json", 12), ("0.json", 13)]


def test_conversations_are_duplicates_when_all_of_them_is_equal(
    audited: Callable[..., Json],
) -> None:
    one, other = conversation(EN, PLAIN[0]), conversation(EN, PLAIN[1])
    longer = conversation(EN, PLAIN[0], PLAIN[1])
    report = audited([EN, one, other, longer, one, longer])
    check_sums(report)
    assert places(report, "same_prompt") == [("0.json", 2)]  # as `one`, but for the last answer
    assert places(report, "duplicate") == [("0.json", 4), ("0.json", 5)]


def test_the_language_of_a_conversation_is_that_of_its_answers(
    audited: Callable[..., Json],
) -> None:
    english, other = PLAIN[0] | {"instruction": "And?"}, FAULTS["wrong_language"][0]
    report = audited([*PLAIN, conversation(EN, english), conversation(other, PLAIN_ZH[0])])
    assert places(report, "wrong_language") == [("0.json", 21)]


def test_the_counts_add_up_where_all_faults_meet(audited: Callable[..., Json]) -> None:
    faults = [fault for rule in RULES for fault in FAULTS[rule]]
    report = audited(PLAIN + faults, PLAIN_ZH + faults, broken_record="drop")
    check_sums(report)
    assert report["read"] == 40 + 2 * len(faults)
    assert all(finding["found"] for finding in report["findings"].values())


def test_a_record_with_two_faults_is_listed_twice_and_counted_once(
    audited: Callable[..., Json],
) -> None:
    both = EN | {"input": "N/A", "output": "e! Here it is, the oak."}
    report = audited([*PLAIN, both], placeholder_input="drop", cut_start="drop")
    check_sums(report)
    assert places(report, "cut_start") == places(report, "placeholder_input") == [("0.json", 20)]
    assert (report["dropped"]["cut_start"], report["dropped"]["placeholder_input"]) == (1, 0)
    report = audited([*PLAIN, both], placeholder_input="drop", cut_start="keep")
    assert (report["dropped"]["cut_start"], report["dropped"]["placeholder_input"]) == (0, 1)


def test_a_record_that_is_dropped_is_nobodys_first(audited: Callable[..., Json]) -> None:
    bad, good = EN | {"output": "e! Here is one."}, EN | {"output": "An oak does."}
    report = audited([bad, bad, good], cut_start="drop", same_prompt="drop")
    assert report["used"] == 1 and report["dropped"]["cut_start"] == 2
    assert not places(report, "duplicate") and not places(report, "same_prompt")
    long = EN | {"output": "It is a tree. " * 60}
    report = audited([long, good], same_prompt="drop")
    assert report["used"] == 1 and report["dropped"]["too_long"] == 1


def test_the_same_prompt_with_another_answer_is_no_duplicate(audited: Callable[..., Json]) -> None:
    records = [EN, EN | {"output": "An oak does."}, EN, EN | {"input": "In Norway."}]
    report = audited(records)
    assert places(report, "duplicate") == [("0.json", 2)]
    assert places(report, "same_prompt") == [("0.json", 1)]
    found = report["findings"]["duplicate"]["records"][0]["found"]
    assert found == f"as file 1, record 0: {EN['instruction']}"
    assert audited(records, duplicate="keep")["used"] == 4
    assert audited([EN], [EN])["dropped"]["duplicate"] == 1


def test_a_file_of_two_languages_claims_none(audited: Callable[..., Json]) -> None:
    wrong = FAULTS["wrong_language"]
    report = audited([*PLAIN, *PLAIN_ZH, *wrong])
    assert report["sources"][0]["language"] is None
    assert places(report, "wrong_language") == [("0.json", 40), ("0.json", 41)]


def test_a_chinese_record_in_an_english_file_is_wrong(audited: Callable[..., Json]) -> None:
    report = audited([*PLAIN, ZH])
    assert places(report, "wrong_language") == [("0.json", 20)]
    translation = {"instruction": "Translate into Chinese: birch", "output": "白桦树，桦木科。"}
    assert not places(audited([*PLAIN, translation]), "wrong_language")


def test_what_is_validated_on_may_be_what_is_evaluated_on(
    train_config: ConfigFor, write_json: Callable[..., str]
) -> None:
    asked = write_json([EN | {"instruction": question["text"]} for question in QUESTIONS], "q.json")
    config = train_config(
        **{
            "data.files": [write_json([*PLAIN, EN | {"instruction": QUESTIONS[0]["text"]}])],
            "data.validation.files": [asked],
            "data.decontaminate": [asked],
        }
    )
    prepared = prepare(config)
    assert prepared.report["train"]["dropped"]["evaluation_overlap"] == 1
    assert prepared.report["validation"]["used"] == 2
    assert "evaluation_overlap" not in prepared.report["validation"]["findings"]


def test_a_file_to_decontaminate_by_that_is_not_there(train_config: ConfigFor) -> None:
    with pytest.raises(InputError, match=r"data\.decontaminate=/not/there\.json does not exist"):
        prepare(train_config(**{"data.decontaminate": ["/not/there.json"]}))


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_the_published_files_overlap_in_three_tasks(
    train_config: ConfigFor, write_json: Callable[..., str]
) -> None:
    """Who trains on Alpaca's seeds and evaluates on the 252 instructions: which seeds must go, and
    by which tasks."""
    seeds = [
        {"instruction": seed.instruction, "input": seed.input, "output": f"An answer {n}."}
        for n, seed in enumerate(read_questions(f"{REAL_DATA}/seed_tasks.jsonl"))
    ]
    config = train_config(
        **{
            "data.files": [write_json(seeds)],
            "data.decontaminate": [f"{REAL_DATA}/user_oriented_instructions.jsonl"],
            "data.row_tokens": 2048,
        }
    )
    finding = prepare(config).report["train"]["findings"]["evaluation_overlap"]
    assert finding["dropped"] == finding["found"]
    assert [place["record"] for place in finding["records"]] == [47, 48, 74]
    found = "".join(place["found"] for place in finding["records"])
    assert set(re.findall(r"user_oriented_task_(\d+)", found)) == {"32", "89", "124"}
