"""Does the configuration do what the network does: in time steps exactly, spike by spike as measured."""

from __future__ import annotations

from mapper.equivalence.accuracy import Accuracy, Difference, Judgement, LostIn
from mapper.equivalence.compare import FrameDifference, first_difference
from mapper.equivalence.events import EventComparison, compare_events
from mapper.equivalence.known_answer import KnownAnswer, known_answer
from mapper.equivalence.labelled import STEPS, DataOptions, LabelledData, labelled_data, read_labelled
from mapper.equivalence.rates import FeatureRates, LayerRates, layer_rates
from mapper.equivalence.report import EquivalenceReport, OutputTrace
from mapper.equivalence.sensitivity import Sensitivity, count_ranges, layer_shapes, sensitivity

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
