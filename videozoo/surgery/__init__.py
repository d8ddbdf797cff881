"""Functions that change a built model in place, at sites found by exact class."""

from videozoo.surgery.insert_after import insert_after
from videozoo.surgery.pre_conv import PostConv2d, PreConv2d, adopt
from videozoo.surgery.relay_stage import RelayStage, hand_over, new_state, take_over_checkpointing
from videozoo.surgery.replace import (
    find_spatial,
    insert_before,
    plan_append,
    plan_before,
    reparameterizer,
    replace_modules,
    set_submodule,
    write_plan,
)
from videozoo.surgery.sites import BLOCK_SITES, Block, BlockSites, find_blocks
from videozoo.surgery.stages import feature_rows, find_backbones, stage_modules, stage_prefixes

__all__ = [
    "BLOCK_SITES",
    "Block",
    "BlockSites",
    "PostConv2d",
    "PreConv2d",
    "RelayStage",
    "adopt",
    "feature_rows",
    "find_backbones",
    "find_blocks",
    "find_spatial",
    "hand_over",
    "insert_after",
    "insert_before",
    "new_state",
    "plan_append",
    "plan_before",
    "reparameterizer",
    "replace_modules",
    "set_submodule",
    "stage_modules",
    "stage_prefixes",
    "take_over_checkpointing",
    "write_plan",
]
