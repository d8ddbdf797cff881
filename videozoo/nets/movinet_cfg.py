"""Sizes of the MoViNets."""

from dataclasses import dataclass

__all__ = ["KERNELS", "NETWORKS", "MoViNetCfg"]

# Depthwise kernels (time, space), by letter: over space, small over space, over time, over a long time.
KERNELS = {"s": (1, 5), "p": (1, 3), "t": (3, 3), "l": (5, 3)}


@dataclass(frozen=True)
class MoViNetCfg:
    """One model of the family.

    Args:
        stem: channels of the first convolution.
        stages: for each stage, the output channels, the inner channels of every block, and the letters of their kernels
            (``KERNELS``).
        head: channels of the last convolution on maps.
        is_causal: the network for streams. Convolutions are (2+1)D, and those over time see the current and past frames
            only. Averages over time are those of the frames so far.
    """

    stem: int
    stages: tuple[tuple[int, tuple[int, ...], str], ...]
    head: int
    is_causal: bool = False


# Kondratyuk et al., 2021 (arXiv:2103.11511), and the authors' released models.
NETWORKS = {
    "a0": MoViNetCfg(
        8,
        (
            (8, (24,), "s"),
            (32, (80, 80, 80), "ttt"),
            (56, (184, 112, 184), "ltt"),
            (56, (184, 184, 184, 184), "lttt"),
            (104, (384, 280, 280, 344), "lsss"),
        ),
        480,
    ),
    "a1": MoViNetCfg(
        16,
        (
            (16, (40, 40), "st"),
            (40, (96, 120, 96, 96), "tttt"),
            (64, (216, 128, 216, 168, 216), "ltttt"),
            (64, (216, 216, 216, 128, 128, 216), "ltttst"),
            (136, (456, 360, 360, 360, 456, 456, 544), "lsssstp"),
        ),
        600,
    ),
    "a2": MoViNetCfg(
        16,
        (
            (16, (40, 40, 64), "stt"),
            (40, (96, 120, 96, 96, 120), "ttttt"),
            (72, (240, 160, 240, 192, 240), "ltttt"),
            (72, (240, 240, 240, 240, 144, 240), "ltttst"),
            (144, (480, 384, 384, 480, 480, 480, 576), "lsssstp"),
        ),
        640,
    ),
    "a3": MoViNetCfg(
        16,
        (
            (16, (40, 40, 64, 40), "sttt"),
            (48, (112, 144, 112, 112, 144, 144), "tttstt"),
            (80, (240, 152, 240, 192, 240), "ltttt"),
            (88, (264, 264, 264, 264, 160, 264, 264, 264), "ltttsttt"),
            (168, (560, 448, 448, 560, 560, 560, 448, 448, 560, 672), "lsssstsstp"),
        ),
        744,
    ),
    "a4": MoViNetCfg(
        24,
        (
            (24, (64, 64, 96, 64, 96, 64), "sttttt"),
            (56, (168, 168, 136, 136, 168, 168, 168, 136, 136), "tttttttst"),
            (96, (320, 160, 320, 192, 320, 160, 320, 256, 320), "ltttttttt"),
            (96, (320, 320, 320, 320, 192, 320, 320, 192, 320, 320), "ltttsttttt"),
            (192, (640, 512, 512, 640, 640, 640, 512, 512, 640, 768, 640, 640, 768), "lsssstssssstt"),
        ),
        856,
    ),
    "a5": MoViNetCfg(
        24,
        (
            (24, (64, 64, 96, 64, 96, 64), "sstttt"),
            (64, (192, 152, 152, 152, 192, 192, 192, 152, 152, 192, 192), "ltttttttttt"),
            (112, (376, 224, 376, 376, 296, 376, 224, 376, 376, 296, 376, 376, 376), "ltttttttttttt"),
            (120, (376, 376, 376, 376, 224, 376, 376, 224, 376, 376, 376), "ltttstttttt"),
            (
                224,
                (744, 744, 600, 600, 744, 744, 744, 896, 600, 600, 896, 744, 744, 896, 600, 600, 744, 744),
                "ltsssstssssstsssst",
            ),
        ),
        992,
    ),
}
