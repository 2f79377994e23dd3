"""The random draws: those of `ood_jax` follow the same distribution as those of each source.

Two generators share no stream, so what is compared is distributions: λ, the partners, the box, the share of pixels
kept, and how they go together. Every source is called as it is, with its own global generator, and what it drew is
read from what it returned. λ and the partners are held to their exact law, Beta(α, α) and all permutations alike; the
boxes are held to the source's.

All tests are chi-square tests over cells, which ties do no harm: below α of about 0.1 many λ are exactly 1 in float32.
A result's difference is -log10 of its p-value, and it agrees up to -log10 of `FALSE_ALARM`. That is the probability
with which one test reports equal distributions as different; for all of them together, fewer than 300, it stays below
3e-4. Keys and seeds are fixed, so the outcome is decided once and does not vary from run to run.

No test of distributions can see 1 - λ drawn for λ, be it to mix or to cut by, for Beta(α, α) is symmetric. The
comparison of replayed draws sees it.
"""

from .comparison import draw_cases as draw_cases
