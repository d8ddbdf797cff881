"""Predict a list of videos with PyAV and torchvision."""

import sys

import av
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.models.video import r2plus1d_18
from torchvision.transforms import v2

WEIGHTS, LIST, OUTPUT = sys.argv[1:4]
CLASSES, FRAMES, SIZE = map(int, sys.argv[4:])


class Videos(Dataset):
    def __init__(self, path):
        self.paths = [line.split()[0] for line in open(path)]
        self.transform = v2.Compose(
            [
                v2.Resize(round(SIZE / 0.875)),
                v2.CenterCrop(SIZE),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]),
            ]
        )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with av.open(self.paths[index]) as container:
            images = list(container.decode(video=0))
        wanted = [images[(2 * i + 1) * len(images) // (2 * FRAMES)] for i in range(FRAMES)]
        clip = torch.from_numpy(np.stack([image.to_ndarray(format="rgb24") for image in wanted]))
        return self.transform(clip.permute(0, 3, 1, 2)).transpose(0, 1)


if __name__ == "__main__":
    model = r2plus1d_18(num_classes=CLASSES)
    model.load_state_dict(torch.load(WEIGHTS))
    model.eval()
    videos = Videos(LIST)
    labels = []
    with torch.inference_mode():
        for clips in DataLoader(videos, batch_size=8, num_workers=2):
            labels += model(clips).softmax(1).argmax(1).tolist()
    with open(OUTPUT, "w") as file:
        file.writelines(f"{path} {label}\n" for path, label in zip(videos.paths, labels))
