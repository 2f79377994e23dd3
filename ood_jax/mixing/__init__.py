"""Augmentations that mix pairs of examples.

Each is a draw, the only place that sees a key, followed by an apply, which is deterministic:

    key -> draw_mixup -> MixupDraw -> apply_mixup -> Mixed(x, y_a, y_b, lam)

so one framework's draws can be injected into another's arithmetic, and the two compared exactly. `mixup` and `cutmix`
are the two in a row.

The batch is the first axis. Draws are one a batch by default, one a group with `groups=g`, one a row with
`per_example=True`.
"""

from ._beta import symmetric_beta
from ._box import Box, cutmix_box, kornia_box, timm_box
from ._cutmix import CutMixDraw, apply_cutmix, cutmix, draw_cutmix
from ._mixed import Mixed
from ._mixup import MixupDraw, apply_mixup, draw_mixup, mixup
from ._soft_targets import soft_targets

__all__ = [
    "Box",
    "CutMixDraw",
    "Mixed",
    "MixupDraw",
    "apply_cutmix",
    "apply_mixup",
    "cutmix",
    "cutmix_box",
    "draw_cutmix",
    "draw_mixup",
    "kornia_box",
    "mixup",
    "soft_targets",
    "symmetric_beta",
    "timm_box",
]
