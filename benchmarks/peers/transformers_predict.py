"""Predict a list of videos with transformers' pipeline."""

import sys

from transformers import AutoImageProcessor, pipeline

WEIGHTS, LIST, OUTPUT = sys.argv[1:4]

if __name__ == "__main__":
    paths = [line.split()[0] for line in open(LIST)]
    processor = AutoImageProcessor.from_pretrained(WEIGHTS)
    classify = pipeline("video-classification", model=WEIGHTS, image_processor=processor)
    classify.video_processor = None  # else it needs torchcodec and FFmpeg's libraries; now it decodes with PyAV
    answers = classify(paths, top_k=1, batch_size=8, num_workers=2)
    with open(OUTPUT, "w") as file:
        file.writelines(f"{path} {best['label']}\n" for path, (best,) in zip(paths, answers))
