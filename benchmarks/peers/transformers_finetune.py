"""Fine-tune one epoch with transformers' Trainer."""

import sys

import av
import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2
from transformers import AutoImageProcessor, AutoModelForVideoClassification, Trainer, TrainingArguments

WEIGHTS, TRAIN, VAL, OUTPUT = sys.argv[1:5]
CLASSES, FRAMES, SIZE = map(int, sys.argv[5:])


class Videos(Dataset):
    def __init__(self, path, transform, processor):
        self.lines = [line.split() for line in open(path)]
        self.transform = transform
        self.mean, self.std = processor.image_mean, processor.image_std

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        path, label = self.lines[index]
        with av.open(path) as container:
            images = list(container.decode(video=0))
        wanted = [images[(2 * i + 1) * len(images) // (2 * FRAMES)] for i in range(FRAMES)]
        clip = torch.stack([torch.from_numpy(image.to_ndarray(format="rgb24")).permute(2, 0, 1) for image in wanted])
        clip = v2.functional.normalize(self.transform(clip).float() / 255, self.mean, self.std)
        return {"pixel_values": clip, "labels": int(label)}


def top1(answers):
    return {"top1": float((answers.predictions.argmax(1) == answers.label_ids).mean())}


if __name__ == "__main__":
    model = AutoModelForVideoClassification.from_pretrained(WEIGHTS)
    processor = AutoImageProcessor.from_pretrained(WEIGHTS)
    for_training = v2.Compose([v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()])
    for_test = v2.Compose([v2.Resize(round(SIZE / 0.875)), v2.CenterCrop(SIZE)])
    settings = TrainingArguments(
        OUTPUT,
        num_train_epochs=1,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=8,
        learning_rate=5e-4,
        weight_decay=0.05,
        eval_strategy="epoch",
        save_strategy="epoch",
        dataloader_num_workers=2,
        remove_unused_columns=False,
        report_to="none",
    )
    trainer = Trainer(
        model,
        settings,
        train_dataset=Videos(TRAIN, for_training, processor),
        eval_dataset=Videos(VAL, for_test, processor),
        compute_metrics=top1,
    )
    trainer.train()
