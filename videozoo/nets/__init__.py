"""Backbones that timm lacks: 3-D ResNets and BN-Inception, with timm's interface and in timm's registry.

They are backbones for ``compose``, so ``videozoo.list_models`` does not list them.
"""

from videozoo.nets import resnet3d_models as resnet3d_models
from videozoo.nets.base import Backbone, is_3d
from videozoo.nets.blocks3d import BasicBlock2plus1d, BasicBlock3d, Bottleneck2plus1d, Bottleneck3d, Conv2plus1d
from videozoo.nets.blresnet import BigLittleModule, BigLittleResNet
from videozoo.nets.bninception import BnInception, Inception
from videozoo.nets.csn import CsnBottleneck, CsnMixingBottleneck
from videozoo.nets.eco import Eco, EcoBlock3d, EcoEntry, EcoRest
from videozoo.nets.hiera import Hiera
from videozoo.nets.inception3d import Inception3d, InceptionNet3d, SeparableInception3d
from videozoo.nets.inception_v3 import complete_backbone
from videozoo.nets.inception_v3_tsn import InceptionV3Tsn, Mixed, MixedSplit, MixedStride
from videozoo.nets.movinet import MoViNet, MoViNetBlock
from videozoo.nets.mvit import MultiscaleViT
from videozoo.nets.registry import has_positions, image_model_of, list_backbones
from videozoo.nets.resnet3d import ResNet3d
from videozoo.nets.rubiksnet import RubiksBlock, RubiksNet
from videozoo.nets.slowfast import SlowFast
from videozoo.nets.swin3d import Swin3d
from videozoo.nets.timesformer import TimeSformer
from videozoo.nets.tiny_resnet import make_narrow_resnet18, make_resnet18_gn, make_tiny_resnet
from videozoo.nets.tokens import TokenBackbone
from videozoo.nets.uniformer import UniFormer
from videozoo.nets.videomae import VideoMae
from videozoo.nets.vivit import ViViT
from videozoo.nets.vjepa import VJepa
from videozoo.nets.x3d import X3d, X3dBlock

__all__ = [
    "Backbone",
    "BasicBlock2plus1d",
    "BasicBlock3d",
    "BigLittleModule",
    "BigLittleResNet",
    "BnInception",
    "Bottleneck2plus1d",
    "Bottleneck3d",
    "Conv2plus1d",
    "CsnBottleneck",
    "CsnMixingBottleneck",
    "Eco",
    "EcoBlock3d",
    "EcoEntry",
    "EcoRest",
    "Hiera",
    "Inception",
    "Inception3d",
    "InceptionNet3d",
    "InceptionV3Tsn",
    "Mixed",
    "MixedSplit",
    "MixedStride",
    "MoViNet",
    "MoViNetBlock",
    "MultiscaleViT",
    "ResNet3d",
    "RubiksBlock",
    "RubiksNet",
    "SeparableInception3d",
    "SlowFast",
    "Swin3d",
    "TimeSformer",
    "TokenBackbone",
    "UniFormer",
    "VJepa",
    "ViViT",
    "VideoMae",
    "X3d",
    "X3dBlock",
    "complete_backbone",
    "has_positions",
    "image_model_of",
    "is_3d",
    "list_backbones",
    "make_narrow_resnet18",
    "make_resnet18_gn",
    "make_tiny_resnet",
]
