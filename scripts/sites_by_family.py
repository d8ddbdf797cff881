"""Write tests/sites_by_family.json: the layers that each part changes in a backbone of every family, or its error.

    python scripts/sites_by_family.py [BACKBONE ...]

Models are built and run on the meta device, without weights and computation. An entry has the number of sites with the
first and the last name, or the message of the error. Read the difference before you commit it.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

import videozoo
from videozoo.augment import ARC, AUGMENTERS, DNR, TPN
from videozoo.temporal import GSM, GST, MSN, TDN, TEA, TRN, TSM, TSN, TANet

TABLE = Path(__file__).resolve().parents[1] / "tests" / "sites_by_family.json"
# One module per site: others that work at the site of TSM, such as TIN, change the same layers.
PARTS: dict[str, Any] = {
    "tsn": TSN(), "tsm": TSM(), "msn": MSN(), "tanet": TANet(), "tdn": TDN(), "trn": TRN(), "tea": TEA(),
    "gsm": GSM(), "gst": GST(), "arc": ARC(), "dnr": DNR(), "tpn": TPN(),
}  # fmt: skip
FAMILIES = [
    "resnet18", "resnet50", "resnet50d", "resnext50_32x4d", "wide_resnet50_2", "seresnet18", "ecaresnet26t",
    "skresnet18", "resnest14d", "resnetv2_50", "nf_resnet50", "res2net50_26w_4s", "test_resnet", "bat_resnext26ts",
    "seresnet33ts", "regnetx_002", "regnety_002", "nf_regnet_b0", "efficientnet_b0", "tf_efficientnetv2_b0",
    "mixnet_s", "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small", "lcnet_035", "mnasnet_small",
    "ghostnet_050", "repghostnet_050", "rexnet_100", "fasternet_t0", "starnet_s1", "shvit_s1", "mobileone_s0",
    "repvgg_a0", "repvit_m0_9", "fastvit_t8", "vgg11_bn", "densenet121", "dla34", "dpn48b", "hrnet_w18_small",
    "inception_v3", "inception_v4", "inception_resnet_v2", "xception41", "legacy_xception", "selecsls42b",
    "ese_vovnet19b_dw", "tresnet_m", "gernet_s", "darknet17", "cspresnet50", "hgnetv2_b0", "convnext_atto",
    "inception_next_atto", "edgenext_xx_small", "mobilevit_xxs", "coatnet_nano_rw_224", "poolformer_s12",
    "caformer_s18", "efficientformer_l1", "visformer_tiny", "nextvit_small", "levit_128", "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224", "bninception",
]  # fmt: skip


def entry(backbone: str, part: str) -> Any:
    """Return [count, first, last] of the sites, or the message of the error."""
    module = PARTS[part]
    parts = {"augmenters": [module]} if part in AUGMENTERS else {"temporal": module}
    frames = 4 * getattr(module, "frames_per_segment", 1)
    try:
        with torch.device("meta"):
            net = videozoo.compose(backbone, **parts, num_classes=7, num_frames=frames).eval()
            size = getattr(net.backbone, "default_cfg", {}).get("input_size", (3, 224, 224))
            with torch.no_grad():
                out = net(torch.empty(1, 3, frames, *size[1:]))
    except ValueError as error:
        return str(error)
    if out.shape != (1, 7):
        raise RuntimeError(f"{backbone} with {part} gives {tuple(out.shape)}.")
    names = net.sites[part]
    return [len(names), *(names[:1] + names[-1:])]


def row(backbone: str) -> dict[str, Any]:
    """Return the entries of a backbone. If TSN is refused, the others have the same message and are left out."""
    plain = entry(backbone, "tsn")
    if isinstance(plain, str):
        return {"tsn": plain}
    return {part: plain if part == "tsn" else entry(backbone, part) for part in PARTS}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    table = json.loads(TABLE.read_text(encoding="utf-8")) if sys.argv[1:] else {}
    for name in sys.argv[1:] or FAMILIES:
        table[name] = row(name)
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
