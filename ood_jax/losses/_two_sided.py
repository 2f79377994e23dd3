"""What the losses over data and outliers have in common."""

from typing import Any

from .._checks import check_logits, check_same_classes, check_targets, check_where


def check_two_sided(logits_in: Any, targets_in: Any, logits_out: Any, where_in: Any, where_out: Any) -> None:
    check_logits("logits_in", logits_in)
    check_targets("targets_in", targets_in, logits_in)
    check_where("where_in", where_in, logits_in)
    if logits_out is None:
        if where_out is not None:
            raise ValueError("`where_out` must be None without `logits_out`; pass the outliers' logits, or drop it.")
        return
    check_logits("logits_out", logits_out)
    check_same_classes(logits_in, logits_out)
    check_where("where_out", where_out, logits_out)
