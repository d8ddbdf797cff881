"""Left and right in a class list that people train on."""

from videozoo.cli.mirror import mirror_labels
from videozoo.models.registry import get_pretrained_cfg


def test_something_something_v2() -> None:
    names = get_pretrained_cfg("tsm_r50.mit_ssv2_8f").label_names
    mirrors = {names[a]: None if b is None else names[b] for a, b in mirror_labels(names).items()}
    pairs = [
        ("Pulling something from left to right", "Pulling something from right to left"),
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning the camera left while filming something", "Turning the camera right while filming something"),
    ]
    swapped = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    # Its "right out" has no side; not to mirror it costs little.
    unswapped = "Plugging something into something but pulling it right out as you remove your hand"
    assert mirrors == {**swapped, unswapped: None}
