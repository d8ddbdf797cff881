"""Write the random weights of a peer's network, from which both it and videozoo start.

``python weights.py PEER FILE CLASSES FRAMES SIZE`` writes a state dict, for transformers a folder.
"""

import sys

import torch


def torchvision(path: str, classes: int, frames: int, size: int) -> None:
    from torchvision.models.video import r2plus1d_18

    torch.save(r2plus1d_18(num_classes=classes).state_dict(), path)


def transformers(path: str, classes: int, frames: int, size: int) -> None:
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor

    small = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    config = VideoMAEConfig(**small, num_frames=frames, image_size=size, num_labels=classes)
    VideoMAEForVideoClassification(config).save_pretrained(path)
    sides = {"size": {"shortest_edge": round(size / 0.875)}, "crop_size": {"height": size, "width": size}}
    VideoMAEImageProcessor(**sides).save_pretrained(path)


def pytorchvideo(path: str, classes: int, frames: int, size: int) -> None:
    from pytorchvideo.models.x3d import create_x3d

    net = create_x3d(input_clip_length=frames, input_crop_size=size, model_num_class=classes)
    torch.save(net.state_dict(), path)


def mmaction2(path: str, classes: int, frames: int, size: int) -> None:
    from mmaction2_config import config
    from mmaction.apis import init_recognizer

    net = init_recognizer(config("", "", classes, frames, size), device="cpu")
    torch.save({"state_dict": net.state_dict()}, path)


if __name__ == "__main__":
    peer, path, *numbers = sys.argv[1:]
    torch.manual_seed(0)
    {f.__name__: f for f in (torchvision, transformers, pytorchvideo, mmaction2)}[peer](path, *map(int, numbers))
