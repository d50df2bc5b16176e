"""`llama-gpt4 report`: one page with the paper's figures, and ours of result files beside them."""

import base64
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, require
from llama_gpt4.evaluation.report_sections import SECTIONS, Results, Section, published
from llama_gpt4.evaluation.results import KINDS, damage
from llama_gpt4.files import bytes_aside, written_aside
from llama_gpt4.help import wants_help
from llama_gpt4.program import run_program

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(kw_only=True)
class ReportConfig:
    """Which results become a page."""

    results: list[str]
    """Files that `evaluate`, `rank` and `reward` wrote: judge.json, rouge.json, texts.json,
    scores.json, human.json, lm_eval.json, report.json of `rank`, reward_report.json; none: the
    published figures alone."""
    output: str
    """The page, an .html file. Its figures are in it, and as PNG and PDF in a folder beside it."""
    title: str

    def __post_init__(self) -> None:
        require(self.output.endswith(".html"), f"output={self.output} must end in .html")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help("report", ReportConfig, arguments):
        return 0
    return run_program("report", lambda report: run(arguments))


def run(arguments: Sequence[str]) -> None:
    """Read the results, draw, and write the page."""
    config = compose(ReportConfig, "report", arguments)
    results = read_results(config.results)
    output = Path(config.output)
    from matplotlib import rc_context

    from llama_gpt4.evaluation.figures import settings

    with rc_context(settings()):
        sections = [make(results) for make in SECTIONS]
        pictures = output.with_suffix("")
        for number, section in enumerate(sections, 1):
            if section.figure is not None:
                section.picture = _drawn(section.figure, pictures, number)
    with written_aside(output) as file:
        file.write(page(config.title, sections))
    print(f"{output}, figures as PNG and PDF in {pictures}/", flush=True)


def read_results(names: Sequence[str]) -> Results:
    """The files by what they are; `InputError` names one that is none of them."""
    results: Results = {}
    for name in names:
        try:
            content = json.loads(Path(name).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"results: {name} cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise InputError(f"results: {name} is not JSON: {error}") from None
        keys = content.keys() if isinstance(content, dict) else set()
        kind = next((kind for kind, own in KINDS.items() if keys >= set(own)), None)
        if kind is None:
            raise InputError(
                f"results: {name} is no result of `evaluate`, `rank` or `reward`: name their .json"
            )
        fault = damage(content, KINDS[kind])
        require(fault is None, f"results: {name} is damaged, or of another version: {fault}")
        results.setdefault(kind, {})[name] = content
    return results


def page(title: str, sections: Sequence[Section]) -> str:
    """The whole page; all text in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    template = (package_files("llama_gpt4") / "evaluation" / "page.html.jinja").read_text("utf-8")
    paper = published()
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template).render(
        title=title,
        source=paper["source"],
        corrected=paper["corrected"],
        sections=sections,
    )


def _drawn(figure: "Figure", folder: Path, number: int) -> str:
    """Store the figure as PNG and PDF; it as SVG in a data URI."""
    for kind in ("png", "pdf"):
        with bytes_aside(folder / f"{number}.{kind}") as file:
            figure.savefig(file, format=kind, dpi=150)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}"


if __name__ == "__main__":
    sys.exit(main())
