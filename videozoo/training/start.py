"""Default start of a training if no setting names weights.

Heavy imports inside.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from videozoo.arguments import UsageError, flag_of
from videozoo.launch import num_processes

from .checks import whole_starts
from .model import make_model
from .run_log import note, warn
from .settings import Settings

if TYPE_CHECKING:
    from videozoo.models import Ensemble, VideoNet
    from videozoo.models.default_start import Start


def make_started_model(settings: Settings, class_names: Sequence[str]) -> "VideoNet | Ensemble":
    """Create the model to train.

    Without a named start, the best available weights are used.

    These are the published weights of the name, those of its base (ARC and DNR) or ImageNet weights of its backbone.
    Offline, only cached weights are used. The choice is set in ``settings``, as if the user had given it. The number of
    frames is that in ``settings`` or else of the model name. Weights that do not fit are skipped.
    """
    from videozoo.models import WeightsError
    from videozoo.models.default_start import default_starts
    from videozoo.models.registry import spec_of

    if settings.is_continued or names_start(settings):
        return make_model(settings, class_names)
    reasons = []
    for start in default_starts(settings.model):
        if not start.can_be_had():
            reasons.append(f"{start.name} is not in the cache, and its server cannot be reached")
            continue
        frames = settings.num_frames or spec_of(settings.model).num_frames
        changes = {start.option: start.value, "num_frames": frames, "default_start": start.name}
        trial = Settings(**{**vars(settings), **changes})
        try:
            model = make_model(trial, class_names)
        except UsageError:
            raise
        except (WeightsError, ValueError) as error:
            reasons.append(f"{start.name}: {error}")
            continue
        for reason in reasons:
            note(f"not the default start: {reason}")
        setattr(settings, start.option, start.value)
        settings.default_start = start.name
        return model
    settings.from_scratch = True
    if reasons:
        lines = "".join(f"\n  {reason}" for reason in reasons)
        warn(f"training from scratch, as no weights to start from can be had; few videos will not be enough{lines}")
    return make_model(settings, class_names)


def choose_model(settings: Settings) -> None:
    """Set ``model`` to good weights for this machine, fetched if needed, and log which and why.

    Offline these are weights that are cached, else the bundled ones.
    """
    from videozoo.devices import find_device
    from videozoo.models.registry import weights_facts

    from .choose import BUNDLED_START, Machine, describe_weights, good_starts

    machine = Machine.of(find_device(settings.device))
    facts = weights_facts()
    for start in good_starts(machine, facts):
        if not (problem := _fetch(start)):
            break
        note(f"not {start.name}, the start for {machine}: {problem}")
    settings.model = start.name
    if start.name == BUNDLED_START:
        warn(f"no --model: {start.name}, a small model, as no other weights are here; expect little of it")
    else:
        known = describe_weights(start.name, facts[start.name])
        note(f"no --model: {known}, for {machine}; --model NAME takes another")


def _fetch(start: "Start") -> str:
    """Put weights into the cache, and return why that is not possible, or an empty text."""
    from videozoo.models import WeightsError, get_pretrained_cfg
    from videozoo.models.pretrained import weights_folder

    if not start.can_be_had():
        return "not in the cache, and its server cannot be reached"
    try:
        weights_folder(start.name, get_pretrained_cfg(start.name))
    except WeightsError as error:
        return error.reason
    return ""


def names_start(settings: argparse.Namespace) -> bool:
    """Return whether the settings name the start: some weights, or a training from scratch."""
    return bool(settings.from_scratch or settings.backbone_weights or whole_starts(vars(settings)))


def check_same_start(settings: Settings) -> None:
    """Refuse a run whose processes found different weights to start from, as with different caches.

    Raises:
        UsageError: names both starts.
    """
    if num_processes() == 1:
        return
    from accelerate.utils import gather_object

    own = settings.default_start or ("nothing" if "model" in settings.given else settings.model)
    found = sorted(set(gather_object([own])))
    if len(found) > 1:
        flags = ", ".join(map(flag_of, ("model", "pretrained", "init_from", "backbone_weights", "from_scratch")))
        raise UsageError(
            f"the processes start from different weights ({' and '.join(found)}); name the start: {flags}."
        )
