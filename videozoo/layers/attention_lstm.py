"""Head of Att-LSTM: spatial attention guided by a recurrent state."""

import torch
from torch import Tensor, nn

__all__ = ["AttentionLSTM"]


class AttentionLSTM(nn.Module):
    """Head that looks at one place of each frame after the other and keeps a state.

    The state h of the frames so far guides where the next frame is looked at: with the feature f_p at position p::

        a_p = softmax over p of w . tanh(K f_p + Q h)
        x = sum over p of a_p f_p
        h, c = LSTM(x, h, c)

    The classifier takes the mean of all h. The LSTM is built from linear layers, so that counters of costs see it.

    Args:
        in_features: channels C of the maps.
        num_segments: frames S. The weights fit any number.
        num_classes: classes.
        hidden: size of the state and of the attention.
    Shape:
        input (B, S, C, H, W), output (B, num_classes).
    """

    mixes_time = True
    takes_maps = True

    def __init__(self, in_features: int, num_segments: int, num_classes: int, hidden: int = 512) -> None:
        super().__init__()
        self.num_segments, self.hidden = num_segments, hidden
        self.key = nn.Linear(in_features, hidden)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.gates = nn.Linear(in_features + hidden, 4 * hidden)
        self.classify = nn.Linear(hidden, num_classes)
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = x.flatten(3).transpose(2, 3)  # (B, S, P, C)
        keys = self.key(features)
        h = c = features.new_zeros(features.shape[0], self.hidden)
        states = []
        for s in range(self.num_segments):
            places = self.score(torch.tanh(keys[:, s] + self.query(h)[:, None])).softmax(1)  # (B, P, 1)
            seen = (places * features[:, s]).sum(1)
            i, f, g, o = self.gates(torch.cat((seen, h), 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return self.classify(torch.stack(states, 1).mean(1))
