"""Every option that a message may name, once: on the command line, in Python, in the class like sinabs'.

Messages hold what `str(OPTION)` or `OPTION.to(value)` say when they come up; `hwspec.asking` says to whom.
"""

from __future__ import annotations

from itertools import chain

from hwspec.asking import Option, Surface, names, spoken, spoken_to, surface, together

__all__ = ["Option", "Surface", "asked_as", "names", "spoken", "spoken_to", "surface", "together"]

# Arguments of `mapper.solve`, and fields of `SolveOptions`.
CHIP = Option("--chip", "chip")
INPUT_SHAPE = Option("--input-shape", "input_shape")
INPUT_FORM = ("C,H,W", "(features, height, width)")
INPUT_FROM = Option("--input", "input_from")
ADD_OUTPUT_NEURON = Option("--add-output-neuron", "add_output_neuron")
PINS = Option("--pin", "pins", sinabs="chip_layers_ordering")
FORBIDDEN_CORES = Option("--forbid", "forbidden_cores")
MONITORS = Option("--monitor", "monitors", sinabs="monitor_layers")
LAYER_FORM = ("LAYER", "(LAYER,)")
READOUT = Option("--readout", "readout")
READOUT_MONITOR = Option("--readout-monitor", "readout_monitor")
POOLED_OUTPUTS = Option("--pooled-outputs", "pooled_outputs")
TRAFFIC = Option("--traffic", "traffic")
OBJECTIVE = Option("--objective", "objective")
KEEP = Option("--keep", "keep")
MAX_PIECES = Option("--max-pieces", "max_pieces")
MAX_COPIES = Option("--no-copies", "max_copies")
RELAYS = Option("--no-relays", "relays")
JOINT = Option("--no-joint", "joint")
FUSION = Option("--no-fusion", "fusion")
REWRITES = Option("--no-rewrites", "rewrites")
PLAIN = Option("--plain", "**mapper.options.PLAIN")
TIME_LIMIT = Option("--time-limit", "time_limit_s")
WORK_LIMIT = Option("--work-limit", "work_limit")
WORKERS = Option("--workers", "workers")
SEED = Option("--seed", "seed")
REPAIRS = Option("--repairs", "repairs")
REPAIR = Option("--repair", "repair")

# Fields of `TorchOptions`.
_TORCH = "torch=TorchOptions"
RELU_AS_IF = Option("--relu-as-if", "relu_as_if", _TORCH, "relu_as_if")
CALIBRATE = Option("--calibrate", "calibrate", _TORCH)
WEIGHTS = Option("--weights", "weights", _TORCH)
READING_CHECK = Option("--no-reading-check", "reading_check", _TORCH, "reading_check")

# Fields of `NirOptions`.
_NIR = "nir=NirOptions"
SOURCE = Option("--from", "source", _NIR)
RESET = Option("--reset", "reset", _NIR)
V_MIN = Option("--v-min", "v_min", _NIR)
SPIKE_MODE = Option("--spike-mode", "spike_mode", _NIR)
FIRES_AT = Option("--fires-at", "fires_at", _NIR)
DT = Option("--dt", "dt", _NIR)

# Arguments of `mapper.verify_equivalence`.
RATE = Option("--random", "rate")
STEPS = Option("--steps", "steps")
EVENTS = Option("--events", "events")
DATA = Option("--data", "data")
STEP_US = Option("--step-us", "dt_us")
DROP_OUTSIDE = Option("--drop-outside", "drop_outside")

# Of configurations, boards, and events of files.
SENSOR = Option("--sensor", "sensor", "EmitOptions")
NO_SENSOR = Option("--no-sensor", "sensor", "EmitOptions")
EMITTED_STEP_US = Option("--step-us", "dt_us", "EmitOptions")
READOUT_WINDOW = Option("--readout-window", "readout_window_ticks", "EmitOptions")
READOUT_THRESHOLD = Option("--readout-threshold", "readout_threshold", "EmitOptions")
IGNORE_LOSSY = Option("--ignore-lossy", "ignore_lossy")
TICK_US = Option("--tick", "tick_us", "EventOptions")
NO_REBASE = Option("--no-rebase", "start_us")
REBASE = Option("--rebase", "rebase")
ORDER = Option("--order", "order")
UNWRAP = Option("--unwrap", "unwrap")
TIME_UNIT = Option("--time-unit", "time_unit")
LAYER = Option("--layer", "layer")
INPUT = Option("--input", "input_name")

# Of reports and of chips that are sought.
RESUME = Option("--resume", "resume")
CACHE = Option("--cache", "cache")
SCHEDULER = Option("--scheduler", "scheduler")
CHIPS = Option("--chip", "chips")
VARIANTS = Option("--variant", "others")
CORES = Option("--cores", "cores")
FAN_OUT = Option("--fan-out", "fan_out")
KERNEL_WORDS = Option("--kernel-words", "kernel_words")
NEURON_WORDS = Option("--neuron-words", "neuron_words")
BIAS_WORDS = Option("--bias-words", "bias_words")
NAME = Option("--name", "name")
WHAT = Option("--what", "what")
OUTPUT = Option("--output", "name")
INPUT_NAME = Option("--input-name", "name")


def asked_as(word: str) -> str:
    """How Python asks for what a command calls so, or for a field whose owner was left out; else ""."""
    plain = word.replace("_", "-")
    options = [entry for entry in globals().values() if isinstance(entry, Option)]
    found = (entry for entry in options if plain in (entry.typed[2:], entry.typed[2:].removeprefix("no-")))
    field = (entry for entry in options if entry.owner and word == entry.written)
    option = next(chain(found, field), None)
    if option is None:
        return ""
    return f"{option.owner}({option.written}=...)" if option.owner else option.written
