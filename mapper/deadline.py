"""When a wall-clock limit ends, for everything that is done under it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from mapper.asking import TIME_LIMIT
from mapper.errors import TimeLimitError

__all__ = ["NEVER", "Deadline"]

# CP-SAT measures how often it looks at the clock, and stops before a limit that its next look would miss: a
# few thousandths of a second. A limit that is so near has been reached.
_NEAR_S, _NEAR_SHARE = 0.02, 0.02


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a wall-clock limit.

    Attributes
    ----------
    limit_s
        The limit in seconds, as it was stated.
    end_s
        Its end on `time.perf_counter`, which all processes of a machine share.
    """

    limit_s: float
    end_s: float

    @classmethod
    def after(cls, limit_s: float | None, start_s: float | None = None) -> Deadline:
        """The end of a limit that began at `start_s` on that clock, None for now; `NEVER` without one."""
        if limit_s is None:
            return NEVER
        return cls(limit_s, limit_s + (time.perf_counter() if start_s is None else start_s))

    @property
    def left_s(self) -> float:
        """Seconds until the end, below 0 after it."""
        return self.end_s - time.perf_counter()

    @property
    def is_reached(self) -> bool:
        """Whether the limit has been reached, give or take what solvers stop early."""
        return self.limit_s < math.inf and self.left_s <= max(_NEAR_S, _NEAR_SHARE * self.limit_s)

    def __str__(self) -> str:
        return f"the time limit of {self.limit_s:g} s"

    def check(self, doing: str, next_step: str = "") -> None:
        """End what is being done if the limit has been reached.

        Parameters
        ----------
        doing, next_step
            As in `TimeLimitError`; "" for what always helps.

        Raises
        ------
        TimeLimitError
            It has.
        """
        if self.is_reached:
            step = next_step or f"Raise {TIME_LIMIT} or leave it out"
            raise TimeLimitError(self.limit_s, doing, step)


NEVER = Deadline(math.inf, math.inf)
