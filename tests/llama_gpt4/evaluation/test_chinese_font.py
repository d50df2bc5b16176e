"""Chinese is drawn with the font of a package, whatever fonts the machine has."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import font_manager, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from noto_cjk_sans_otc import FONT_PATH

from llama_gpt4.evaluation.chinese_font import chinese_font
from llama_gpt4.evaluation.figures import settings

NO_CHARACTER = "\U0010fffd"


def drawn(text: str) -> np.ndarray:
    """Its pixels."""
    figure = Figure(figsize=(1, 1))
    figure.text(0.5, 0.5, text, fontsize=40, ha="center", va="center")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def test_each_chinese_character_has_its_glyph() -> None:
    with rc_context(settings()), warnings.catch_warnings():
        warnings.simplefilter("error")  # of a glyph that is missing
        pictures = [drawn(character) for character in "汉语简體，—€a"]
    with rc_context(settings()), pytest.warns(UserWarning, match="missing from font"):
        pictures.append(drawn(NO_CHARACTER))  # the box
    different = {picture.tobytes() for picture in pictures}
    assert len(different) == len(pictures)


def test_the_package_comes_before_the_same_font_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fonts = font_manager.fontManager
    chinese_font()
    packaged = next(font for font in fonts.ttflist if font.name == chinese_font())
    others = [font for font in fonts.ttflist if font.fname != str(FONT_PATH)]
    system = replace(packaged, fname="/usr/share/fonts/NotoSansCJK-Regular.ttc")
    monkeypatch.setattr(fonts, "ttflist", [system, *others])
    name = chinese_font()
    assert next(f for f in fonts.ttflist if f.name == name).fname == str(FONT_PATH)
    n_fonts = len(fonts.ttflist)
    assert chinese_font() == name and len(fonts.ttflist) == n_fonts
