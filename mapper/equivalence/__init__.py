"""Does the configuration do what the network does: in time steps exactly, spike by spike as measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwspec.on_demand import loaded_on_demand

# Functions named as their modules, which else would take their place in the package.
from mapper.equivalence.known_answer import KnownAnswer, known_answer
from mapper.equivalence.sensitivity import Sensitivity, count_ranges, layer_shapes, sensitivity

if TYPE_CHECKING:
    from mapper.equivalence.accuracy import Accuracy, Difference, Judgement, LostIn
    from mapper.equivalence.compare import FrameDifference, first_difference
    from mapper.equivalence.events import EventComparison, compare_events
    from mapper.equivalence.labelled import STEPS, DataOptions, LabelledData, labelled_data, read_labelled
    from mapper.equivalence.rates import FeatureRates, LayerRates, layer_rates
    from mapper.equivalence.report import EquivalenceReport, OutputTrace

# The simulation in time steps loads torch, which a known answer does not need.
_HOME = {
    "mapper.equivalence.accuracy": ("Accuracy", "Difference", "Judgement", "LostIn"),
    "mapper.equivalence.compare": ("FrameDifference", "first_difference"),
    "mapper.equivalence.events": ("EventComparison", "compare_events"),
    "mapper.equivalence.labelled": ("STEPS", "DataOptions", "LabelledData", "labelled_data", "read_labelled"),
    "mapper.equivalence.rates": ("FeatureRates", "LayerRates", "layer_rates"),
    "mapper.equivalence.report": ("EquivalenceReport", "OutputTrace"),
}

__all__ = [
    "STEPS",
    "Accuracy",
    "DataOptions",
    "Difference",
    "EquivalenceReport",
    "EventComparison",
    "FeatureRates",
    "FrameDifference",
    "Judgement",
    "KnownAnswer",
    "LabelledData",
    "LayerRates",
    "LostIn",
    "OutputTrace",
    "Sensitivity",
    "compare_events",
    "count_ranges",
    "first_difference",
    "known_answer",
    "labelled_data",
    "layer_rates",
    "layer_shapes",
    "read_labelled",
    "sensitivity",
]


__getattr__ = loaded_on_demand(__name__, _HOME)
