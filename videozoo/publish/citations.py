"""Find the papers behind the parts of a model in ``papers.bib``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Paper", "papers_of"]

# Keys of the entries, by the names of temporal modules and augmenters.
_PARTS = {
    "arc": "lin_arc",
    "dnr": "cai2021dnr",
    "tsn": "wang2016tsn",
    "tsm": "lin2019tsm",
    "msn": "kwon2020motionsqueeze",
    "tanet": "liu2021tam",
    "tdn": "wang2021tdn",
    "tea": "li2020tea",
    "trn": "zhou2018trn",
    "mvf": "wu2021mvfnet",
    "action": "wang2021action",
    "tin": "shao2020tin",
    "tei": "liu2020teinet",
    "gsm": "sudhakaran2020gsm",
    "gst": "luo2019gst",
    "smallbig": "li2020smallbignet",
    "abm": "zhu2019abm",
    "stm": "jiang2019stm",
    "tpn": "yang2020tpn",
    "attlstm": "kanojia2019attlstm",
    "blvnettam": "fan2019blvnet",
}
# The first pattern that matches the start of the backbone's name counts. Other backbones have no paper here.
_BACKBONES = {
    r"(tiny_|test_|narrow_)?resnet(\d|$)": "he2016resnet",
    r"resnext": "xie2017resnext",
    r"seresnet": "hu2018senet",
    r"res2net": "gao2019res2net",
    r"regnet": "radosavovic2020regnet",
    r"mobilenetv2": "sandler2018mobilenetv2",
    r"efficientnet": "tan2019efficientnet",
    r"bninception": "ioffe2015batchnorm",
    r"inception_v3": "szegedy2016inception",
    r"blresnet": "chen2019biglittle",
}
# Those that mix time themselves, so that TSN does nothing there.
_VIDEO_BACKBONES = {
    r"r2plus1d|r3d|mc3": "tran2018r2plus1d",
    r"slowonly|slowfast": "feichtenhofer2019slowfast",
    r"i3d": "carreira2017i3d",
    r"c2d": "wang2018nonlocal",
    r"csn": "tran2019csn",
    r"x3d": "feichtenhofer2020x3d",
    r"s3d": "xie2018s3d",
    r"eco": "zolfaghari2018eco",
    r"rubiks": "fan2020rubiksnet",
    r"movinet": "kondratyuk2021movinet",
    r"uniformer": "li2022uniformer",
    r"timesformer": "bertasius2021timesformer",
    r"videomae": "tong2022videomae",
    r"vivit": "arnab2021vivit",
    r"hiera": "ryali2023hiera",
    r"vjepa2": "assran2025vjepa2",
    r"mvit_v1": "fan2021mvit",
    r"mvit_v2": "li2022mvitv2",
    r"swin3d": "liu2022videoswin",
}


@dataclass(frozen=True)
class Paper:
    """Reference to a paper.

    Args:
        key: key of the BibTeX entry.
        authors: in BibTeX's form.
        title: in full.
        where: conference and year, and the arXiv number, if there are any.
        bibtex: the entry.
    """

    key: str
    authors: str
    title: str
    where: str
    bibtex: str


def papers_of(compositions: Iterable[Mapping[str, Any]]) -> list[Paper]:
    """Return the papers of the augmenters, temporal module and backbone, each once.

    Args:
        compositions: specs as plain data, of one model or of the members of an ensemble.
    """
    found: list[str] = []
    for spec in compositions:
        name = spec["backbone"]
        own = _first_match(_VIDEO_BACKBONES, name)
        temporal = [] if own else [spec["temporal"]["name"]]
        names = [*(part["name"] for part in spec["augmenters"]), *temporal]
        blocks = ["wang2018nonlocal"] if "_nl" in name else []
        found += [
            *(_PARTS[part] for part in names if part in _PARTS),
            *(own or _first_match(_BACKBONES, name)),
            *blocks,
        ]
    return [_read_papers()[key] for key in dict.fromkeys(found)]


def _first_match(table: Mapping[str, str], name: str) -> list[str]:
    return next(([key] for start, key in table.items() if re.match(start, name)), [])


@cache
def _read_papers() -> dict[str, Paper]:
    entries = (Path(__file__).parent / "papers.bib").read_text(encoding="utf-8").strip().split("\n\n")
    return {paper.key: paper for paper in map(_read_entry, entries)}


def _read_entry(text: str) -> Paper:
    key = text[text.index("{") + 1 : text.index(",")]
    fields = dict(re.findall(r"^  (\w+) = \{+(.*?)\}+,$", text, re.MULTILINE))
    venue = " ".join(fields[name] for name in ("booktitle", "year") if name in fields)
    arxiv = f"arXiv:{fields['eprint']}" if "eprint" in fields else ""
    return Paper(key, fields["author"], fields["title"], ", ".join(filter(None, (venue, arxiv))), text)
