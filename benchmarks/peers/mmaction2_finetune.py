"""Fine-tune one epoch with MMAction2."""

import sys

from mmaction2_config import config
from mmengine.runner import Runner

WEIGHTS, TRAIN, VAL, OUTPUT = sys.argv[1:5]

if __name__ == "__main__":
    settings = config(TRAIN, VAL, *map(int, sys.argv[5:]))
    settings.update(load_from=WEIGHTS, work_dir=OUTPUT)
    Runner.from_cfg(settings).train()
