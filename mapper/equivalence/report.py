"""Everything the equivalence check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hwspec.display import Shown
from mapper.by_value import ByValue
from mapper.equivalence.accuracy import Accuracy, Judgement
from mapper.equivalence.compare import FrameDifference
from mapper.equivalence.events import EventComparison
from mapper.equivalence.rates import LayerRates
from mapper.equivalence.silence import Silence
from mapper.passes.rounding import RoundingLoss

__all__ = ["EquivalenceReport", "OutputTrace"]


@dataclass(frozen=True)
class OutputTrace:
    """An output's spikes.

    Attributes
    ----------
    float_counts, chip_counts
        By neuron, in order of feature, row, column: of the float network, and spike by spike.
    times_us, neurons
        Of every spike, spike by spike.
    """

    name: str
    float_counts: tuple[float, ...]
    chip_counts: tuple[int, ...]
    times_us: tuple[int, ...]
    neurons: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class EquivalenceReport(ByValue, Shown):
    """A placed network, its configuration, and how alike they are.

    Attributes
    ----------
    steps, dt_us
        Length of the recording in time steps, and of a step.
    input_events
        Events that were put in.
    difference
        Of the configuration in time steps from the integer network: None when they are identical.
    rates
        Integer against float network; on labelled data where there is some.
    events
        Spike by spike against time steps.
    accuracies
        On labelled data, as trained down to the chip spike by spike; empty without.
    judgement
        What labelled data shows beside them; None without.
    silence
        Layers of which no neuron spiked, of which nothing is shown.
    rounding
        What rounding to integers took away.
    notes
        What a reader should know; assumptions too.
    output
        The first output, for plots.
    readings
        What was taken for granted while reading the network.
    titles
        What layers are called where people read it, by name.
    compared_with
        What of its source the network as read was found equal to; empty where nothing was.
    is_complete
        Whether neither a limit nor Ctrl-C cut the labelled data short.
    is_interrupted
        Whether Ctrl-C did.
    """

    _other_names = MappingProxyType(
        dict.fromkeys(("ok", "equivalent", "equal", "passed", "success", "same", "valid"), "is_equivalent")
    )

    network: str
    chip: str
    steps: int
    dt_us: int
    input_events: int
    difference: FrameDifference | None
    rates: tuple[LayerRates, ...]
    events: EventComparison
    accuracies: tuple[Accuracy, ...]
    notes: tuple[str, ...]
    output: OutputTrace
    readings: tuple[str, ...] = ()
    compared_with: str = ""
    judgement: Judgement | None = None
    silence: Silence = field(default_factory=Silence)
    rounding: tuple[RoundingLoss, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    is_complete: bool = True
    is_interrupted: bool = False

    def __bool__(self) -> bool:
        """As `is_equivalent`."""
        return self.is_equivalent

    @property
    def is_equivalent(self) -> bool:
        """Whether the configuration is the integer network, in every layer and step that was run."""
        return self.difference is None
