"""The papers behind the parts of a network."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Paper", "papers_of"]


@dataclass(frozen=True)
class Paper:
    """One reference.

    Args:
        key: of the BibTeX entry.
        authors: as BibTeX writes them.
        title: in full.
        venue: conference and year, or empty.
        arxiv: number, or empty.
    """

    key: str
    authors: str
    title: str
    venue: str
    arxiv: str = ""

    @property
    def bibtex(self) -> str:
        """The entry."""
        year = re.search(r"\d{4}$", self.venue)
        rows = {"title": f"{{{self.title}}}", "author": self.authors, "booktitle": self.venue[:-5].strip()}
        rows |= {"year": year[0] if year else "", "eprint": self.arxiv, "archivePrefix": "arXiv" if self.arxiv else ""}
        kind = "inproceedings" if rows["booktitle"] else "misc"
        body = "".join(f"  {name} = {{{value}}},\n" for name, value in rows.items() if value)
        return f"@{kind}{{{self.key},\n{body}}}"


_PARTS = {
    "arc": Paper(
        "lin_arc",
        "Hanxi Lin and Xinxiao Wu and Jiebo Luo",
        "Adaptive Recursive Circle Framework for Fine-grained Action Recognition",
        "",
    ),
    "dnr": Paper(
        "cai2021dnr",
        "Dongqi Cai and Anbang Yao and Yurong Chen",
        "Dynamic Normalization and Relay for Video Action Recognition",
        "Advances in Neural Information Processing Systems 2021",
    ),
    "tsn": Paper(
        "wang2016tsn",
        "Limin Wang and Yuanjun Xiong and Zhe Wang and Yu Qiao and Dahua Lin and Xiaoou Tang and Luc Van Gool",
        "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition",
        "ECCV 2016",
        "1608.00859",
    ),
    "tsm": Paper(
        "lin2019tsm",
        "Ji Lin and Chuang Gan and Song Han",
        "TSM: Temporal Shift Module for Efficient Video Understanding",
        "ICCV 2019",
        "1811.08383",
    ),
    "msn": Paper(
        "kwon2020motionsqueeze",
        "Heeseung Kwon and Manjin Kim and Suha Kwak and Minsu Cho",
        "MotionSqueeze: Neural Motion Feature Learning for Video Understanding",
        "ECCV 2020",
        "2007.09933",
    ),
    "tanet": Paper(
        "liu2021tam",
        "Zhaoyang Liu and Limin Wang and Wayne Wu and Chen Qian and Tong Lu",
        "TAM: Temporal Adaptive Module for Video Recognition",
        "ICCV 2021",
        "2005.06803",
    ),
    "tdn": Paper(
        "wang2021tdn",
        "Limin Wang and Zhan Tong and Bin Ji and Gangshan Wu",
        "TDN: Temporal Difference Networks for Efficient Action Recognition",
        "CVPR 2021",
        "2012.10071",
    ),
    "tea": Paper(
        "li2020tea",
        "Yan Li and Bin Ji and Xintian Shi and Jianguo Zhang and Bin Kang and Limin Wang",
        "TEA: Temporal Excitation and Aggregation for Action Recognition",
        "CVPR 2020",
        "2004.01398",
    ),
    "trn": Paper(
        "zhou2018trn",
        "Bolei Zhou and Alex Andonian and Aude Oliva and Antonio Torralba",
        "Temporal Relational Reasoning in Videos",
        "ECCV 2018",
        "1711.08496",
    ),
}

_RESNET = Paper(
    "he2016resnet",
    "Kaiming He and Xiangyu Zhang and Shaoqing Ren and Jian Sun",
    "Deep Residual Learning for Image Recognition",
    "CVPR 2016",
    "1512.03385",
)
_SLOWFAST = Paper(
    "feichtenhofer2019slowfast",
    "Christoph Feichtenhofer and Haoqi Fan and Jitendra Malik and Kaiming He",
    "SlowFast Networks for Video Recognition",
    "ICCV 2019",
    "1812.03982",
)
# The first pattern that the backbone's name begins with; other backbones have no paper here.
_BACKBONES = {
    r"(tiny_|test_)?resnet(\d|$)": _RESNET,
    r"resnext": Paper(
        "xie2017resnext",
        "Saining Xie and Ross Girshick and Piotr Dollár and Zhuowen Tu and Kaiming He",
        "Aggregated Residual Transformations for Deep Neural Networks",
        "CVPR 2017",
        "1611.05431",
    ),
    r"seresnet": Paper(
        "hu2018senet", "Jie Hu and Li Shen and Gang Sun", "Squeeze-and-Excitation Networks", "CVPR 2018", "1709.01507"
    ),
    r"res2net": Paper(
        "gao2019res2net",
        "Shang-Hua Gao and Ming-Ming Cheng and Kai Zhao and Xin-Yu Zhang and Ming-Hsuan Yang and Philip Torr",
        "Res2Net: A New Multi-scale Backbone Architecture",
        "",
        "1904.01169",
    ),
    r"regnet": Paper(
        "radosavovic2020regnet",
        "Ilija Radosavovic and Raj Prateek Kosaraju and Ross Girshick and Kaiming He and Piotr Dollár",
        "Designing Network Design Spaces",
        "CVPR 2020",
        "2003.13678",
    ),
    r"mobilenetv2": Paper(
        "sandler2018mobilenetv2",
        "Mark Sandler and Andrew Howard and Menglong Zhu and Andrey Zhmoginov and Liang-Chieh Chen",
        "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        "CVPR 2018",
        "1801.04381",
    ),
    r"efficientnet": Paper(
        "tan2019efficientnet",
        "Mingxing Tan and Quoc V. Le",
        "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "ICML 2019",
        "1905.11946",
    ),
    r"bninception": Paper(
        "ioffe2015batchnorm",
        "Sergey Ioffe and Christian Szegedy",
        "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        "ICML 2015",
        "1502.03167",
    ),
    r"inception_v3": Paper(
        "szegedy2016inception",
        "Christian Szegedy and Vincent Vanhoucke and Sergey Ioffe and Jonathon Shlens and Zbigniew Wojna",
        "Rethinking the Inception Architecture for Computer Vision",
        "CVPR 2016",
        "1512.00567",
    ),
    r"r2plus1d": Paper(
        "tran2018r2plus1d",
        "Du Tran and Heng Wang and Lorenzo Torresani and Jamie Ray and Yann LeCun and Manohar Paluri",
        "A Closer Look at Spatiotemporal Convolutions for Action Recognition",
        "CVPR 2018",
        "1711.11248",
    ),
    r"slowonly|slowfast": _SLOWFAST,
}


def papers_of(compositions: Iterable[Mapping[str, Any]]) -> list[Paper]:
    """The papers of the parts that are used, each once: augmenters, temporal module, backbone.

    Args:
        compositions: specs as plain data, of one network or of an ensemble's members.
    """
    found: list[Paper] = []
    for spec in compositions:
        backbone = next((paper for start, paper in _BACKBONES.items() if re.match(start, spec["backbone"])), None)
        is_3d = re.match(r"r2plus1d|slowonly|slowfast", spec["backbone"]) is not None  # TSN then stands for nothing
        temporal = [] if is_3d else [spec["temporal"]["name"]]
        names = [*(part["name"] for part in spec["augmenters"]), *temporal]
        found += [*(_PARTS[name] for name in names if name in _PARTS), *([backbone] if backbone else [])]
    return list(dict.fromkeys(found))
