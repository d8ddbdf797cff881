"""Fine-tune one epoch with PyAV and torchvision."""

import sys

import av
import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision.models.video import r2plus1d_18
from torchvision.transforms import v2

WEIGHTS, TRAIN, VAL, OUTPUT = sys.argv[1:5]
CLASSES, FRAMES, SIZE = map(int, sys.argv[5:])
TO_FLOAT = [
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]),
]


class Videos(Dataset):
    def __init__(self, path, transforms):
        self.lines = [line.split() for line in open(path)]
        self.transform = v2.Compose([*transforms, *TO_FLOAT])

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        path, label = self.lines[index]
        with av.open(path) as container:
            images = list(container.decode(video=0))
        wanted = [images[(2 * i + 1) * len(images) // (2 * FRAMES)] for i in range(FRAMES)]
        clip = torch.from_numpy(np.stack([image.to_ndarray(format="rgb24") for image in wanted]))
        return self.transform(clip.permute(0, 3, 1, 2)).transpose(0, 1), int(label)


if __name__ == "__main__":
    model = r2plus1d_18(num_classes=CLASSES)
    model.load_state_dict(torch.load(WEIGHTS))
    crops = [v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()]
    train = DataLoader(Videos(TRAIN, crops), batch_size=8, shuffle=True, num_workers=2)
    val = DataLoader(Videos(VAL, [v2.Resize(round(SIZE / 0.875)), v2.CenterCrop(SIZE)]), batch_size=8, num_workers=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.05)
    model.train()
    for clips, labels in train:
        optimizer.zero_grad()
        cross_entropy(model(clips), labels).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        correct = sum(int((model(clips).argmax(1) == labels).sum()) for clips, labels in val)
    print(f"top-1 {correct / len(val.dataset):.3f}")
    torch.save(model.state_dict(), OUTPUT)
