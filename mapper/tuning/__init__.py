"""What may be changed of a trained network without training it, so that the chip answers better."""

from mapper.tuning.knobs import Knobs, tuned_network
from mapper.tuning.run import TuneOptions, TuneResult, tuned_by
from mapper.tuning.search import Step
from mapper.tuning.trial import Harder
from mapper.tuning.worth import Tuned, answers_by_order, gains, worth

__all__ = [
    "Harder",
    "Knobs",
    "Step",
    "TuneOptions",
    "TuneResult",
    "Tuned",
    "answers_by_order",
    "gains",
    "tuned_by",
    "tuned_network",
    "worth",
]
