"""Which options concern which source.

Of several networks that share options each takes those that concern it; what concerns none is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mapper.asking import CALIBRATE, INPUT_SHAPE, RELU_AS_IF, spoken_to, surface, together
from mapper.errors import Finding, MissingShapeError, OptionsError
from mapper.operations import Shape

if TYPE_CHECKING:
    from mapper.network import Network

__all__ = ["Concerns", "by_samples"]


class Concerns:
    """What became of options that several networks share; of one network alone, what does not concern it.

    Parameters
    ----------
    is_alone
        Refuse at once what does not concern the one network.
    """

    def __init__(self, *, is_alone: bool = False) -> None:
        self.is_alone = is_alone
        self._taken: set[str] = set()
        self._missed: dict[str, list[Finding]] = {}

    def takes(self, option: str, misfit: Finding | None) -> bool:
        """Whether a source takes an option that is given, for which `misfit` says why it does not.

        Raises
        ------
        OptionsError
            It does not, and no other source can.
        """
        if misfit is None:
            self._taken.add(option)
            return True
        if self.is_alone:
            raise OptionsError(misfit)
        self._missed.setdefault(option, []).append(misfit)
        return False

    def with_shape(
        self,
        read: Callable[[tuple[int, int, int] | None], Network],
        given: tuple[int, int, int] | None,
        name: str,
    ) -> Network:
        """A network, read with the given input shape where it states none of its own."""
        if given is None or self.is_alone:
            return read(given)
        try:
            network = read(None)
        except MissingShapeError:
            self.takes(str(INPUT_SHAPE), None)
            return read(given)
        stated = dict.fromkeys(entry.shape for entry in network.inputs)
        self.takes(str(INPUT_SHAPE), None if tuple(given) in stated else _other_shape(given, [*stated], name))
        return network

    def require(self) -> None:
        """Refuse options that concern no source.

        Raises
        ------
        OptionsError
            All of them, with what each source is instead.
        """
        idle = (found for option, found in self._missed.items() if option not in self._taken)
        if findings := [finding for found in idle for finding in found]:
            raise OptionsError(*findings)


def _other_shape(given: tuple[int, int, int], stated: list[Shape], name: str) -> Finding:
    problem = f"goes with networks that state no input shape, and {name} states one"
    limit = ", ".join(map(str, stated))
    return Finding(str(INPUT_SHAPE), problem, Shape(*given), limit, next_step="Leave it out")


def by_samples() -> str:
    """How thresholds by samples are asked for; the class like sinabs' takes no samples, but a network."""
    if surface() != "sinabs":
        return f"Give both: {together((RELU_AS_IF, 'auto'), (CALIBRATE, 'SAMPLES', 'samples'))}"
    with spoken_to("python"):
        both = together((RELU_AS_IF, "auto"), (CALIBRATE, "SAMPLES", "samples"))
    return f"Make the class of load_network(module, input_shape, {both})"
