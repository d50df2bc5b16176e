"""`llama-gpt4 push`: a model and its card to the Hugging Face hub, private unless told otherwise,
and never under a licence that allows what those of its data or its base model forbid."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_gpt4.compose import compose
from llama_gpt4.config import RunConfig
from llama_gpt4.containers import HUB
from llama_gpt4.errors import InputError, require
from llama_gpt4.files import written_aside
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.help import wants_help
from llama_gpt4.hub import MODEL_FILES, Upload, require_repository, uploaded, weight_files
from llama_gpt4.licences import RESEARCH, Licence, licence_of, require_allowed, require_licence
from llama_gpt4.materials import Material, file_name, materials_of, with_stated
from llama_gpt4.model_card import Named, model_card, require_card
from llama_gpt4.program import ExitReport, run_program

FILES = ("README.md", "LICENSE*", "NOTICE*", "USE_POLICY*", *MODEL_FILES)
"""The card, what licences ask to be passed on, and what transformers loads."""
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


@dataclass(kw_only=True)
class PushConfig:
    """Which model goes where, and under which licence."""

    run_dir: str
    """The run that made the model: the card is written from its files."""
    folder: str | None
    """The folder that goes up, such as `output` of `export`; null: `run_dir/model`. Its README.md
    is written if it has none."""
    repo: str
    """`owner/name`; made if it is not there. The token is that of `hf auth login` or HF_TOKEN."""
    private: bool
    """For its owners' eyes only. A repository that others see already needs `false`."""
    licence: str
    """The model's licence by its name on the hub, no more permissive than those of its data and of
    the model that it began as: with GPT-4's answers `cc-by-nc-4.0`."""
    data_licences: dict[str, str]
    """Licences of data files by their names, such as {tasks.json: apache-2.0}, where neither their
    records, nor a card beside them, nor their content tells."""
    base_licence: str | None
    """The same of the base model; `llama1` and `opt` are Meta's agreements for research."""
    accept_terms: bool
    """That you have read `Licence and terms` of the card and may publish under them: a push with
    `private=false` asks for it."""
    base_model: str | None
    """The base model's name on the hub, for the card; null: `model.path` of the run, if it is
    one."""
    datasets: list[str]
    """Names of the data on the hub, for the card, besides those that were read from there."""

    def __post_init__(self) -> None:
        require_repository(self.repo)
        require(
            self.licence not in RESEARCH,
            f"licence={self.licence} is for its maker's own model: licence=cc-by-nc-4.0 would do",
        )
        require_licence("licence", self.licence)
        for file, name in self.data_licences.items():
            require_licence(f"data_licences.{file}", name)
        if self.base_licence is not None:
            require_licence("base_licence", self.base_licence)
        for name in self.datasets:
            require(name.count("/") <= 1, f"datasets: {name} is no name of the hub: owner/name")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help("push", PushConfig, arguments):
        return 0
    return run_program("push", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Weigh the licences, write the card, and upload the folder in one commit."""
    config = compose(PushConfig, "push", arguments)
    run_dir = Path(config.run_dir).expanduser()
    trained = load_resolved(run_dir / "config.yaml")
    folder = Path(config.folder).expanduser() if config.folder else run_dir / "model"
    require_model(folder)
    materials = with_stated(materials_of(trained), config.data_licences, config.base_licence)
    licence = require_licence("licence", config.licence)
    require_publishable(licence, materials)
    card = folder / "README.md"
    if card.exists():
        require_card(card, licence.name, materials)
    else:
        named = Named(
            repo=config.repo,
            licence=licence.name,
            base_model=config.base_model or _on_hub(trained),
            datasets=[*dict.fromkeys((*config.datasets, *_data_on_hub(trained)))],
        )
        with written_aside(card) as file:
            file.write(model_card(named, run_dir, trained, materials))
    require(
        config.private or config.accept_terms,
        f"private=false shows it to all: read `Licence and terms` in {card}, and if you may "
        "publish under them, add accept_terms=true",
    )
    upload = Upload(
        repo=config.repo,
        kind="model",
        private=config.private,
        files=FILES,
        replaced=WEIGHTS,
        message="A model made with llama-gpt4",
    )
    print(f"{folder} is at {uploaded(folder, upload)}", flush=True)


def require_model(folder: Path) -> None:
    """Refuse a folder whose model or tokenizer is not whole."""
    for names in (("config.json",), ("tokenizer.json", "tokenizer.model", "vocab.json")):
        if not any((folder / name).is_file() for name in names):
            raise InputError(
                f"{folder} has no {names[0]}: it is no model; `llama-gpt4 export` makes one of a "
                "checkpoint"
            )
    from safetensors import SafetensorError, safe_open

    for file in weight_files(folder, "model.safetensors"):
        try:
            with safe_open(file, framework="numpy"):  # compares the header with the file's length
                pass
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file} is damaged ({error}): export the model anew") from None


def require_publishable(licence: Licence, materials: Sequence[Material]) -> None:
    """The gate: every material has a licence, and none forbids what the model's allows."""
    unknown = [material for material in materials if not material.has_known_licence]
    if unknown:
        raise InputError(
            f"no licence is stated for {', '.join(m.name for m in unknown)}: find out, and say so "
            f"by {_keys(unknown)}"
        )
    for material in materials:
        for name in material.licences:
            known = licence_of(name)
            if known is not None:
                require_allowed(licence, known, material.name)


def _keys(unknown: Sequence[Material]) -> str:
    """The keys that say what papers do not."""
    data = ", ".join(f"{material.name}: …" for material in unknown if material.is_data)
    keys = [f"'data_licences={{{data}}}'"] if data else []
    return " ".join(keys + ["base_licence=…"] * any(not material.is_data for material in unknown))


def _on_hub(trained: RunConfig) -> str | None:
    path = trained.model.path
    return None if path is None or Path(path).is_absolute() else path


def _data_on_hub(trained: RunConfig) -> list[str]:
    return [file_name(file) for file in trained.data.files if file.startswith(HUB)]


if __name__ == "__main__":
    sys.exit(main())
