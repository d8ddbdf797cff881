"""Fine-tune one epoch with PyTorchVideo."""

import sys

import torch
import torchvision.transforms.functional

sys.modules["torchvision.transforms.functional_tensor"] = torchvision.transforms.functional  # gone from torchvision
from pytorchvideo.data import LabeledVideoDataset, make_clip_sampler
from pytorchvideo.models.x3d import create_x3d
from pytorchvideo.transforms import (
    ApplyTransformToKey,
    Normalize,
    RandomResizedCrop,
    ShortSideScale,
    UniformTemporalSubsample,
)
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torchvision.transforms import CenterCrop, Compose, Lambda, RandomHorizontalFlip

WEIGHTS, TRAIN, VAL, OUTPUT = sys.argv[1:5]
CLASSES, FRAMES, SIZE = map(int, sys.argv[5:])
SECONDS = 3  # the longest video


def load(path, sampler, crops):
    steps = [
        UniformTemporalSubsample(FRAMES),
        Lambda(lambda clip: clip / 255),
        Normalize([0.45] * 3, [0.225] * 3),
        *crops,
    ]
    videos = LabeledVideoDataset(
        [(line.split()[0], {"label": int(line.split()[1])}) for line in open(path)],
        make_clip_sampler("constant_clips_per_video", SECONDS, 1),
        sampler,
        transform=ApplyTransformToKey("video", Compose(steps)),
        decode_audio=False,
    )
    return DataLoader(videos, batch_size=8, num_workers=2)


if __name__ == "__main__":
    model = create_x3d(input_clip_length=FRAMES, input_crop_size=SIZE, model_num_class=CLASSES, head_activation=None)
    model.load_state_dict(torch.load(WEIGHTS))
    train = load(
        TRAIN, RandomSampler, [RandomResizedCrop(SIZE, SIZE, (0.08, 1), (3 / 4, 4 / 3)), RandomHorizontalFlip()]
    )
    val = load(VAL, SequentialSampler, [ShortSideScale(round(SIZE / 0.875)), CenterCrop(SIZE)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)
    model.train()
    for batch in train:
        optimizer.zero_grad()
        cross_entropy(model(batch["video"]), batch["label"]).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        correct = [model(batch["video"]).argmax(1) == batch["label"] for batch in val]
    print(f"top-1 {torch.cat(correct).float().mean():.3f}")
    torch.save(model.state_dict(), OUTPUT)
