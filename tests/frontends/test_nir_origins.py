"""NIR files as the frameworks that wrote them run them: equal to their spikes in every step, or not answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import nir
import numpy as np
import pytest

import mapper
from mapper.by_value import same
from mapper.cli import options as cli_options
from mapper.cli.entry import run
from mapper.equivalence.expected import Expectation, compared, read_expectation
from mapper.errors import EventError, NetworkError, OptionsError, UnsupportedLayerError
from mapper.frontends import NirOptions, NirSource, load_network
from mapper.frontends.from_nir.alternatives import alternatives
from mapper.frontends.from_nir.origins import ORIGINS
from mapper.passes import prepare
from mapper.reading import require_answers
from mapper.sim.network import simulate
from tests.frontends.test_nir import conv2d, graph, neurons, nodes

DATA = Path(__file__).parents[1] / "data" / "reading"
SINABS, BOUNDED = NirOptions(source="sinabs", v_min="none"), NirOptions(source="sinabs", v_min="threshold")
JELLY = NirOptions(source="spikingjelly")
PAIRS = {
    "sinabs_default_nir1.0.4": ("sinabs_default", SINABS),
    "sinabs_default_nir1.0.8": ("sinabs_default", SINABS),
    "sinabs_minv_nir1.0.4": ("sinabs_minv", BOUNDED),
    "spikingjelly_if_dt1": ("spikingjelly_if_dt1", replace(JELLY, dt=1.0)),
    "spikingjelly_linear2048_r1e4": ("spikingjelly_linear2048_r1e4", JELLY),
    "snntorch_leaky_beta1": ("snntorch_leaky_beta1", NirOptions(source="snntorch")),
    "norse_iaf_nir104": ("norse_iaf", NirOptions(source="norse")),
    "spyx_if_head": ("spyx_if_head", NirOptions(source="spyx")),
    "rockpool_lif": ("rockpool_lif", NirOptions(source="rockpool")),
}
ANSWERED = NirOptions(reset="subtract", v_min="none", spike_mode="multi", fires_at="reached")


@pytest.mark.parametrize("name", PAIRS)
def test_read_as_its_framework_a_file_gives_the_recorded_spikes(name: str) -> None:
    spikes, options = PAIRS[name]
    network = load_network(DATA / f"{name}.nir", nir=options)
    expectation = read_expectation(DATA / f"{spikes}.npz", network)
    assert "all 400 values" in compared(network, expectation)
    if options.source != "rockpool":  # its weights do not reach 127, and are rounded
        assert "all 400 values" in compared(prepare(network), expectation)
    require_answers([network])


@pytest.mark.parametrize("name", PAIRS)
def test_read_as_another_framework_it_differs_or_is_refused(name: str) -> None:
    spikes, right = PAIRS[name]
    expectation = read_expectation(DATA / f"{spikes}.npz", load_network(DATA / f"{name}.nir", nir=right))
    own = load_network(DATA / f"{name}.nir", nir=right)
    for source in ORIGINS.keys() - {right.source}:
        options = NirOptions(source=source, v_min="none")  # type: ignore[arg-type]  # the names are the table's
        try:
            network = load_network(DATA / f"{name}.nir", nir=options)
        except NetworkError:
            continue
        if same(network.layers, own.layers) and network.outputs == own.outputs:
            assert {right.source, source} == {"sinabs", "rockpool"}  # without a bound they do the same
            continue
        with pytest.raises(NetworkError, match="differs"):
            compared(network, expectation)


@pytest.mark.parametrize("name", PAIRS)
def test_where_nobody_answers_placing_goes_on_and_writing_refuses(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(DATA / f"{name}.nir")
    assert run(["check", source]) == 0
    assert "read: all neurons" in capsys.readouterr().out
    for command in (["emit", source, "--out", str(tmp_path / "out")], ["verify", source]):
        assert run(command) == 2
        assert "Add --from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_difference_names_the_reading_that_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    file, spikes = str(DATA / "snntorch_leaky_beta1.nir"), str(DATA / "snntorch_leaky_beta1.npz")
    words = ["verify", file, "--from", "snntorch", "--expect", spikes]
    assert run([*words, "--spike-mode", "multi"]) == 2
    error = capsys.readouterr().err
    assert "step 1, neuron 0 (read: 2 spikes, recorded: 1)" in error
    assert "With --spike-mode single, or" in error
    assert run(words) == 0
    assert "network as read = the spikes of snntorch_leaky_beta1.npz, all 400" in " ".join(
        capsys.readouterr().out.split()
    )


def test_spyx_is_aligned_by_one_step_per_neuron_layer() -> None:
    network = load_network(DATA / "spyx_if_head.nir", nir=NirOptions(source="spyx"))
    assert network.outputs[0].late_steps == 3
    early = network.replacing(outputs=(replace(network.outputs[0], late_steps=0),))
    with pytest.raises(NetworkError, match="differs"):
        compared(early, read_expectation(DATA / "spyx_if_head.npz", network))


def sequence(*biases: float, neuron: Any = None) -> Any:
    """Layers of one value each, whose weights are 127, so that rounding is exact, and thresholds 170."""
    content: dict[str, Any] = {"input": nir.Input({"input": np.array([1])})}
    for n, bias in enumerate(biases):
        content[f"w{n}"] = nir.Affine(np.full((1, 1), 127.0, np.float32), np.full(1, bias, np.float32))
        content[f"n{n}"] = neuron or nir.IF(np.ones(1, np.float32), np.full(1, 170.0, np.float32))
    return graph(content | {"output": nir.Output({"output": np.array([1])})})


def late_spikes(frames: Any, biases: tuple[float, ...]) -> Any:
    """What spyx computes: every layer fires for what it held a step before, biases from the first step on."""
    potentials, spikes = np.zeros(len(biases)), []
    for value in frames.ravel():
        arriving = float(value)
        for n, bias in enumerate(biases):
            fires = float(potentials[n] > 170)
            potentials[n] += 127 * arriving + bias - 170 * fires
            arriving = fires
        spikes.append(arriving)
    return np.array(spikes).reshape(-1, 1)


@pytest.mark.parametrize("biases", [(0.0, 0.0, 0.0), (40.0, 80.0, 60.0), (-85.0, -40.0, 85.0)])
def test_layers_of_spyx_start_from_what_their_biases_add_up_to(biases: tuple[float, ...]) -> None:
    frames = np.random.default_rng(1).integers(0, 2, (40, 1))
    network = load_network(sequence(*biases), nir=NirOptions(source="spyx"))
    for as_run in (network, prepare(network)):
        expectation = Expectation(
            "spyx", {"input": frames.reshape(40, 1, 1, 1)}, {"w2": late_spikes(frames, biases)}
        )
        assert "aligned by 3 steps" in compared(as_run, expectation)
    assert sum(
        "times its bias" in r.taken or "from its bias" in r.taken for r in network.readings
    ) == 2 * any(biases)


def test_biases_of_spyx_that_fire_before_any_input_are_refused() -> None:
    with pytest.raises(UnsupportedLayerError, match="layer w2: its biases make neurons fire in the 2 steps"):
        load_network(sequence(0.0, 40.0, 120.0), nir=NirOptions(source="spyx"))


def test_leaky_neurons_of_spyx_with_a_beta_of_1_add_their_input_whole() -> None:
    neuron = nir.LIF(*(np.full(1, value, np.float32) for value in (INF, 1.0, 0.0, 4.0)))
    weight: Any = (
        load_network(sequence(0.0, neuron=neuron), nir=NirOptions(source="spyx")).layers[0].operation.weight
    )
    assert weight.item() == 127.0


def test_single_facts_together_are_an_answer() -> None:
    network = load_network(graph(), nir=ANSWERED)
    assert not any(reading.is_open for reading in network.readings)
    for fact, option in (("reset", "source="), ("spike_mode", "spike_mode"), ("v_min", "v_min")):
        (reading,) = load_network(graph(), nir=replace(ANSWERED, **{fact: None})).readings
        assert reading.is_open
        assert option in reading.otherwise


def test_metadata_of_nodes_and_of_the_graph_are_answers() -> None:
    content = nodes()
    stated = {"reset": "zero", "minimum": "none", "spike_mode": "single", "fires_at": "above"}
    for name in ("s", "t"):
        content[name].metadata = stated
    neuron = load_network(graph(content)).layers[0].neuron
    assert neuron is not None
    assert (neuron.reset, neuron.minimum, neuron.spike_mode, neuron.fires_at) == (
        "zero",
        None,
        "single",
        "above",
    )
    for name in ("s", "t"):
        content[name].metadata = {**stated, "fires_at": "sometimes"}
    with pytest.raises(UnsupportedLayerError, match='fires_at "sometimes"'):
        load_network(graph(content))
    whole = graph()
    whole.metadata = {"source": "norse"}
    require_answers([load_network(whole)])
    whole.metadata = {"source": "nengo"}
    with pytest.raises(OptionsError, match="no framework that is known"):
        load_network(whole)


def test_the_shipped_network_states_everything() -> None:
    assert load_network("digits").readings == ()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"v_min": 1.0}, "v_min"),
        ({"dt": 0.0}, "dt"),
        ({"source": "nengo"}, "source"),
        ({"spike_mode": "many"}, "spike_mode"),
        ({"v_min": float("nan")}, "v_min"),
    ],
)
def test_options_that_are_none_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionsError, match=text):
        NirOptions(**fields)


def leaky(tau: float, r: float, **changes: Any) -> Any:
    shape = (4, 6, 6)
    full = {"tau": tau, "r": r, "v_leak": 0.0, "v_threshold": 1.0} | changes
    return nir.LIF(**{name: np.full(shape, value, np.float32) for name, value in full.items()})


def synaptic(tau_mem: float, tau_syn: float, r: float, w_in: float = 1.0) -> Any:
    full = {"tau_mem": tau_mem, "tau_syn": tau_syn, "r": r, "v_leak": 0.0, "v_threshold": 1.0, "w_in": w_in}
    return nir.CubaLIF(**{name: np.full((4, 6, 6), value, np.float32) for name, value in full.items()})


INF = float("inf")


@pytest.mark.parametrize(
    ("neuron", "dt", "gain"),
    [
        (leaky(INF, INF), None, 1.0),
        (leaky(1e6, 1e10), None, 1.0),
        (leaky(1e8, 3e8), 1.0, 3.0),
        (synaptic(INF, 1e-4, INF, 2.0), None, 2.0),
        (synaptic(INF, 1e-3, INF), 1e-3, 1.0),
    ],
)
def test_neurons_that_do_not_leak_are_read_with_their_gain(
    neuron: Any, dt: float | None, gain: float
) -> None:
    content = nodes() | {"s": neuron}
    weight: Any = load_network(graph(content), nir=replace(ANSWERED, dt=dt)).layers[0].operation.weight
    assert np.allclose(weight, gain * content["c"].weight)


@pytest.mark.parametrize(
    ("neuron", "text"),
    [
        (leaky(1e-3, 10.0), "its neurons leak"),
        (leaky(INF, INF, v_leak=0.5), "v_leak"),
        (leaky(INF, 1.0), "all weights are zero"),
        (synaptic(INF, INF, INF), "an infinite tau_syn integrates twice"),
        (synaptic(INF, 1e-3, INF), "its synapses filter the current"),
        (neurons(4, 6, 6, r=np.zeros((4, 6, 6), np.float32)), "r is 0"),
        (neurons(4, 6, 6, r=np.full((4, 6, 6), 1e-45, np.float32)), "makes all weights zero"),
    ],
)
def test_what_leaks_or_makes_all_weights_zero_is_refused(neuron: Any, text: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=text):
        load_network(graph(nodes() | {"s": neuron}), nir=ANSWERED)


def test_a_step_that_has_no_say_is_refused() -> None:
    with pytest.raises(UnsupportedLayerError, match="dt_us"):
        load_network("digits", nir=NirOptions(dt=1.0))


def test_hints_at_a_framework_are_no_answer() -> None:
    content = nodes() | {"s": neurons(4, 6, 6, r=np.full((4, 6, 6), 1e4, np.float32))}
    network = load_network(graph(content))
    assert "spikingjelly" in str(network.readings[0])
    assert network.readings[0].is_open
    assert "snntorch" in str(load_network(graph(nodes() | {"s": leaky(INF, INF)})).readings[0])
    assert mapper.solve(network).solution is not None


def test_fires_above_is_exact_in_integers() -> None:
    """Weights, thresholds and sums are whole numbers, so that ties are met often."""
    draw = np.random.default_rng(5)
    content = nodes()
    content["c"].weight = draw.choice([-32, 0, 32, 64], (4, 2, 3, 3)).astype(np.float32)
    content["fc"].weight = draw.choice([-32, 0, 32, 64], (3, 36)).astype(np.float32)
    content["fc"].bias[:] = 0
    for name, shape in (("s", (4, 6, 6)), ("t", (3,))):
        content[name] = nir.IF(np.ones(shape, np.float32), np.full(shape, 64, np.float32))
    content["c"].weight[0, 0, 0, 0] = content["fc"].weight[0, 0] = 127
    content["pool"] = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    inputs = {"input": draw.integers(0, 2, (20, 2, 8, 8))}
    for reset in ("subtract", "zero"):
        for mode in ("multi", "single"):
            for bound in ("none", "threshold"):
                options = replace(ANSWERED, fires_at="above", reset=reset, spike_mode=mode, v_min=bound)
                read = load_network(graph(content), nir=options)
                above, whole = simulate(read, inputs), simulate(prepare(read), inputs)
                reached = simulate(
                    load_network(graph(content), nir=replace(options, fires_at="reached")), inputs
                )
                if (reset, mode) == ("zero", "multi"):
                    assert "a second spike of a step" in "".join(map(str, read.readings))
                    first = read.layers[0].name
                    assert np.array_equal(above.spikes[first][0] > 0, whole.spikes[first][0] > 0)
                    continue
                assert all(np.array_equal(above.spikes[n], whole.spikes[n]) for n in above.spikes)
                assert not all(np.array_equal(above.spikes[n], reached.spikes[n]) for n in above.spikes)


def test_nested_graphs_are_flattened(tmp_path: Path) -> None:
    inner = graph(
        {k: nodes()[k] for k in ("input", "c", "s")} | {"output": nir.Output({"output": np.array([4, 6, 6])})}
    )
    rest = {k: v for k, v in nodes().items() if k not in ("input", "c", "s")}
    content = {"input": nodes()["input"], "block": inner, **rest}
    whole = graph(content)
    flat, nested = load_network(graph(), nir=ANSWERED), load_network(whole, nir=ANSWERED)
    assert [layer.name for layer in nested.layers] == ["block.c", "fc"]
    path = tmp_path / "nested.nir"
    nir.write(path, whole)
    for network in (nested, load_network(path, nir=ANSWERED)):
        inputs = {"input": np.random.default_rng(2).integers(0, 3, (6, 2, 8, 8))}
        ours, theirs = (simulate(n, inputs).outputs["fc"] for n in (network, flat))
        # Random weights differ from graph to graph; shapes and wiring are what nesting could change.
        assert ours.shape == theirs.shape
    content["block.c"] = conv2d(4, 2, 8)
    with pytest.raises(NetworkError, match="two nodes would have this name"):
        load_network(graph(content), nir=ANSWERED)


def test_names_that_end_in_input_are_names() -> None:
    content = {"input": nodes()["input"], "a.input": nodes()["c"], "a.output": nodes()["s"]}
    content["output"] = nir.Output({"output": np.array([4, 6, 6])})
    assert [layer.name for layer in load_network(graph(content), nir=ANSWERED).layers] == ["a.input"]


def test_alternatives_are_distinct_and_leave_the_own_reading_out() -> None:
    options = NirOptions(source="sinabs", v_min="none")
    words = [words for words, other in alternatives(options) if other != options]
    assert len(words) == len(set(words)) == len(list(alternatives(options)))
    assert not any(word.startswith("nir=NirOptions(spike_mode") for word, _ in alternatives(NirOptions()))


def test_facts_of_nir_for_what_is_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "mapper/data/wide.yaml", "--from", "sinabs", "--v-min", "0"]) == 2
    assert "--from sinabs, --v-min 0.0: goes with a NIR file or graph" in capsys.readouterr().err
    with pytest.raises(OptionsError, match="spike_mode single"):
        load_network(load_network("digits"), nir=NirOptions(spike_mode="single"))


def test_what_expected_spikes_cannot_show_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent, file = tmp_path / "silent.npz", str(DATA / "rockpool_lif.nir")
    with np.load(DATA / "rockpool_lif.npz") as spikes:
        np.savez(silent, input=spikes["input"], output=np.zeros_like(spikes["output"]))
    assert run(["verify", file, "--from", "rockpool", "--expect", str(silent)]) == 2
    assert "holds no output spike" in capsys.readouterr().err
    assert run(["verify", file, "--expect", str(DATA / "rockpool_lif.npz")]) == 2
    error = capsys.readouterr().err
    assert "decides nothing" in error
    assert "or with --from rockpool" in error
    words = ["verify", str(DATA / "snntorch_leaky_beta1.nir"), "--reset", "zero"]
    assert run([*words, "--expect", str(DATA / "snntorch_leaky_beta1.npz")]) == 2
    assert "With --from snntorch (and without --reset)" in capsys.readouterr().err


def test_a_step_and_appended_neurons_are_readings() -> None:
    (*_, step) = load_network(DATA / "spikingjelly_if_dt1.nir", nir=JELLY).readings
    assert str(step).startswith("all neurons: r times the step is a gain of 0.0001")
    assert len(load_network(DATA / "spikingjelly_if_dt1.nir", nir=replace(JELLY, dt=1.0)).readings) == 1
    content = nodes()
    del content["t"]
    result = mapper.solve(load_network(graph(content), nir=ANSWERED), add_output_neuron=2.0)
    assert "layer fc: neurons are appended: threshold 2.0" in str(result.readings[-1])


def test_metadata_that_are_no_words_are_bad_input() -> None:
    whole = graph()
    for value in (np.array([1, 2]), np.array([]), np.array(["sinabs"]), 3):
        whole.metadata = {"source": value}
        with pytest.raises(OptionsError, match="no framework that is known"):
            load_network(whole)
    content = nodes()
    content["s"].metadata = {"reset": np.array([1, 2])}
    with pytest.raises(UnsupportedLayerError, match="metadata state reset"):
        load_network(graph(content))


def test_a_large_r_stays_open_beside_all_other_facts() -> None:
    content = nodes() | {"s": neurons(4, 6, 6, r=np.full((4, 6, 6), 1e4, np.float32))}
    readings = load_network(graph(content), nir=ANSWERED).readings
    assert [reading.subject for reading in readings if reading.is_open] == ["s"]
    assert "or dt)" in str(readings[0])
    assert not any(r.is_open for r in load_network(graph(content), nir=replace(ANSWERED, dt=1e-4)).readings)
    with pytest.raises(UnsupportedLayerError, match="tau must be positive"):
        load_network(graph(nodes() | {"s": leaky(-1e9, 1e13)}), nir=ANSWERED)


def test_recordings_are_held_in_every_step_and_shape(tmp_path: Path) -> None:
    network = load_network(DATA / "spyx_if_head.nir", nir=NirOptions(source="spyx"))
    with np.load(DATA / "spyx_if_head.npz") as data:
        given, output = data["input"], data["output"]
    noisy = output.copy()
    noisy[:3] = 9
    for spikes in (noisy, np.full_like(output[:2], 9)):
        np.savez(tmp_path / "a.npz", input=given[: len(spikes)], output=spikes)
        with pytest.raises(NetworkError, match="first in step 0"):
            compared(network, read_expectation(tmp_path / "a.npz", network))
    np.savez(tmp_path / "b.npz", input=given.transpose(0, 2, 3, 1), output=output)
    with pytest.raises(EventError, match="has another shape"):
        read_expectation(tmp_path / "b.npz", network)
    np.savez(tmp_path / "c.npz", input=given, output=output, output2=output)
    with pytest.raises(EventError, match="arrays that the network has not"):
        read_expectation(tmp_path / "c.npz", network)
    for value in (-1.0, 0.5, 1e30, np.inf, np.nan):
        np.savez(tmp_path / "d.npz", input=np.full(given.shape, value), output=output)
        with pytest.raises(EventError, match=r"whole numbers, 0\.\.2147483647"):
            read_expectation(tmp_path / "d.npz", network)


def test_options_of_torch_are_refused_for_what_is_no_module(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--relu-as-if", "--no-reading-check"):
        assert run(["check", "digits", option]) == 2
        assert f"{option}: goes with a torch module, and digits is none" in capsys.readouterr().err


def test_frameworks_are_the_same_everywhere() -> None:
    """The command line names them itself: what it imports for --help must stay light."""
    assert get_args(cli_options.NirSource) == get_args(NirSource) == (*ORIGINS,)
