"""What the suite measures, by theme, and the processes that it runs in."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from . import growth, public_calls, startup
from .loss_rows import loss_rows
from .metric_rows import metric_rows
from .mixing_rows import mixing_rows
from .pipeline_rows import pipeline_rows
from .sampling_rows import sampling_rows
from .training_rows import training_rows

# Above 32 MiB glibc maps fresh pages for each array, and gives them back: then a pass costs page faults, not bytes.
# With these it keeps what was freed. XLA's results come from its own threads, whose arenas hold no array above 64 MiB,
# so there must be one arena for all. Even so about half of XLA's pages were fresh; of huge ones there are few.
ALLOCATORS: Mapping[str, Mapping[str, str]] = {
    "default": {},
    "raised": {
        **{name: str(2**32) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")},
        "MALLOC_ARENA_MAX": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    },
}


class Theme(NamedTuple):
    """A part of the suite that has a process of its own, and one more for the other allocator if that matters.

    Attributes:
      title: for the page.
      rows: contests.
      sweeps: of what grows.
      functions: whether every public function is compiled.
      environment: of the process.
    """

    title: str
    rows: Callable[..., Iterator[Any]] | None = None
    sweeps: Callable[..., Iterator[growth.Sweep]] | None = None
    functions: bool = False
    environment: Mapping[str, str] = {}


THEMES: Mapping[str, Theme] = {
    "mixing": Theme("Mixing", mixing_rows),
    "pipeline": Theme("From uint8 images to normalised, mixed bfloat16 ones", pipeline_rows),
    "losses": Theme("Losses, value and gradient", loss_rows),
    "sampling": Theme("Sampling λ", sampling_rows),
    "metrics": Theme("Metrics", metric_rows),
    "training": Theme("Whole training steps", training_rows),
    "growth": Theme("Growth", sweeps=growth.sweeps),
    "devices": Theme(
        "Devices", sweeps=growth.device_sweeps, environment={"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    ),
    "startup": Theme("Start-up", startup.import_rows, functions=True),
}


class Item(NamedTuple):
    """A thing to measure: its theme, its name, and what the theme lists: a row, a sweep, or a function's name."""

    theme: str
    name: str
    what: Any
    pages: bool = False


def items(*, quick: bool) -> Iterator[Item]:
    for key, theme in THEMES.items():
        for row in theme.rows(quick=quick) if theme.rows else ():
            yield Item(key, row.name, row, row.pages)
        for sweep in theme.sweeps(quick=quick) if theme.sweeps else ():
            yield Item(key, f"{sweep.name} by {sweep.size}", sweep)
        if theme.functions:
            public_calls.check_complete()
            for name in public_calls.public_names():
                yield Item(key, name, name)
