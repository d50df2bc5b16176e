"""`llama-gpt4 data estimate`: the cost of a line before it is paid, and after a pilot."""

import json
import os
import re
from pathlib import Path

import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.answer import ESTIMABLE, PROGRAM, AnswerConfig
from llama_gpt4_data.estimate import Estimate, _basis, estimate
from llama_gpt4_data.forecast import Survey, TokenRange, forecast
from llama_gpt4_data.generate import journal_folder
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.tokens import TokenCounter

from llama_gpt4.compose import compose

from .endpoints import reply
from .teacher import Teacher

REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    """The keys of a run over 150 instructions, of which every third is Chinese."""
    questions = [
        {"instruction": f"请解释第{n}个问题。" if n % 3 else f"Explain question {n}, please."}
        for n in range(150)
    ]
    file = tmp_path / "questions.json"
    file.write_text(json.dumps(questions, ensure_ascii=False), encoding="utf-8")
    return [
        f"files=[{file}]",
        f"run.output_dir={tmp_path / 'data'}",
        f"run.journal_dir={tmp_path / 'journal'}",
    ]


def estimated(line: list[str]) -> Estimate:
    return estimate(ESTIMABLE, compose(AnswerConfig, PROGRAM, line))


def shown(capsys: pytest.CaptureFixture[str], line: list[str]) -> str:
    capsys.readouterr()
    assert cli.main(["estimate", "answer", *line]) == 0
    return capsys.readouterr().out


def test_it_needs_no_key_and_leaves_nothing_behind(
    line: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    # A port that nobody listens at.
    out = shown(capsys, [*line, "teacher.base_url=http://127.0.0.1:9/v1", "run.budget_usd=0.01"])
    assert [path.name for path in tmp_path.iterdir()] == ["questions.json"]
    found = estimated(line)
    low, high = found.usd
    assert "150 to send" in out and f"{found.coming.input_tokens:,.0f} tokens" in out
    assert f"${low:,.2f} to ${high:,.2f}\n" in out
    assert f"${low / 2:,.2f} to ${high / 2:,.2f}, by run.mode=batch" in out
    assert (
        "$30 for a million tokens of input, $60 of output (https://" in out and "2025-08-15)" in out
    )
    assert "run.budget_usd=0.01 is not enough" in out


def test_output_is_low_to_high_and_never_longer_than_the_longest_answer(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = estimated([*line, "teacher.parameters.max_tokens=40"]).coming.output
    assert output.low == output.high == 150 * 40
    output = estimated(line).coming.output
    assert "limit=50 first" in shown(capsys, line)
    assert "limit=" not in shown(capsys, [*line, "limit=50"]), "too few for a pilot"
    assert output.low < 150 * 143 < output.high
    assert estimated([*line, "language=zh"]).coming.output.low > output.low


def test_a_budget_is_held_against_what_the_run_really_costs(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    low, high = estimated(line).usd
    for budget, mode, will in (
        (high, "live", "is enough"),
        (high - 0.01, "live", "may be enough"),
        (low - 0.01, "live", "is not enough"),
        (high / 2 + 0.01, "batch", "is enough"),
    ):
        said = shown(capsys, [*line, f"run.budget_usd={budget}", f"run.mode={mode}"])
        assert f"run.budget_usd={budget:g} {will}\n" in said


def test_a_model_without_a_price_is_said_to_have_none(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(capsys, [*line, "teacher.model=nobody-knows"])
    assert "the price of nobody-knows is not known" in out and "150 to send" in out
    out = shown(capsys, [*line, "endpoint@teacher=local", "teacher.model=x", "teacher.licence=mit"])
    assert "$0.00 to $0.00" in out and "(the endpoint's own)" in out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nothing"], "nothing is not a task; there are answer, "),
        (["estimate"], "estimate asks no endpoint: it costs nothing"),
        (["answer", "run.output_dir=x"], "files has no value"),
    ],
)
def test_what_cannot_be_estimated_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert cli.main(["estimate", *arguments]) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("llama-gpt4 data estimate: ") and words in said


def test_after_a_pilot_it_tells_what_the_server_will_charge(
    line: list[str], teacher: Teacher, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [*line, f"teacher.base_url={teacher.base_url}"]
    assert cli.main(["answer", *line, "limit=60"]) == 0
    pilot = teacher.stats()
    found = estimated(line)
    out = shown(capsys, line)
    paid = f"${found.paid_usd:,.2f}"
    assert f"90 to send; 60 more are in the journal, paid already ({paid})" in out
    assert re.search(r"±\d+%: 60 items in the journal have \d+ on average", out)
    assert teacher.stats().requests == pilot.requests, "an estimate asked"

    assert cli.main(["answer", *line]) == 0
    whole = teacher.stats()
    # The server counts tokens in a way of its own, which only the pilot knows.
    charged = whole.prompt_tokens - pilot.prompt_tokens
    assert found.coming.input_tokens == pytest.approx(charged, rel=0.1)
    answered = whole.completion_tokens - pilot.completion_tokens
    assert found.coming.output.middle == pytest.approx(answered, rel=0.1)
    assert whole.requests == 150
    usd = (30 * pilot.prompt_tokens + 60 * pilot.completion_tokens) / 1e6
    assert found.paid_usd == pytest.approx(usd)
    rest = estimated(line)
    assert rest.coming.requests == 0 and rest.usd == (0, 0)


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_pilot_of_gpt_4s_real_answers_tells_the_rest_within_a_tenth(
    tmp_path: Path, language: str
) -> None:
    line = [
        f"files=[{REAL_DATA}/alpaca_gpt4_{language}.json]",
        f"language={language}",
        f"run.output_dir={tmp_path / 'data'}",
        f"run.journal_dir={tmp_path / 'journal'}",
    ]
    config = compose(AnswerConfig, PROGRAM, line)
    items, counter = ESTIMABLE.items(config), TokenCounter("cl100k_base")
    lengths = [counter.text(item.source.output) for item in items]
    before = estimated(line).coming
    assert before.output.low < sum(lengths) < before.output.high, "the prior is wrong"

    journal = Journal(journal_folder(config.run, config.teacher))
    for item, tokens in zip(items[:200], lengths, strict=False):
        asked = item.request([])
        charged = counter.prompt(asked)
        journal.append(reply(asked, prompt_tokens=charged, completion_tokens=tokens))
    journal.close()
    found = estimated(line)
    truth = sum(lengths[200:])
    assert found.seen.n_paid == len(found.coming.pilot) == 200
    assert found.coming.requests == len(items) - 200
    assert found.coming.output.middle == pytest.approx(truth, rel=0.1)
    assert found.coming.output.low < truth < found.coming.output.high
    whole = found.seen.paid_output + found.coming.output.middle
    assert whole == pytest.approx(sum(lengths), rel=0.1)
    assert found.seen.paid_input + found.coming.input_tokens == before.input_tokens


def test_a_pilot_of_empty_answers_is_a_pilot() -> None:
    seen = Survey(n_paid=25, paid_input=250, counted_input=250, open_inputs=[10], outputs=[0] * 25)
    assert "have 0 on average" in _basis(forecast(seen, TokenRange(low=1, high=2), None))
