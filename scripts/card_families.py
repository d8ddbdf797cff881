"""Pages of the model cards that are not of a temporal module or add-on: families of video backbones, test models."""

__all__ = ["EXAMPLES", "FAMILIES", "INTROS", "TESTING", "TITLES"]

TESTING = "test_models"
# Families of backbones that mix time themselves: pattern of the backbone's name, title and first sentence of the page.
FAMILIES = {
    "slowfast": (
        r"slow(only|fast)",
        "SlowOnly and SlowFast",
        "A 3-D ResNet that sees few frames, alone or beside one that sees all of them.",
    ),
    "i3d": (
        r"i3d_resnet|c2d",
        "I3D, C2D and non-local blocks",
        "3-D ResNets inflated from 2-D ones, with and without non-local blocks.",
    ),
    "r2plus1d": (
        r"r2plus1d|r3d|mc3",
        "R(2+1)D, R3D and MC3",
        "3-D ResNets: their convolutions are split into one over space and one over time, or are whole.",
    ),
    "inception_3d": (
        r"i3d_inception|s3d",
        "I3D on Inception, S3D and S3D-G",
        "Inception networks on clips, with 3-D or separable convolutions.",
    ),
    "csn": (r"csn", "CSN", "Channel-separated 3-D ResNets: their 3x3x3 convolutions are depth-wise."),
    "x3d": (r"x3d", "X3D", "3-D MobileNets, expanded along one axis after the other."),
    "movinet": (r"movinet", "MoViNet", "Searched 3-D MobileNets, for whole clips and for streams."),
    "eco": (r"eco", "ECO", "BN-Inception on every frame and a 3-D ResNet-18 on its features."),
    "rubiksnet": (
        r"rubiks",
        "RubiksNet",
        "A residual network whose convolutions over space and time are learned shifts.",
    ),
    "uniformer": (
        r"uniformer",
        "UniFormer",
        "Convolutions in the first two stages and attention over space and time in the last two.",
    ),
    "timesformer": (
        r"timesformer",
        "TimeSformer",
        "A vision transformer with attention over time and over space in turns.",
    ),
    "videomae": (
        r"videomae",
        "VideoMAE",
        "A plain vision transformer on patches of two frames, with attention over all of them at once.",
    ),
    "vivit": (
        r"vivit",
        "ViViT",
        "A plain vision transformer on patches of two frames and a class token, with attention over all at once.",
    ),
    "hiera": (
        r"hiera",
        "Hiera",
        "A vision transformer in four stages, of which the first two attend within windows.",
    ),
    "vjepa2": (
        r"vjepa2",
        "V-JEPA 2",
        "A plain vision transformer with rotary positions and a pooler of attention blocks.",
    ),
    "mvit": (
        r"mvit",
        "MViT",
        "Vision transformers whose attention pools queries, keys and values, in four stages.",
    ),
    "swin3d": (
        r"swin3d",
        "Video Swin Transformer",
        "Attention in windows over space and time, which every second block shifts by half a window.",
    ),
}
TITLES = {TESTING: "Test models"} | {family: title for family, (_, title, _) in FAMILIES.items()}
INTROS = {
    TESTING: "Tiny models with bundled weights, for testing loading, prediction and fine-tuning offline. They classify "
    "[generated motions](../docs/guides/quickstart.md) and are of no use on real videos.",
} | {
    family: f"{first} The backbone is in videozoo, as timm has none. It takes no temporal module. Which add-ons it "
    "takes is in [Methods](../docs/systems.md)."
    for family, (_, _, first) in FAMILIES.items()
}
EXAMPLES = {"dnr": "dnr_tsn_r50", "arc": "arc_tsm_r50", "slowfast": "slowonly_r50", TESTING: "test_arc_tsm"}
