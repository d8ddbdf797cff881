"""Started by torchrun: what the processes of a run find out and decide together."""

import os
import signal
import sys
from pathlib import Path

import torch
from engine_tiny import config, run, tiny_net
from test_engine_bad_videos import loader as broken_loader
from test_engine_batch_size import Hungry, make_batch
from test_engine_midway import Mixing, drawing_loader

from videozoo.engine import Stopped, TrainingError, batch_size, load_train_state, run_folder
from videozoo.engine.batch_size import find_batch_size

SETTINGS = {"model_ema": True, "model_ema_decay": 0.6, "max_bad_frac": 0.125}


def say(*words: object) -> None:
    """One write, so that the processes' lines do not mix."""
    os.write(1, (" ".join(map(str, (os.environ["RANK"], *words))) + "\n").encode())


def main(output: Path) -> None:
    torch.set_num_threads(1)
    run_folder.plot_curves = run_folder.plot_confusion = lambda *args: None  # type: ignore[assignment]
    is_second = os.environ["RANK"] == "1"
    batch_size.free_memory = lambda: 2**40  # type: ignore[assignment]
    Hungry.most = 2 if is_second else 5
    say("SIZE", *find_batch_size(Hungry(), config(), make_batch, 1000))
    run(output / "broken", train=broken_loader(24, {3, 4, 11}), **SETTINGS)
    try:
        run(output / "too_many", train=broken_loader(24, {3, 4, 11, 12}), **SETTINGS)
    except TrainingError as error:
        say("REFUSED", error)
    run(output / "whole", net=tiny_net(drop=0.2), train=drawing_loader(), train_batch=Mixing(), **SETTINGS)
    # The second process alone hears of it, in the second epoch.
    stop = Mixing(3 if is_second else -1, lambda: signal.raise_signal(signal.SIGTERM))
    try:
        run(output / "parts", net=tiny_net(drop=0.2), train=drawing_loader(), train_batch=stop, **SETTINGS)
    except Stopped as stopped:
        torch.distributed.barrier()
        say("STOPPED", stopped.number, stop.calls, load_train_state(output / "parts/last")["current"]["step"])
    net = tiny_net(seed=5, drop=0.2)
    run(output / "parts", net=net, train=drawing_loader(), train_batch=Mixing(), resume=True, **SETTINGS)
    say("DONE", f"{net.head.weight.double().sum().item():.17g}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
