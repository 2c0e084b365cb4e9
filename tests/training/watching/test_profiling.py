"""A trace made by hand, and a training that is profiled and stays the same."""

import json
import re

import numpy as np
import pytest

from kapps import evaluation, training
from kapps.evaluation.report.profile import explain_profile, profile_advice
from kapps.training.watching.profiling import Profile, StepProfile, kind_of, layer_of, summarize
from training import small

STEP = "StatefulPartitionedCall/cnn_1/"
EVENTS = [  # of two steps: name, milliseconds
    ("multi_step_on_iterator", 50.0),  # what is around the operations
    ("EagerLocalExecute: __inference_multi_step_on_iterator_1278", 49.0),
    ("IteratorGetNextOp::DoCompute", 6.0),
    ("Iterator::Root::Prefetch", 5.0),
    (f"{STEP}conv1_1/convolution:_MklNativeFusedConv2D", 8.0),
    ("StatefulPartitionedCall/gradient_tape/cnn_1/conv1_1/x:_MklNativeConv2DBackpropFilter", 12.0),
    (f"{STEP}bn_1/FusedBatchNormV3:_FusedBatchNormEx", 4.0),
    ("StatefulPartitionedCall/adam/Mul_19:Mul", 2.0),
    (f"{STEP}conv1_1/Cast:Cast", 1.0),
    ("StatefulPartitionedCall/AddN:AddN", 3.0),
    ("CpuExecutable::ExecuteAsyncOnStream", 7.0),
    ("add_tanh_fusion", 6.0),  # of what that holds
    ("StatefulPartitionedCall:StatefulPartitionedCall", 40.0),  # holds the others
]


def test_sums_by_hand():
    found = summarize(EVENTS, 2, 0.05, names=("conv1", "bn"))
    assert found.step_milliseconds == 25.0 and found.waiting_milliseconds == 3.0
    assert found.kinds == {
        "convolution": 10.0,
        "compiled by XLA": 3.5,
        "batch normalization": 2.0,
        "reduction": 1.5,
        "elementwise": 1.0,
        "cast": 0.5,
    }
    assert list(found.kinds) == sorted(found.kinds, key=lambda k: -found.kinds[k])
    assert found.layers == {
        "conv1": 10.5,
        "compiled by XLA": 3.5,
        "bn": 2.0,
        "loss and the rest": 1.5,
        "optimizer": 1.0,
    }
    assert found.operations == 3.5 and found.total == 18.5


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("Conv2D", "convolution"),
        ("_MklNativeConv2DBackpropInput", "convolution"),
        ("DepthwiseConv2dNative", "convolution"),
        ("_MklNativeFusedMatMul", "matrix product"),
        ("BatchMatMulV2", "matrix product"),
        ("_MklNativeFusedBatchNormGradV3", "batch normalization"),
        ("_FusedBatchNormEx", "batch normalization"),
        ("FusedBatchNormV3", "batch normalization"),
        ("MaxPoolGrad", "pooling"),
        ("ReluGrad", "elementwise"),
        ("BiasAddGrad", "elementwise"),
        ("AssignSubVariableOp", "weights"),
        ("StatelessRandomUniformV2", "random numbers"),
        ("ConcatV2", "copying"),
        ("Sum", "reduction"),
    ],
)
def test_kinds(operation, kind):
    assert kind_of(operation) == kind


def test_layers():
    assert layer_of("StatefulPartitionedCall/cycled_adam_w/add_3") == "optimizer"
    assert layer_of("StatefulPartitionedCall/muon/MatMul_3") == "optimizer"
    path = "gradient_tape/resnet_1/block_1_2/conv/Conv2D"
    assert layer_of(path, ("block_1", "block")) == "block_1"
    assert layer_of(path) == "block_1_2"


def profile(kinds, *, step=10.0, waiting=0.0, layers=None, operations=10.0):
    return Profile(5, step, waiting, kinds, layers or {"a": 1.0}, operations)


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (profile({"convolution": 9.0}, waiting=5.0), "waits 50% of its time"),
        (profile({"convolution": 3.0}, waiting=0.5), "for 65% of the time: the 10 operations"),
        (profile({"convolution": 6.0, "cast": 4.0}), "Casts .* 40%"),
        (profile({"convolution": 4.0, "elementwise": 4.0, "reduction": 2.0}), "sums take 60%"),
        (profile({"convolution": 8.0}, layers={"optimizer": 4.0}), "optimizer takes 50%"),
        (profile({"convolution": 6.0, "matrix product": 3.0, "pooling": 1.0}), "take 90%, as they"),
        (profile({"pooling": 10.0}), "Nothing stands out"),
    ],
)
def test_advice_by_hand(found, word):
    assert re.search(word, " ".join(profile_advice(found)))


@pytest.mark.slow
def test_a_profiled_training_is_the_same_and_says_where_its_time_goes(tmp_path):
    callback = StepProfile(3, tmp_path / "profile.json")
    model, _ = small.train(epochs=1, callbacks=[callback])
    plain, _ = small.train(epochs=1)
    assert small.digest(model) == small.digest(plain)
    found = callback.found
    assert found.steps == 3 and found.step_milliseconds > 0
    assert {"convolution", "matrix product"} <= set(found.kinds)
    assert "optimizer" in found.layers and any("conv2d" in name for name in found.layers)
    assert all(np.isfinite(v) and v >= 0 for v in (*found.kinds.values(), *found.layers.values()))
    assert json.loads((tmp_path / "profile.json").read_text())["steps"] == 3
    again = StepProfile(3)
    again.set_state(callback.get_state())
    assert again.found == found
    (figure,), (table,) = explain_profile([callback, StepProfile(3)])
    page = evaluation.write_report(tmp_path / "r.html", title="t", figures=[figure], tables=[table])
    text = page.read_text()
    assert "Where the time goes" in text and "for its batch" in text and "convolution" in text


def test_no_flag_no_profile():
    assert training.step_profile(training.CommonFlags(), None) == []
    (callback,) = training.step_profile(training.CommonFlags(profile=7), None)
    assert callback.steps == 7
