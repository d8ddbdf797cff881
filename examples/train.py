"""Train a clip model with a plain PyTorch loop on videozoo's data sets and models.

    python examples/train.py --train videos/train --val videos/val --model tsm_r18 --backbone-weights tv_in1k

The folders have one folder of videos per class. The weights of the best epoch and their config are written to --output.
All commands take that folder: videozoo predict --model runs/own clip.mp4
"""

import argparse
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from videozoo import VideoDataset, create_model, create_transform, load_source, model_config
from videozoo.data import collate_clips, resolve_data_config, sampling_options
from videozoo.engine import save_checkpoint


@torch.inference_mode()
def accuracy(model: torch.nn.Module, loader: DataLoader, device: torch.device) -> float:
    """Return the top-1 accuracy, with the scores of all views of a video averaged."""
    model.eval()
    num_correct = 0
    for batch in loader:
        video = batch["video"].to(device)  # (B, V, 3, T, H, W)
        scores = model(video.flatten(0, 1)).softmax(-1).unflatten(0, video.shape[:2]).mean(1)  # (B, K)
        num_correct += (scores.argmax(1) == batch["label"].to(device)).sum().item()
    return num_correct / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--val", required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/own"))
    parser.add_argument("--model", default="tsm_r18")
    parser.add_argument("--backbone-weights", help="ImageNet weights to start from, such as tv_in1k")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--img-size", type=int, help="height and width, by default the model's own")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train = load_source(args.train)
    val = load_source(args.val, class_names=train.class_names)
    options = {"num_classes": len(train.class_names), "backbone_weights": args.backbone_weights}
    model = create_model(args.model, **options).to(device)
    config = resolve_data_config(model, img_size=args.img_size)  # frames, size, mean and std that the model expects
    loaders = []
    for source, is_training in ((train, True), (val, False)):
        transform = create_transform(**config, is_training=is_training)
        dataset = VideoDataset(source.records, transform, **sampling_options(config, is_training=is_training))
        loader_options = {"batch_size": args.batch_size, "shuffle": is_training, "num_workers": args.workers}
        loaders.append(DataLoader(dataset, collate_fn=collate_clips, **loader_options))
    train_loader, val_loader = loaders

    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, args.epochs * len(train_loader))
    best = 0.0
    for epoch in range(args.epochs):
        train_loader.dataset.set_epoch(epoch)  # other clips and crops of the same videos
        model.train()
        for batch in train_loader:
            loss = cross_entropy(model(batch["video"].to(device)), batch["label"].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        top1 = accuracy(model, val_loader, device)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, top-1 {top1:.1%}")
        if top1 >= best:
            best = top1
            save_checkpoint(args.output, model.state_dict(), model_config(model, class_names=train.class_names))


if __name__ == "__main__":
    main()
