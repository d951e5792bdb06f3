"""Does the configuration do what the network does: in time steps exactly, spike by spike as measured."""

from __future__ import annotations

from mapper.equivalence.compare import FrameDifference, first_difference
from mapper.equivalence.events import EventComparison, compare_events
from mapper.equivalence.known_answer import KnownAnswer, known_answer
from mapper.equivalence.labelled import Accuracy, LabelledData, accuracies, read_labelled
from mapper.equivalence.rates import LayerRates, layer_rates
from mapper.equivalence.report import EquivalenceReport, OutputTrace
from mapper.equivalence.sensitivity import Sensitivity, count_ranges, layer_shapes, sensitivity

__all__ = [
    "Accuracy",
    "EquivalenceReport",
    "EventComparison",
    "FrameDifference",
    "KnownAnswer",
    "LabelledData",
    "LayerRates",
    "OutputTrace",
    "Sensitivity",
    "accuracies",
    "compare_events",
    "count_ranges",
    "first_difference",
    "known_answer",
    "layer_rates",
    "layer_shapes",
    "read_labelled",
    "sensitivity",
]
