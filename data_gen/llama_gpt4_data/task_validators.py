"""What can be wrong with a task, whoever answers it: with an instruction and its input."""

import re

from llama_gpt4.validators import shown

_URLS = re.compile(r"\s*(?:(?:https?://|www\.)\S+[\s,;，；]*)+")
_ABOUT_LINKS = re.compile(
    r"\b(?:domain|protocol|valid|encod|shorten|pars|extract|format|host)|域名|协议|有效|解析|格式",
    re.IGNORECASE,
)

_CODE = re.compile(
    r"\b(?:code|program|function|script|algorithm|html|css|java(?:script)?|python|sql|query|class"
    r"|ascii|latex|markdown|table)\b|代码|程序|函数|脚本|算法|网页",
    re.IGNORECASE,
)
_MEDIUM = (
    r"(?:images?|pictures?|photos?|photographs?|logos?|(?:bar |pie |line |flow ?)?charts?|graphs?"
    r"|diagrams?|illustrations?|drawings?|paintings?|sketch(?:es)?|infographics?|animations?|gifs?"
    r"|videos?|audio|histograms?|scatter ?plots?|icons?|collages?|cartoons?|comics?|memes?)"
)
_ONLY_TEXT = (
    r"(?! ?(?:scripts?|titles?|captions?|descriptions?|ideas?|games?|editing|processing|class"
    r"|recognition|theory|databases?|slogans?|names?|lyrics|reviews?|essays?|characters?|series"
    r"|for (?:a|the) (?:script|title)|calls?|conferenc\w+|stor(?:y|ies)|books?))\b"
)
_MAKES_MEDIA = re.compile(
    rf"\b(?:draw|sketch|paint|plot|render|create|make|generate|design|produce|construct|build|edit"
    rf"|find|insert|take|show)\b (?:me |us )?(?:an?|the|some|this|these|two|three|five|\d+)?\b"
    rf"(?: [\w'’-]+){{0,3}}? {_MEDIUM}\b{_ONLY_TEXT}"
    r"|^(?:plot|sketch|draw|paint) (?!.*\b(?:conclusions?|comparisons?|parallels?|inferences?"
    r"|distinctions?|contrasts?|attention|inspiration|plan)\b)(?:an?|the) "
    r"|(?:^|[，。请])(?:帮我|为我)?(?:画出?|绘制|作)(?:一|出|个|张|幅|下)"
    r"|(?:画|绘制|制作|生成|创建|设计|构建|做)[^，。：的]{0,3}?(?:一|个|张|幅|份|段)?[^，。：]{0,14}?"
    r"(?:图片|图像|照片|图表|流程图|条形图|柱状图|饼图|折线图|散点图|示意图|思维导图|维恩图|海报|标志|徽标"
    r"|动画(?=[，。！]|$)|视频|音频|漫画|插图|三维图形)(?!的?(?:标题|描述|文案|脚本|说明|名称))",
    re.IGNORECASE,
)
_NEEDS_MEDIA = re.compile(
    rf"\b(?:this|these|the following|the given|given|attached|above|below|provided|accompanying)"
    rf" {_MEDIUM}\b{_ONLY_TEXT}"
    r"|\b(?:in|from) the (?:image|picture|photo|photograph|diagram|painting|cartoon)s?\b"
    r"|(?:这|该|此|以下|下面|给定|所给|提供)的?(?:幅|张|个|段)?的?(?:图片|图像|照片|画|漫画|拼图|gif|视频|音频"
    r"|录音|图表|图(?![书形案]))",
    re.IGNORECASE,
)


def url_only_input(instruction: str, input: str) -> str | None:
    """An input of links alone, which a model of text cannot follow."""
    is_about_links = _ABOUT_LINKS.search(instruction)
    return shown(input) if _URLS.fullmatch(input) and not is_about_links else None


def media_task(instruction: str) -> str | None:
    """A task that makes or needs an image, a plot, a sound or a film."""
    task = re.split("[:：]", instruction)[0]  # what follows is what the task is about
    is_made = _MAKES_MEDIA.search(task) and not _CODE.search(task)
    return shown(instruction) if is_made or _NEEDS_MEDIA.search(task) else None
