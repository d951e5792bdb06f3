"""What may be changed of a trained network without training it, so that the chip answers better."""

from mapper.tuning.knobs import Knobs, tuned_network
from mapper.tuning.run import Tuned, TuneOptions, TuneResult, tuned_by
from mapper.tuning.search import Step
from mapper.tuning.trial import Harder

__all__ = ["Harder", "Knobs", "Step", "TuneOptions", "TuneResult", "Tuned", "tuned_by", "tuned_network"]
