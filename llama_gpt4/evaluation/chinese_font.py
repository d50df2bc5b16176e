"""The font that draws Chinese: Noto Sans CJK, of a package, so that all machines draw the same."""

import os

from matplotlib import font_manager

NAME = "Noto Sans CJK SC"


def chinese_font() -> str:
    """The name of the font, once matplotlib knows its file."""
    from noto_cjk_sans_otc import FONT_PATH

    path, fonts = os.fspath(FONT_PATH), font_manager.fontManager
    if not any(font.fname == path for font in fonts.ttflist):
        older = list(fonts.ttflist)
        fonts.addfont(path)
        # Of fonts with one name the first is taken: another version on this machine comes after.
        fonts.ttflist = fonts.ttflist[len(older) :] + older
    return NAME
