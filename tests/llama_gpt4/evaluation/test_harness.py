"""The harness for real, on a tiny model: its numbers are those of the training ids."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from llama_gpt4.errors import InputError
from llama_gpt4.evaluation.harness import loaded_tasks, main, scores, table
from llama_gpt4.prompt import render_chat, render_prompt
from llama_gpt4.tokenizer import Tokenizer

from .asked_models import asked_model

QUESTIONS = [
    {"question": "Which one?", "choices": ["(a)", "(b)"], "right": 1},
    {"question": "Say hello.", "choices": ['"hello"', "hello"], "right": 0},
    {"question": "哪一个？", "choices": ["第一个", "(b)", "1"], "right": 0},
]
CHOICE = """
task: choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
fewshot_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: right
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
SAID = """
task: said
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[right]}}}}"
generation_kwargs: {{until: ["</s>"], do_sample: false, max_gen_toks: 12}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["output_dir=out", *words]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    line = shown.err.splitlines()[-1]
    assert line.startswith("llama-gpt4 evaluate: ")
    return line.removeprefix("llama-gpt4 evaluate: ")


@pytest.mark.parametrize(
    "words, said",
    [
        (("tasks=[]",), "tasks is empty: name at least one"),
        (("tasks=[mmlu]", "shots=-1"), "shots=-1 is negative"),
        (("tasks=[mmlu]", "limit=0"), "limit=0 must be positive"),
        (("tasks=[mmlu]", "batch_size=0"), "batch_size=0 must be positive"),
        (("tasks=[mmlu]", "device=gpu"), "device=gpu is not one of auto, cpu, cuda"),
        (("tasks=mmlu",), "tasks is a list: write tasks=[…], also for a single value"),
        ((), "tasks has no value: give it one, as in tasks=…"),
    ],
)
def test_bad_keys(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    assert refusal(capsys, "model=there", *words) == said


def test_without_the_package_it_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    line = refusal(capsys, "model=there", "tasks=[mmlu]")
    assert line.endswith("is not installed: pip install 'llama-gpt4[lm-eval]'")


def test_a_row_for_each_metric_of_tasks_and_groups() -> None:
    found = {
        "results": {
            "arc": {
                "alias": "arc", "acc,none": 0.5, "acc_stderr,none": 0.125,
                "em,strict": 1.0, "em_stderr,strict": "N/A",
            },
            "all": {"alias": "all", "acc,none": 0.5, "acc_stderr,none": 0.125},
        },
        "n-samples": {"arc": {"original": 20, "effective": 16}},
        "n-shot": {"arc": 5},
        "higher_is_better": {"arc": {"acc": True, "em": True}, "all": {"acc": True}},
    }  # fmt: skip
    rows = scores(found)
    assert [(row["task"], row["metric"], row["filter"], row["stderr"]) for row in rows] == [
        ("arc", "acc", "none", 0.125), ("arc", "em", "strict", None), ("all", "acc", "none", 0.125)
    ]  # fmt: skip
    assert (rows[0]["questions"], rows[0]["shots"], rows[2]["questions"]) == (16, 5, None)
    assert table(rows)[1:] == [
        "arc       5         16  acc                       0.5000 (0.1250)",
        "arc       5         16  em, strict                1.0000",
        "all                     acc                       0.5000 (0.1250)",
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lm_eval")
    return asked_model(tmp_path_factory.mktemp("asked") / "model")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder of two tasks with data of their own."""
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    (tmp_path / "choice.yaml").write_text(CHOICE.format(file=file))
    (tmp_path / "said.yaml").write_text(SAID.format(file=file))
    return tmp_path


def likelihoods(model: Path, question: str, choices: list[str]) -> list[float]:
    """Log-probabilities of the ids that training would make of the answers, without their EOS."""
    network, tokenizer = AutoModelForCausalLM.from_pretrained(model), Tokenizer.load(model)
    [prompt] = tokenizer.encode_prompts([render_prompt(question, "")])
    found = []
    for answer in tokenizer.encode_answers(choices):
        with torch.no_grad():
            logits = network(torch.tensor([[*prompt, *answer[:-1]]])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(answer) - 2)
        found.append(sum(float(logits[i, id]) for i, id in zip(places, answer[:-1], strict=True)))
    return found


def samples(folder: Path, task: str) -> list[dict[str, Any]]:
    text = (folder / f"samples_{task}.jsonl").read_text()
    return sorted(map(json.loads, text.splitlines()), key=lambda line: line["doc_id"])


@pytest.mark.slow
def test_a_real_run(model: Path, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tasks / "out"
    line = [f"model={model}", f"tasks=[{tasks}/choice.yaml,{tasks}/said.yaml]", "device=cpu"]
    assert main([*line, f"output_dir={out}", "batch_size=2"]) == 0
    result = json.loads((out / "lm_eval.json").read_text())
    assert result["metric"] == "lm_eval" and result["model"] == str(model)
    right = 0
    for sample, asked in zip(samples(out, "choice"), QUESTIONS, strict=True):
        ours = likelihoods(model, asked["question"], asked["choices"])
        theirs = [float(pair[0]) for pair in sample["filtered_resps"]]
        assert theirs == pytest.approx(ours, abs=1e-4)
        right += ours.index(max(ours)) == asked["right"]
    [choice, said] = result["scores"]
    assert (choice["task"], choice["metric"], choice["questions"]) == ("choice", "acc", 3)
    assert choice["value"] == pytest.approx(right / 3) and choice["shots"] == 0
    assert (said["task"], said["metric"]) == ("said", "exact_match")
    tokenizer, network = Tokenizer.load(model), AutoModelForCausalLM.from_pretrained(model)
    for sample, asked in zip(samples(out, "said"), QUESTIONS, strict=True):
        [prompt] = tokenizer.encode_prompts([render_prompt(asked["question"], "")])
        whole = network.generate(
            torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0
        )[0, len(prompt) :].tolist()
        assert sample["resps"] == [[tokenizer.decode(whole)]]
    shown = capsys.readouterr().out
    assert "choice      0          3  acc" in shown and f"{out}/lm_eval.json" in shown
    assert json.loads((out / "harness.json").read_text())["results"].keys() == {"choice", "said"}


@pytest.mark.slow
def test_worked_examples_are_earlier_turns(model: Path, tasks: Path) -> None:
    line = [f"model={model}", f"tasks=[{tasks}/choice.yaml]", "device=cpu", "shots=1", "limit=1"]
    assert main([*line, f"output_dir={tasks}/out"]) == 0
    [sample] = samples(tasks / "out", "choice")
    context = sample["arguments"][0][0]
    worked = [
        render_chat([
            {"role": "user", "content": asked["question"]},
            {"role": "assistant", "content": asked["choices"][asked["right"]]},
            {"role": "user", "content": QUESTIONS[0]["question"]},
        ])
        for asked in QUESTIONS[1:]
    ]  # fmt: skip
    assert context in worked, (context, worked)


@pytest.mark.slow
def test_bad_tasks_are_one_line(tasks: Path) -> None:
    manager = pytest.importorskip("lm_eval.tasks").TaskManager(include_defaults=False)
    (tasks / "broken.yaml").write_text("task: [")
    (tasks / "empty.yaml").write_text("{}\n")
    lost = (tasks / "choice.yaml").read_text().replace("questions.jsonl", "lost.jsonl")
    (tasks / "lost.yaml").write_text(lost)
    for name, words in (
        ("mmmlu", "tasks: mmmlu is no task of the harness (`lm_eval ls tasks` lists them), nor"),
        (f"{tasks}/no.yaml", f"tasks: {tasks}/no.yaml does not exist"),
        (f"{tasks}/broken.yaml", f"tasks={tasks}/broken.yaml cannot be loaded: "),
        (f"{tasks}/empty.yaml", f"tasks={tasks}/empty.yaml cannot be loaded: "),
        (f"{tasks}/lost.yaml", f"tasks={tasks}/lost.yaml cannot be loaded: "),
    ):
        with pytest.raises(InputError) as error:
            loaded_tasks(manager, [name])
        assert str(error.value).startswith(words) and "\n" not in str(error.value)


@pytest.mark.slow
def test_a_task_of_a_group_is_not_asked_twice(tasks: Path) -> None:
    (tasks / "both.yaml").write_text("group: both\ntask: [choice, said]\n")
    library = pytest.importorskip("lm_eval.tasks")
    manager = library.TaskManager(include_path=str(tasks), include_defaults=False)
    [group] = loaded_tasks(manager, ["both"])
    assert group.name == "both"
    [task] = loaded_tasks(manager, ["said"])
    assert task.task_name == "said"
