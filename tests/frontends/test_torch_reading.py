"""The reading check: what a module computes otherwise than it was read is refused, and nothing else is."""

from __future__ import annotations

import copy
import os
import types
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.ao.nn import qat
from torch.ao.quantization import FakeQuantize, MinMaxObserver, QConfig
from torch.nn.utils import parametrize, prune

from mapper.by_value import same
from mapper.errors import NetworkError
from mapper.frontends import TorchOptions, load_network
from mapper.frontends.from_torch.rerun import _copied
from tests.frontends.framework_stand_ins import IAFCell, IFNode, Leaky, QuantConv2d, SequentialState
from tests.frontends.random_modules import check_random_modules
from tests.frontends.sinabs_stand_in import IAFSqueeze, NeuromorphicReLU, SumPool2d
from tests.frontends.test_torch import SHAPE, Made, conv, read

INSTANCES = int(os.environ.get("MAPPER_INSTANCES", "90"))
UNCHECKED = TorchOptions(relu_as_if=1.0, reading_check=False)


def spiking() -> nn.Module:
    return IAFSqueeze(torch.tensor(1.0), torch.tensor(-1.0))


def chain(neurons: Any = spiking) -> Any:
    torch.manual_seed(0)
    module: Any = nn.Sequential(
        conv(bias=False), neurons(), nn.AvgPool2d(2), conv(4, 3, 2, bias=False), neurons()
    )
    with torch.no_grad():
        for layer in (module[0], module[3]):
            layer.weight.mul_(4).add_(0.05)
    return module.eval()


def message(module: nn.Module, shape: Any = SHAPE) -> str:
    with pytest.raises(NetworkError) as caught:
        read(module, shape)
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert "torch=TorchOptions(reading_check=False)" in text
    assert load_network(module, shape, torch=UNCHECKED).layers
    return text


def _forward(module: Any, factor: float) -> None:
    old = module.forward
    module.forward = types.MethodType(lambda self, x: old(x) * factor, module)


def _hooked(place: int, factor: float) -> Any:
    return lambda m: m[place].register_forward_hook(lambda q, i, o: o * factor)


@pytest.mark.parametrize("neurons", [spiking, nn.ReLU])
@pytest.mark.parametrize(
    ("change", "where", "told"),
    [
        (_hooked(0, 2.0), "layer 0 (Conv2d): ", "its current in step 0"),
        (_hooked(1, 2.0), "layer 0 (Conv2d): ", "1 has forward hooks"),
        (_hooked(2, 4.0), "layer 3 (Conv2d): ", "2 has forward hooks"),
        (_hooked(4, 0.0), "layer 3 (Conv2d): ", "4 has forward hooks"),
        (lambda m: m[0].register_forward_pre_hook(lambda q, i: (i[0] * 2,)), "layer 0 (Conv2d): ", "0 has forward hooks"),
        (lambda m: m.register_forward_pre_hook(lambda q, i: (i[0] * 0,)), "layer 0 (Conv2d): ", "0 in the module"),
        (lambda m: m.register_forward_hook(lambda q, i, o: o * 2), "output: ", "the module has forward hooks"),
        (lambda m: _forward(m[3], 2.0), "layer 3 (Conv2d): ", "3 has a forward of its own"),
        (lambda m: _forward(m[1], 0.0), "layer 0 (Conv2d): ", "1 has a forward of its own"),
        (
            lambda m: m[1].register_forward_hook(lambda q, i, o: o * (torch.arange(4).view(1, 4, 1, 1) > 0)),
            "layer 0 (Conv2d): ",
            "feature 0",
        ),
    ],
)  # fmt: skip
def test_what_is_put_on_objects_is_refused_with_both_values(
    change: Any, where: str, told: str, neurons: Any
) -> None:
    module = chain(neurons)
    change(module)
    text = message(module)
    assert text.startswith(where)
    assert told in text
    assert "in the module" in text
    assert "as read" in text


def test_what_changes_nothing_is_read() -> None:
    module = chain()
    seen: list[Any] = []
    module[1].register_forward_hook(lambda q, i, o: seen.append(o.shape))
    module[0].register_forward_pre_hook(lambda q, i: None)
    _forward(module[3], 1.0)
    assert same(read(module).layers, read(chain()).layers)


def test_silent_layers_are_driven() -> None:
    """A layer whose sources never spike by themselves is compared all the same."""
    module = chain()
    with torch.no_grad():
        module[0].weight.mul_(1e-7)
    assert read(module).layers
    module[3].register_forward_hook(lambda q, i, o: o * 2)
    assert "layer 3" in message(module)


def test_neurons_that_can_never_spike_are_told() -> None:
    module = chain()
    with torch.no_grad():
        module[3].weight.copy_(-module[3].weight.abs())
    (reading,) = read(module).readings
    assert reading.subject == "layer 3 (Conv2d)"
    assert "not compared" in reading.taken


def test_the_check_can_be_left_out() -> None:
    (reading,) = load_network(chain(), SHAPE, torch=UNCHECKED).readings
    assert "not compared" in reading.taken
    assert "torch=TorchOptions(reading_check=False)" in reading.otherwise


def test_states_of_one_call_are_not_those_of_the_next() -> None:
    """Neurons whose state forward makes anew integrate nothing."""

    def forward(self: Any, x: Any) -> Any:
        self.s.v_mem = self.zero
        return self.s(self.c(x))

    module = Made(forward, c=conv(bias=False), s=IAFSqueeze())
    module.zero = torch.zeros(0)
    with pytest.raises(NetworkError, match="computes something else"):
        read(nn.Sequential(module))


def test_a_module_that_fails_is_refused_with_its_error() -> None:
    def forward(self: Any, x: Any) -> Any:
        return self.s(self.c(x))

    module = Made(forward, c=conv(bias=False), s=spiking())
    module.c.register_forward_hook(lambda q, i, o: o.undefined())  # type: ignore[union-attr]
    assert "AttributeError" in message(module)


def test_ties_at_the_threshold_are_no_difference() -> None:
    """Sums of tenths reach a threshold of 1 in one order of summation and miss it in another."""
    torch.manual_seed(0)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        module = chain()
        with torch.no_grad():
            for layer in (module[0], module[3]):
                layer.weight.copy_(torch.randint(-3, 8, layer.weight.shape, generator=generator) / 10)
        assert read(module).layers


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_other_precisions(dtype: torch.dtype) -> None:
    assert read(chain().to(dtype)).layers
    assert read(chain(nn.ReLU).to(dtype)).layers


def test_a_rectifier_that_rounds() -> None:
    assert read(chain(NeuromorphicReLU)).layers


def test_dropout_that_is_never_off_is_refused() -> None:
    module = Made(lambda self, x: self.s(self.c(F.dropout(x, 0.5))), c=conv(), s=spiking())
    with pytest.raises(NetworkError, match="at random"):
        read(module)


def test_pruned_weights_are_the_current_ones() -> None:
    module = chain(nn.ReLU)
    prune.L1Unstructured.apply(module[0], "weight", 0.5)  # type: ignore[no-untyped-call]
    loaded = chain(nn.ReLU)
    prune.Identity.apply(loaded[0], "weight")  # type: ignore[no-untyped-call]
    with torch.no_grad():
        module[0].weight_orig.mul_(2)
    loaded.load_state_dict(module.state_dict())
    kept = (module[0].weight_orig * module[0].weight_mask).detach().numpy()
    for entry in (module, loaded):
        weight = np.asarray(read(entry).layers[0].operation.weight)
        assert np.array_equal(weight, kept)
        assert (weight == 0).sum() == 36


def test_normalised_weights_are_the_current_ones() -> None:
    plain = np.asarray(read(chain(nn.ReLU)).layers[0].operation.weight)
    module = chain(nn.ReLU)
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(module[0])
    with torch.no_grad():
        module[0].weight_g.mul_(3)
    assert np.allclose(np.asarray(read(module).layers[0].operation.weight), 3 * plain)
    module = chain(nn.ReLU)
    nn.utils.spectral_norm(module[0])
    assert read(module).layers
    module = chain(nn.ReLU)
    nn.utils.parametrizations.weight_norm(module[0])
    with torch.no_grad():
        module[0].parametrizations.weight.original0.mul_(3)
    assert np.allclose(np.asarray(read(module).layers[0].operation.weight), 3 * plain)


class _Ternary(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.sign(weight) * (weight.abs() > 0.1)


def test_a_quantiser_of_ones_own_by_parametrisation() -> None:
    module = chain(nn.ReLU)
    parametrize.register_parametrization(module[0], "weight", _Ternary())
    assert set(np.unique(np.asarray(read(module).layers[0].operation.weight))) <= {-1.0, 0.0, 1.0}


def _quantised(bits: int = 2) -> Any:
    most = (1 << bits - 1) - 1
    weights = FakeQuantize.with_args(  # type: ignore[no-untyped-call]
        observer=MinMaxObserver,
        quant_min=-most - 1,
        quant_max=most,
        dtype=torch.qint8,
        qscheme=torch.per_tensor_symmetric,
    )
    config = QConfig(activation=nn.Identity, weight=weights)  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    return nn.Sequential(
        qat.Conv2d(2, 4, 3, bias=False, qconfig=config),
        nn.ReLU(),
        nn.Flatten(),
        qat.Linear(144, 3, qconfig=config),
        nn.ReLU(),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("has_run", [True, False])
def test_layers_of_quantisation_aware_training(has_run: bool) -> None:
    module = _quantised()
    if has_run:
        module(torch.rand(2, *SHAPE))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = read(module.eval())
    assert all(len(np.unique(np.asarray(layer.operation.weight))) <= 4 for layer in network.layers)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_layers_of_brevitas() -> None:
    module: Any = nn.Sequential(QuantConv2d(2, 4, 3, bias=False), nn.ReLU()).eval()
    weight = np.asarray(read(module).layers[0].operation.weight)
    assert np.unique(weight).size == 3
    module[0].input_quant = types.SimpleNamespace(is_quant_enabled=True)
    with pytest.raises(NetworkError, match="input_quant"):
        read(module)


@pytest.mark.parametrize(
    ("neurons", "container", "reset", "fires_at"),
    [
        (IFNode, nn.Sequential, "zero", "reached"),
        (lambda: IFNode(v_reset=None), nn.Sequential, "subtract", "reached"),
        (Leaky, nn.Sequential, "subtract", "above"),
        (lambda: Leaky(reset_mechanism="zero"), nn.Sequential, "zero", "above"),
        (IAFCell, SequentialState, "zero", "above"),
    ],
)
def test_neurons_of_other_frameworks(neurons: Any, container: Any, reset: str, fires_at: str) -> None:
    parts = list(chain(neurons))
    network = read(container(*parts))
    for layer in network.layers:
        assert layer.neuron is not None
        found = (layer.neuron.reset, layer.neuron.fires_at, layer.neuron.spike_mode, layer.neuron.minimum)
        assert found == (reset, fires_at, "single", None)
    parts[3].register_forward_hook(lambda q, i, o: o * 2)
    assert "layer 3" in message(container(*parts))


def test_spikes_that_come_with_a_state() -> None:
    module = Made(lambda self, x: self.s(self.c(x))[0], c=conv(bias=False), s=Leaky(output=True))
    assert read(module).layers[0].neuron is not None


def test_states_that_forward_makes_anew_are_told() -> None:
    def forward(self: Any, x: Any) -> Any:
        one = self.s.init_leaky()
        spikes, one = self.s(self.c(x), one)
        return spikes

    text = message(Made(forward, c=conv(bias=False), s=Leaky(init_hidden=False)))
    assert "its number of spikes in step" in text
    assert "s has init_hidden=False" in text
    assert "write Leaky(beta=1.0, init_hidden=True) and leave the membranes out of forward" in text
    kept = Made(lambda self, x: self.s(self.c(x)), c=conv(bias=False), s=Leaky())
    assert read(kept).layers[0].neuron is not None


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (IFNode(v_reset=0.5), "v_reset"),
        (IFNode(v_threshold=-1.0), "must be positive"),
        (Leaky(beta=0.9), "leak"),
        (Leaky(reset_mechanism="none"), "never reset"),
    ],
)
def test_neurons_of_other_frameworks_that_no_core_has(layer: nn.Module, text: str) -> None:
    with pytest.raises(NetworkError, match=text):
        read(nn.Sequential(conv(), layer))


def test_what_is_not_read_goes_by_nir() -> None:
    for package, exporter in (
        ("spikingjelly", "nir_exchange"),
        ("snntorch", "export_nir"),
        ("norse", "to_nir"),
    ):
        kind = type(
            "LIFOfTheirs", (nn.Identity,), {"__module__": f"{package}.neurons", "forward": lambda m, x: x}
        )
        with pytest.raises(NetworkError, match=f"NIR with .*{exporter}"):
            read(nn.Sequential(conv(), kind()))


def test_what_leaks_is_not_sent_to_an_exporter_whose_file_would_leak() -> None:
    fields = {"__module__": "spikingjelly.neurons", "forward": lambda m, x: x}
    kind = type("LIFNode", (nn.Identity,), fields)
    with pytest.raises(NetworkError, match="leak") as caught:
        read(nn.Sequential(conv(), kind(), nn.AvgPool2d(2)))
    assert "NIR" not in str(caught.value)
    # A pool or an output behind what is refused is no problem of its own.
    assert len(caught.value.findings) == 1
    with pytest.raises(NetworkError) as caught:
        read(nn.Sequential(nn.MaxPool2d(2)))
    assert len(caught.value.findings) == 1


class _Own(nn.Module):
    """A class that copies itself in its own way, as those of sinabs do."""

    def __init__(self) -> None:
        super().__init__()
        self.tool = (n for n in range(3))

    def __deepcopy__(self, memo: Any) -> Any:
        return _Own()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_copies_keep_what_objects_were_given() -> None:
    inner = _Own()
    inner.register_forward_hook(lambda q, i, o: o * 2)
    module = nn.Sequential(inner, inner)
    module[0].register_buffer("state", torch.ones(2, requires_grad=True) * 2)
    other = _copied(module)
    assert other[0] is other[1]  # type: ignore[index]
    assert other[0] is not inner  # type: ignore[index]
    assert other(torch.ones(1)).item() == 4
    assert other[0].tool is inner.tool  # type: ignore[index]
    with pytest.raises(TypeError):
        copy.deepcopy(inner.tool)


def test_nothing_changes_but_the_copy() -> None:
    module = chain()
    module.train()
    module[1].v_mem = torch.ones(1, 4, 6, 6)
    old = module[4].forward
    # This forward runs the user's own module, whatever copy it is called on.
    module[4].forward = lambda x: old(x)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    assert read(module).layers
    assert torch.equal(torch.rand(3), expected)
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(entry.training for entry in module.modules())
    assert not any(entry._forward_hooks or entry._forward_pre_hooks for entry in module.modules())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("neurons", [spiking, nn.ReLU])
def test_layers_that_pass_signals_on_are_part_of_the_network_alone(neurons: Any) -> None:
    """The skip of a textbook block: a layer of its own takes its stride, and no module is called there."""

    def forward(self: Any, x: Any) -> Any:
        x = self.sa(self.a(x))
        return self.sc(self.c(self.sb(self.b(x))) + self.skip(x))

    convolutions = {"a": conv(padding=1), "b": conv(4, 4, padding=1, stride=2), "c": conv(4, 4, padding=1)}
    modules = {
        **convolutions,
        "skip": conv(4, 4, 1, stride=2),
        "sa": neurons(),
        "sb": neurons(),
        "sc": neurons(),
    }
    network = read(Made(forward, **modules).eval())
    assert any("strided" in layer.name for layer in network.layers)
    modules["skip"].register_forward_hook(lambda q, i, o: o * 2)
    assert "skip has forward hooks" in message(Made(forward, **modules).eval())


@pytest.mark.no_cover
@pytest.mark.parametrize("neurons", [spiking, nn.ReLU])
def test_random_modules_are_equal_or_refused(neurons: Any) -> None:
    refused = check_random_modules(INSTANCES, neurons, spiking, SumPool2d)
    assert INSTANCES // 12 < refused < INSTANCES // 2


def test_an_exit_in_the_users_code_is_bad_input() -> None:
    """The tracer calls no hooks: the check is the first to run them."""

    def leave(*_: Any) -> None:
        raise SystemExit(1)

    module = nn.Sequential(conv(), spiking()).eval()
    module[0].register_forward_hook(leave)
    assert "its forward fails on frames" in message(module)


class Network(nn.Module):
    """As sinabs' class: what is read is the model inside."""

    __module__ = "sinabs.network"

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.spiking_model, self.input_shape = model, tuple(SHAPE)

    def forward(self, x: torch.Tensor) -> Any:
        return self.spiking_model(x)


@pytest.mark.parametrize("how", ["hook", "pre-hook", "forward"])
def test_a_wrapper_that_does_something_itself_is_refused(how: str) -> None:
    network: Any = Network(chain())
    assert read(network).compared_with
    if how == "hook":
        network.register_forward_hook(lambda q, i, o: o * 0)
    elif how == "pre-hook":
        network.register_forward_pre_hook(lambda q, i: (i[0] * 3,))
    else:
        _forward(network, 3)
    with pytest.raises(NetworkError, match="only the module inside is read"):
        read(network)


def test_spike_functions_of_users_say_where_they_fire() -> None:
    leaky, node = Leaky(), IFNode()
    leaky.spike_grad = lambda u: (u >= 0).float()  # type: ignore[assignment]
    node.surrogate_function = lambda u: (u > 0).float()  # type: ignore[assignment]
    for module, expected in ((leaky, "reached"), (node, "above"), (Leaky(), "above"), (IFNode(), "reached")):
        network = load_network(nn.Sequential(conv(), module), SHAPE, torch=UNCHECKED)
        assert network.layers[0].neuron is not None
        assert network.layers[0].neuron.fires_at == expected
    leaky.spike_grad = torch.sigmoid  # type: ignore[assignment]
    with pytest.raises(NetworkError, match="no step at the threshold"):
        read(nn.Sequential(conv(), leaky))


def test_a_spike_function_that_only_has_the_name_is_refused() -> None:
    class MultiSpike:
        pass

    neurons: Any = spiking()
    neurons.spike_fn = MultiSpike
    with pytest.raises(NetworkError, match="spike function MultiSpike"):
        read(nn.Sequential(conv(), neurons))


def test_differences_that_double_precision_or_a_batch_of_one_hides() -> None:
    module = chain(nn.ReLU)
    module[0].register_forward_hook(lambda q, i, o: o * 2 if o.dtype == torch.float32 else o)
    assert "forward hooks" in message(module)
    module = chain(nn.ReLU)
    module[0].register_forward_hook(lambda q, i, o: o * 2 if i[0].shape[0] > 1 else o)
    assert "forward hooks" in message(module)


@pytest.mark.parametrize("neurons", [spiking, nn.ReLU])
@pytest.mark.parametrize("place", [0, 1, 3, 4])
def test_what_only_single_precision_computes_is_refused(neurons: Any, place: int) -> None:
    """Rounding moves no current by a thirtieth of its terms, and no spikes but those at the threshold."""
    for change in (lambda o: o * 1.3, lambda o: o * 1.05, lambda o: o + 1):
        module = chain(neurons)
        module[place].register_forward_hook(
            lambda q, i, o, change=change: change(o) if o.dtype == torch.float32 else o
        )
        assert f"{place} has forward hooks" in message(module)


def test_rounding_of_long_sums_is_no_difference() -> None:
    """Terms added one after the other in single precision: off by more than 2e-6 of them, as they may be."""

    def one_by_one(module: Any, args: Any, result: Any) -> torch.Tensor:
        terms = args[0].numpy()[..., None, :] * module.weight.detach().numpy()
        made = torch.from_numpy(np.cumsum(terms, -1)[..., -1])
        worst.append(float(((made - terms.sum(-1, dtype=np.float64)) / np.abs(terms).sum(-1)).abs().max()))
        return made

    worst: list[float] = []
    module: Any = nn.Sequential(nn.Flatten(), nn.Linear(8192, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        module[1].weight.fill_(0.1)
    module[1].register_forward_hook(one_by_one)
    assert read(module, (2, 64, 64)).layers
    assert max(worst) > 4e-6


@pytest.mark.parametrize("neurons", [spiking, nn.ReLU])
def test_forward_under_autocast_is_named(neurons: Any) -> None:
    class Automatic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = chain(neurons)

        def forward(self, x: torch.Tensor) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.inner(x)

    assert "torch.autocast" in message(Automatic().eval())
    whole = Automatic().eval()
    with torch.no_grad():
        for layer in (whole.inner[0], whole.inner[3]):
            layer.weight.round_()
    # Whole numbers survive: what the module computes is what was read, and why that is so is told.
    (reading,) = [entry for entry in read(whole).readings if "autocast" in entry.why]
    assert reading.taken == "taken in single precision"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert read(chain(neurons)).layers


def test_what_depends_on_gradients_is_refused() -> None:
    for grad in (True, False):
        module = chain()
        module[0].register_forward_hook(
            lambda q, i, o, grad=grad: o * 2 if torch.is_grad_enabled() is grad else o
        )
        text = message(module)
        assert "0 has forward hooks" in text
        assert ("gradients were recorded" in text) is grad


class Moody(nn.Module):
    """It computes something else while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.s = conv(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> Any:
        return self.s(self.c(x) if self.training else self.c(x) * 0.5)


def test_a_forward_that_asks_for_its_mode_is_told() -> None:
    assert any("eval mode" in str(reading) for reading in read(Moody().train()).readings)
    assert not any("eval mode" in str(reading) for reading in read(Moody().eval()).readings)


class Helped(Moody):
    """A method of its own asks for the mode."""

    def forward(self, x: torch.Tensor) -> Any:
        return self.s(self.weighed(x))

    def weighed(self, x: torch.Tensor) -> Any:
        return self.c(x) if self.training else self.c(x) * 0.5


def test_other_code_that_asks_for_the_mode_is_told() -> None:
    hooked = chain().train()
    hooked[0].register_forward_hook(lambda module, i, o: o * 2 if module.training else o)
    for module in (Helped().train(), hooked):
        modes = [entry.training for entry in module.modules()]
        (told,) = [entry for entry in read(module).readings if "eval mode" in entry.taken]
        assert "training mode" in told.why
        assert [entry.training for entry in module.modules()] == modes
        assert not any("eval mode" in str(reading) for reading in read(module.eval()).readings)
    # What does the same in both modes is not told of them.
    assert not any("eval mode" in str(reading) for reading in read(chain().train()).readings)


def test_containers_in_containers_stay_as_they_are() -> None:
    def forward(self: Any, x: Any) -> Any:
        self.cache["a"].append(2)
        return self.s(self.c(x))

    module: Any = Made(forward, c=conv(), s=nn.ReLU())
    module.cache = {"a": [1]}
    read(module)
    assert module.cache == {"a": [1]}
