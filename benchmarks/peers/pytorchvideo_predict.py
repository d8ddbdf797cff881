"""Predict a list of videos with PyTorchVideo."""

import sys

import torch
import torchvision.transforms.functional

sys.modules["torchvision.transforms.functional_tensor"] = torchvision.transforms.functional  # gone from torchvision
from pytorchvideo.data import LabeledVideoDataset, make_clip_sampler
from pytorchvideo.models.x3d import create_x3d
from pytorchvideo.transforms import ApplyTransformToKey, Normalize, ShortSideScale, UniformTemporalSubsample
from torch.utils.data import DataLoader, SequentialSampler
from torchvision.transforms import CenterCrop, Compose, Lambda

WEIGHTS, LIST, OUTPUT = sys.argv[1:4]
CLASSES, FRAMES, SIZE = map(int, sys.argv[4:])
SECONDS = 3  # the longest video

if __name__ == "__main__":
    model = create_x3d(input_clip_length=FRAMES, input_crop_size=SIZE, model_num_class=CLASSES)
    model.load_state_dict(torch.load(WEIGHTS))
    model.eval()
    steps = [
        UniformTemporalSubsample(FRAMES),
        Lambda(lambda clip: clip / 255),
        Normalize([0.45] * 3, [0.225] * 3),
        ShortSideScale(round(SIZE / 0.875)),
        CenterCrop(SIZE),
    ]
    videos = LabeledVideoDataset(
        [(line.split()[0], {"path": line.split()[0]}) for line in open(LIST)],
        make_clip_sampler("constant_clips_per_video", SECONDS, 1),
        SequentialSampler,
        transform=ApplyTransformToKey("video", Compose(steps)),
        decode_audio=False,
    )
    labels = {}
    with torch.inference_mode():
        for batch in DataLoader(videos, batch_size=8, num_workers=2):
            labels |= zip(batch["path"], model(batch["video"]).argmax(1).tolist())
    with open(OUTPUT, "w") as file:
        file.writelines(f"{path} {label}\n" for path, label in labels.items())
