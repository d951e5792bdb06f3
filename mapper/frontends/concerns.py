"""Which options concern which source.

Of several networks that share options each takes those that concern it; what concerns none is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mapper.asking import CALIBRATE, INPUT_SHAPE, RELU_AS_IF, spoken_to, surface, together
from mapper.errors import Finding, MissingShapeError, OptionsError
from mapper.operations import Shape

if TYPE_CHECKING:
    from mapper.network import Network

__all__ = ["Concerns", "by_samples", "no_samples"]


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
        *,
        was_read: bool,
    ) -> Network:
        """A network, read with the given input shape where it states none of its own.

        Parameters
        ----------
        was_read
            The source has its shape already, and its reader looks at no other.
        """
        if given is None or (self.is_alone and not was_read):
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
    limit = ", ".join(map(str, stated))
    step = f"Leave {INPUT_SHAPE} out"
    return Finding(name, f"states another input shape than {INPUT_SHAPE}", Shape(*given), limit, "", step)


def by_samples() -> str:
    """How thresholds by samples are asked for; the class like sinabs' takes no samples, but a network."""
    if surface() != "sinabs":
        return f"Give both: {together((RELU_AS_IF, 'auto'), (CALIBRATE, 'SAMPLES', 'samples'))}"
    with spoken_to("python"):
        both = together((RELU_AS_IF, "auto"), (CALIBRATE, "SAMPLES", "samples"))
    return f"Make the class of load_network(module, input_shape, {both})"


def no_samples(given: object) -> Finding:
    """What to say of something in the place of samples: how such a file or array is made into some."""
    is_path = isinstance(given, str | Path)
    step = "Give what mapper.equivalence.read_labelled or labelled_data makes of it"
    if is_path:
        step = f'Give mapper.equivalence.read_labelled("{given}")'
    shown = str(given) if is_path else type(given).__name__
    return Finding(str(CALIBRATE), "must be samples", shown, next_step=step)
