"""Tests of Att-LSTM: its head against a loop with torch's LSTM cell, where it looks, and its refusals."""

from typing import Any

import pytest
import torch
from helpers import clips, randomize
from torch import Tensor, nn

import videozoo
from videozoo import TPN, AttLSTM, compose
from videozoo.layers import AttentionLSTM


def slow_head(head: AttentionLSTM, x: Tensor) -> Tensor:
    """One clip, one frame and one place after the other; the LSTM is torch's."""
    cell = nn.LSTMCell(x.shape[2], head.hidden).double()
    with torch.no_grad():
        cell.weight_ih.copy_(head.gates.weight[:, : x.shape[2]])
        cell.weight_hh.copy_(head.gates.weight[:, x.shape[2] :])
        cell.bias_ih.copy_(head.gates.bias)
        cell.bias_hh.zero_()
    logits = []
    for clip in x:
        h = c = torch.zeros(1, head.hidden).double()
        states = []
        for frame in clip:
            scores = torch.stack(
                [
                    head.score(torch.tanh(head.key(frame[:, i, j]) + head.query(h)[0]))[0]
                    for i in range(frame.shape[1])
                    for j in range(frame.shape[2])
                ]
            )
            seen = (scores.softmax(0) * frame.flatten(1)).sum(1)
            h, c = cell(seen[None], (h, c))
            states.append(h[0])
        logits.append(head.classify(torch.stack(states).mean(0)))
    return torch.stack(logits)


def test_head_equals_a_loop() -> None:
    head: Any = randomize(AttentionLSTM(6, 4, 3, hidden=5)).double()
    x = torch.randn(2, 4, 6, 3, 2).double()
    with torch.no_grad():
        torch.testing.assert_close(head(x), slow_head(head, x))


def test_model_classifies_maps() -> None:
    net: Any = randomize(compose("tiny_resnet", AttLSTM(hidden=16), num_classes=5, num_frames=4)).eval()
    x = clips(2, 4, 48)
    with torch.no_grad():
        maps = net.forward_features(x)
        torch.testing.assert_close(net(x), net.fc(maps.transpose(1, 2)))
        assert net.forward_head(maps, pre_logits=True).shape == (2, net.head_hidden_size)
        net.set_num_frames(2)
        assert net(x[:, :, :2]).shape == (2, 5)
    net.reset_classifier(0)
    assert net(x[:, :, :2]).shape == (2, net.head_hidden_size)


def test_registered_model_takes_64_frames() -> None:
    with torch.device("meta"):
        net = videozoo.create_model("att_lstm_r18", num_classes=48)
        assert net(torch.zeros(1, 3, 64, 64, 64)).shape == (1, 48)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttLSTM(hidden=0), "AttLSTM: hidden is 0"),
        (lambda: compose("mobilenetv3_small_050", AttLSTM()), "AttLSTM: MobileNetV3 has layers behind its pooling"),
        (lambda: compose("resnet18", AttLSTM(), [TPN()]), "AttLSTM classifies the features of every frame, and TPN"),
        (lambda: compose("tiny_resnet", AttLSTM()).streaming(), "the head of AttLSTM takes the maps of a whole clip"),
    ],
)
def test_refusals_say_what_to_do(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
