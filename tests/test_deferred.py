"""What Keras rarely needs is imported when it is touched, and is then what it always was."""

import importlib.util
import json
import subprocess
import sys
import textwrap
import threading
import types

import pytest

from kapps import deferred

HEAVY = ("sklearn", "scipy.stats", "matplotlib.pyplot")


def python(program):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tensorflow_keras_and_the_parts_that_train_come_without_scikit_learn_and_pyplot():
    """Nor does it come with the look at every module that AutoGraph takes."""
    found = python(f"""
        import inspect, json, sys
        from kapps import data, losses, models, training
        loaded = data.load("digits")
        model = models.cnn(loaded.image_shape, loaded.classes, filters=2)
        model.compile(training.optimizer("adam", 1e-3), losses.softmax_cross_entropy)
        batches = training.classifier_batches(loaded, 64, data.Augmentation(), seed=0)[0]
        model.fit(batches.dataset(0, 1).take(1), shuffle=False, verbose=0)
        inspect.getmodule(json.loads)
        heavy = [name for name in {HEAVY} if name in sys.modules]
        import keras
        names = [keras.wrappers.SKLearnClassifier.__module__, sorted(dir(keras.visualization))]
        print(json.dumps([heavy, names, "sklearn" in sys.modules]))
    """)
    heavy, (module, names), there = found
    assert heavy == [] and there
    assert module == "keras.src.wrappers.sklearn_wrapper"
    assert {"draw_bounding_boxes", "plot_image_gallery"} <= set(names)


def test_the_names_are_those_of_keras():
    """A part that Keras renames would be imported at once again, and nobody would see it."""
    import keras  # noqa: F401

    for name in deferred.NAMES:
        assert importlib.util.find_spec(name) is not None, name


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a module, which is deferred."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        monkeypatch.setattr(deferred, "NAMES", frozenset({name}))
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return write


def test_it_is_executed_once_when_a_name_is_asked_for(written):
    module = written("kapps_late_1", "import builtins\nbuiltins.kapps_late = 1\nvalue = 7\n")
    import builtins

    try:
        assert module.__file__.endswith("kapps_late_1.py") and not hasattr(module, "__wrapped__")
        assert not hasattr(builtins, "kapps_late")
        assert module.value == 7 and builtins.kapps_late == 1
        assert type(module) is types.ModuleType and module.__spec__.loader is module.__loader__
        with pytest.raises(AttributeError, match="kapps_late_1.*other"):
            module.other  # noqa: B018
    finally:
        del builtins.kapps_late


def test_names_by_from_and_star(written):
    written("kapps_late_2", "__all__ = ['a']\na, b = 1, 2\n")
    found = {}
    exec("from kapps_late_2 import *", found)  # noqa: S102
    assert found["a"] == 1 and "b" not in found
    written("kapps_late_3", "a = 3\n")
    from kapps_late_3 import a

    assert a == 3


def test_what_fails_fails_again_and_may_succeed_later(written, monkeypatch):
    module = written("kapps_late_4", "import kapps_that_is_not_there\nvalue = 1\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="kapps_that_is_not_there"):
            module.value  # noqa: B018
    monkeypatch.setitem(sys.modules, "kapps_that_is_not_there", types.ModuleType("there"))
    assert module.value == 1


def test_a_module_may_import_itself_and_threads_wait_for_its_end(written):
    module = written(
        "kapps_late_5",
        """
        import time
        import kapps_late_5
        first = 1
        assert kapps_late_5.first == 1 and not hasattr(kapps_late_5, "last")
        time.sleep(0.2)
        last = 2
        """,
    )
    found = []
    threads = [threading.Thread(target=lambda: found.append(module.last)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 4
