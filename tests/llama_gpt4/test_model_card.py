"""A model's card says what its run knows, and nothing of where it lay."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from llama_gpt4.errors import InputError
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.materials import Material
from llama_gpt4.model_card import Named, model_card, require_card
from llama_gpt4.prompt import render_prompt
from llama_gpt4.summary import Summary, store_summary

from .finished_run import finished_run

DATA = Material(
    name="tasks.json", is_data=True, licences=("cc-by-nc-4.0",), terms="- Not against OpenAI.",
    sha256="f" * 64, languages=("en", "zh"),
)  # fmt: skip
BASE = Material(name="llama-7b", is_data=False, licences=("other", "llama1"))
NAMED = Named(
    repo="me/tuned", licence="cc-by-nc-4.0", base_model="huggyllama/llama-7b", datasets=["me/data"]
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("home") / "run")


def written(run_dir: Path, named: Named = NAMED) -> str:
    return model_card(named, run_dir, load_resolved(run_dir / "config.yaml"), [DATA, BASE])


def test_the_hub_can_read_its_head(run_dir: Path) -> None:
    head = ModelCard(written(run_dir)).data
    assert head.license == "cc-by-nc-4.0" and head.language == ["en", "zh"]
    assert head.base_model == "huggyllama/llama-7b" and head.datasets == ["me/data"]
    assert head.library_name == "transformers" and head.pipeline_tag == "text-generation"
    assert head.tags == ["llama-gpt4", "instruction-tuning"]


def test_what_is_not_known_is_not_in_the_head(run_dir: Path) -> None:
    named = Named(repo="me/tuned", licence="mit", base_model=None, datasets=[])
    head = ModelCard(written(run_dir, named)).data
    assert head.base_model is None and head.datasets is None


def test_it_says_what_the_run_knows(run_dir: Path) -> None:
    text = written(run_dir)
    for line in (
        "# tuned",
        "Trained by `llama-gpt4 train` (tiny), begun from llama-7b.",
        f"| tasks.json | data | cc-by-nc-4.0 | {'f' * 64} |",
        "| llama-7b | base model | other, llama1 |  |",
        "| train.read | 230 |",
        "| train.used | 229 |",
        "| train.dropped.empty_output | 1 |",
        "| train.findings.empty_output.found | 1 |",
        "| train.sources: tasks.json | 229 used |",
        "| train.languages.en.tokens_per_character | 0.2468 |",
        "| optim.lr | 0.003 |",
        "| schedule.kind | cosine |",
        "| precision.dtype | float32 |",
        "| seed | 42 |",
        "| steps | 2 |",
        "| epochs | 1.00 |",
        "| loss of the first step | 4.5000 |",
        "| loss of the last step | 0.2500 |",
        "| loss on held-out records, at the end | 0.7500 |",
        'tokenizer = AutoTokenizer.from_pretrained("me/tuned")',
        "- tasks.json: cc-by-nc-4.0.",
        "  - Not against OpenAI.",
        "- llama-7b: other, llama1 (Meta's agreement for the first LLaMA, for non-commercial "
        "research).",
    ):
        assert f"\n{line}\n" in text, line
    assert "findings.empty_output.policy" not in text, "not a number"
    assert f"~~~text\n{render_prompt('{instruction}', '{input}')}\n~~~" in text
    assert f"~~~text\n{render_prompt('{instruction}', '')}\n~~~" in text


def test_it_says_nothing_of_this_machine(tmp_path: Path) -> None:
    questions = tmp_path / "anna" / "questions.jsonl"
    run_dir = finished_run(tmp_path / "run", f"data.decontaminate=[{questions}]")
    text = written(run_dir)
    assert str(tmp_path) not in text and "anna" not in text and "cache_dir" not in text
    assert "\n| data.decontaminate | ['questions.jsonl'] |\n" in text


def test_the_summary_of_a_run_is_on_it(tmp_path: Path) -> None:
    run_dir = finished_run(tmp_path / "reward", program="reward")
    store_summary(run_dir, Summary({"reward/accuracy": 0.8}, {}, {}))
    text = written(run_dir)
    assert "\n| reward/accuracy | 0.8000 |\n" in text
    assert "AutoModelForSequenceClassification" in text
    assert ModelCard(text).data.pipeline_tag == "text-classification"


def test_a_run_that_never_trained_has_no_card(tmp_path: Path) -> None:
    run_dir = finished_run(tmp_path / "run")
    (run_dir / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match="has no line of a step"):
        written(run_dir)
    (run_dir / "data.json").write_text("{")
    with pytest.raises(InputError, match=r"data\.json cannot be read"):
        written(run_dir)


def test_ours_passes_its_own_check(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(written(run_dir))
    require_card(path, "cc-by-nc-4.0", [DATA, BASE])


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("license: cc-by-nc-4.0", "license: mit", "does not say `license: cc-by-nc-4.0` in its"),
        ("---\n", "", "does not say `license: cc-by-nc-4.0` in its head"),
        ("- llama-7b: other, llama1", "- llama-7b: fine", "under which licence llama-7b is"),
        ("## Licence and terms", "## Licence", "under which licence tasks.json is"),
    ],
)
def test_a_changed_card_must_still_say_what_binds(
    run_dir: Path, tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = tmp_path / "README.md"
    path.write_text(written(run_dir).replace(old, new))
    with pytest.raises(InputError) as error:
        require_card(path, "cc-by-nc-4.0", [DATA, BASE])
    assert words in str(error.value) and "delete it to have it written anew" in str(error.value)
