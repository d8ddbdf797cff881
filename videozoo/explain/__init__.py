"""Explanations of models: Grad-CAM, attention roll-out, states in ARC, DNR's norms, motion, kernels, confusions.

Everything is captured on a throw-away copy on the same weights: the model keeps no hook, gradient or mode of it, and
other threads may use it meanwhile.
"""

from videozoo.data.read_clip import ReadClip, read_clip
from videozoo.explain.arc_states import ArcStates, arc_layers, arc_states
from videozoo.explain.cam import ClassMaps, grad_cam
from videozoo.explain.confusion import group_confusion, load_evaluation
from videozoo.explain.distributions import plot_attention, plot_norms
from videozoo.explain.filmstrip import FilmRow, animate_cam, plot_cam
from videozoo.explain.norm_pairs import NormPairs, norm_pairs
from videozoo.explain.occlusion import occlusion_maps
from videozoo.explain.overlays import overlay_maps, write_animation
from videozoo.explain.plots import plot_kernels, plot_motion, plot_states
from videozoo.explain.rollout import attention_rollout
from videozoo.explain.temporal_parts import Motion, TemporalKernels, flow_colors, motion_vectors, temporal_kernels

__all__ = [
    "ArcStates",
    "ClassMaps",
    "FilmRow",
    "Motion",
    "NormPairs",
    "ReadClip",
    "TemporalKernels",
    "animate_cam",
    "arc_layers",
    "arc_states",
    "attention_rollout",
    "flow_colors",
    "grad_cam",
    "group_confusion",
    "load_evaluation",
    "motion_vectors",
    "norm_pairs",
    "occlusion_maps",
    "overlay_maps",
    "plot_attention",
    "plot_cam",
    "plot_kernels",
    "plot_motion",
    "plot_norms",
    "plot_states",
    "read_clip",
    "temporal_kernels",
    "write_animation",
]
