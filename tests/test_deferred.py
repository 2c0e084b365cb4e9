"""What Keras rarely needs is imported when it is touched, and is then what it always was."""

import copy
import importlib.util
import json
import pickle
import pkgutil
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
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=300,
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
        with pytest.raises(ModuleNotFoundError, match="kapps_that_is_not_there"):
            import kapps_late_4  # noqa: F401
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


def test_threads_that_wait_for_each_other_go_on_as_with_pythons_own_imports(tmp_path):
    """One executes what is deferred, which imports what another one imports, which touches that."""
    files = {
        "meeting": "import threading, late\nbegun, other = threading.Event(), threading.Event()\n",
        "late": """
            import meeting
            meeting.begun.set()
            meeting.other.wait(5)
            import other
            value = 1
            """,
        "other": """
            import meeting
            meeting.other.set()
            meeting.begun.wait(5)
            found = getattr(meeting.late, "value", "not yet")
            """,
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    found = python(f"""
        import importlib, json, os, sys, threading
        sys.path.insert(0, {str(tmp_path)!r})
        from kapps import deferred
        deferred.NAMES = {{"late"}}
        deferred.install()
        import late, meeting
        threads = [
            threading.Thread(target=lambda: late.value, daemon=True),
            threading.Thread(target=lambda: importlib.import_module("other"), daemon=True),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        wait = [thread.is_alive() for thread in threads]
        print(json.dumps([wait, vars(late).get("value")]), flush=True)
        os._exit(0)  # whoever waits
    """)
    assert found == [[False, False], 1]


def test_who_touches_it_while_it_is_about_to_be_executed_waits(written, monkeypatch):
    module = written("kapps_late_9", "import time\ntime.sleep(0.1)\nvalue = [object()]\n")
    begin, found = deferred._Loader.exec_module, []
    threads = [threading.Thread(target=lambda: found.append(module.value)) for _ in range(2)]

    def exec_module(self, module):
        threads[1].start()
        threads[1].join(0.2)
        begin(self, module)

    monkeypatch.setattr(deferred._Loader, "exec_module", exec_module)
    threads[0].start()
    for thread in threads:
        thread.join()
    assert found == [module.value] * 2
    assert sys.modules["kapps_late_9"] is module and not deferred._TOUCHED


def test_the_loader_has_what_the_modules_own_one_has(written):
    module = written("kapps_late_6", "raise ImportError\n")
    assert pkgutil.get_data("kapps_late_6", "kapps_late_6.py") == b"raise ImportError\n"
    loader = module.__spec__.loader
    assert loader.get_source("kapps_late_6") == "raise ImportError\n"
    for again in (copy.copy(loader), copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))):
        assert type(again) is type(loader) and again.path == module.__file__
    with pytest.raises(AttributeError, match="what_no_loader_has"):
        loader.what_no_loader_has  # noqa: B018


def test_what_has_left_sys_modules_or_made_room_for_another(written, monkeypatch):
    module = written("kapps_late_7", "value = 7\n")
    monkeypatch.delitem(sys.modules, "kapps_late_7")
    assert module.value == 7
    module = written("kapps_late_8", "value = 8\n")
    other = types.ModuleType("kapps_late_8")
    other.value = 9
    monkeypatch.setitem(sys.modules, "kapps_late_8", other)
    assert module.value == 9 and "value" in dir(module)
    with pytest.raises(AttributeError, match="kapps_late_8.*absent"):
        module.absent  # noqa: B018
