"""Predict a list of videos with MMAction2."""

import sys

from mmaction2_config import config
from mmaction.apis import inference_recognizer, init_recognizer

WEIGHTS, LIST, OUTPUT = sys.argv[1:4]

if __name__ == "__main__":
    model = init_recognizer(config("", "", *map(int, sys.argv[4:])), WEIGHTS, device="cpu")
    with open(OUTPUT, "w") as file:
        for line in open(LIST):
            path = line.split()[0]
            file.write(f"{path} {int(inference_recognizer(model, path).pred_score.argmax())}\n")
