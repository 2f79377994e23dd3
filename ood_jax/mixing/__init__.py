"""Augmentations that mix pairs of examples.

Each is a draw, the only place that sees a key, followed by an apply, which is deterministic:

    key -> draw_mixup -> MixupDraw -> apply_mixup -> Mixed(x, y_a, y_b, lam)

so one framework's draws can be injected into another's arithmetic, and the two compared exactly. `mixup` and `cutmix`
are the two in a row.

The batch is the first axis. Draws are one a batch by default, one a group with `groups=g`, one a row with
`per_example=True`.
"""

from ._beta import symmetric_beta as symmetric_beta
from ._box import Box as Box
from ._box import cutmix_box as cutmix_box
from ._box import kornia_box as kornia_box
from ._box import timm_box as timm_box
from ._cutmix import CutMixDraw as CutMixDraw
from ._cutmix import apply_cutmix as apply_cutmix
from ._cutmix import cutmix as cutmix
from ._cutmix import draw_cutmix as draw_cutmix
from ._mixed import Mixed as Mixed
from ._mixup import MixupDraw as MixupDraw
from ._mixup import apply_mixup as apply_mixup
from ._mixup import draw_mixup as draw_mixup
from ._mixup import mixup as mixup
from ._soft_targets import soft_targets as soft_targets
