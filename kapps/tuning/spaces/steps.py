"""Ranges of floats with a step, to their top.

KerasTuner 1.4.8 counts the values of such a range with `//`, so that 0.0 to 0.5 in steps of 0.1
ends at 0.4 (0.5 // 0.1 is 4.0), where its docstring says 0.5.
"""

from __future__ import annotations

import keras_tuner as kt

SLACK = 1e-6  # steps: how far rounding may take a range from a whole number of them


def mend() -> None:
    """Let `hp.Float(..., step=...)` reach its highest value, in all of KerasTuner."""
    kind = kt.engine.hyperparameters.Float
    counted, valued, placed = kind._get_n_values, kind._get_value_by_index, kind._to_prob_with_step
    if hasattr(counted, "mended"):
        return

    def count(self) -> int:
        if self.sampling != "linear":
            return counted(self)
        return int((self.max_value - self.min_value) / self.step + SLACK) + 1

    def value(self, index: int) -> float:
        if self.sampling != "linear":
            return valued(self, index)
        # 0.3, and not 0.1 + 0.2.
        return min(float(f"{self.min_value + index * self.step:.12g}"), self.max_value)

    def place(self, value: float) -> float:
        if self.sampling != "linear":
            return placed(self, value)
        index = round((value - self.min_value) / self.step)
        return (index + 0.5) / count(self)

    count.mended = True
    kind._get_n_values, kind._get_value_by_index, kind._to_prob_with_step = count, value, place
