"""The code of the guides runs as it stands."""

import re
from pathlib import Path

import jax

DOCS = Path(__file__).parents[1] / "docs"


def test_the_porting_guide_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "porting.md").read_text(), re.DOTALL)
    assert len(blocks) == 9
    scope = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(compile(block, "docs/porting.md", "exec"), scope)
    assert "agrees" in capsys.readouterr().out
