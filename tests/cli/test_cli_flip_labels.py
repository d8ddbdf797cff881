"""Left and right in a class list that people train on."""

import pytest

from videozoo.models.registry import get_pretrained_cfg
from videozoo.training.flip_labels import describe_mirrors, describe_verticals, mirror_labels, vertical_labels


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


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("TurnLeft", "TurnRight"),
        ("turnLeft", "turnRight"),
        ("SwipeLEFT", "SwipeRIGHT"),
        ("LeftTurn", "RightTurn"),
        ("swipe_left", "swipe_right"),
        ("swipe-left-fast", "swipe-right-fast"),
        ("SWIPE LEFT", "SWIPE RIGHT"),
        ("left2", "right2"),
        ("12left", "12right"),
        ("Swipe2Left", "Swipe2Right"),
        ("punch_L", "punch_R"),
        ("punch r", "punch l"),
        ("KickL", "KickR"),
        ("LTurn", "RTurn"),
        ("L2", "R2"),
        ("lean leftwards", "lean rightwards"),
        ("left-handed", "right-handed"),
        ("Lefthand", "Righthand"),
        ("ClockwiseTurn", "CounterclockwiseTurn"),
        ("TurnClockwise", "TurnCounterClockwise"),
        ("TurnClockWise", "TurnAntiClockWise"),
        ("turn clockwise", "turn counter-clockwise"),
        ("turn_clockwise", "turn_anti_clockwise"),
        ("TURN CLOCKWISE", "TURN ANTICLOCKWISE"),
        ("spin_cw", "spin_ccw"),
        ("SpinCW", "SpinCCW"),
        ("swipeleft", "swiperight"),
        ("Pushing from left to right", "Pushing from right to left"),
        ("turn_left", "Turn_Right"),
    ],
)
def test_sides_in_every_spelling(left: str, right: str) -> None:
    names = ["bright", "upright", left, "leftover", "rightly", right, "copyright"]
    mirrors = mirror_labels(names)
    assert mirrors == {2: 5, 5: 2}
    assert f"{left} <-> {right}" in describe_mirrors(names, mirrors)
    assert mirror_labels([left]) == ({0: None} if left != "swipeleft" else {})


@pytest.mark.parametrize(
    "name",
    ["Brightness", "BRIGHT", "Upright", "Copyright", "leftover", "Leftovers", "rightly", "cleft", "clockwork", "Roll",
     "LR", "all", "fright", "RGB", "calculator", "Acwell", "aleft"],
)  # fmt: skip
def test_words_that_are_no_sides(name: str) -> None:
    assert mirror_labels([name, "other"]) == {}
    assert "no class name has left" in describe_mirrors([name], {})


@pytest.mark.parametrize(
    "name", ["Swipe up", "swipe_down", "SwipeDown", "arms_raise", "arms_lower", "Lifting", "stand_up", "bend_down",
             "turn clockwise", "CounterclockwiseTurn", "spin_ccw", "moving upwards"]
)  # fmt: skip
def test_vertical_flips_leave_up_and_down_alone(name: str) -> None:
    assert vertical_labels(["wave", name, "upright?", "cup", "clapping"]) == {1: None}


def test_vertical_flips_are_described() -> None:
    names = ["wave", "swipe up", "swipe down"]
    assert describe_verticals(names, vertical_labels(names)) == "vertical flips: never flipped: swipe up, swipe down"
    assert "no class name has up, down" in describe_verticals(["wave", "left"], vertical_labels(["wave", "left"]))
