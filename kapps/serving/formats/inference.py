"""A published version once more, for answering alone: weights as constants, an ONNX file beside it.

Both are made of the SavedModel, whatever its family, and checked against it on the warm-up requests
that it brings.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from kapps.errors import UserError
from kapps.serving.formats.conversion import OPSET, quietly
from kapps.serving.formats.requirements import check_format
from kapps.serving.savedmodel import graph, onnx_files
from kapps.serving.savedmodel.onnx_files import Differs
from kapps.serving.savedmodel.versions import version_directory, write_version
from kapps.serving.savedmodel.warmup import Request, read_warmup

_GRAPH = ("saved_model.pb", "fingerprint.pb", "variables")  # of a SavedModel, what is rewritten


def publish_for_inference(
    path: str | os.PathLike,
    export_dir: str | os.PathLike | None = None,
    *,
    freeze: bool = False,
    onnx: bool = False,
) -> tuple[Path, dict[str, str]]:
    """Publishes a version again, as one that answers faster.

    Args:
        path: a version, or the directory of versions: the highest is taken.
        export_dir: where to; beside the version by default.
        freeze: the weights become constants of the graph, and batch normalization goes into the
            weights of the convolution before it where that changes nothing.
        onnx: the version brings an ONNX file for each signature that can have one, which
            `kapps serve --engine` asks in the place of TensorFlow.

    Returns:
        The directory of the new version; and the signatures that have no ONNX file, with the
        reason.

    Raises:
        UserError: the version brings no warm-up requests; a graph cannot be frozen; no signature
            can have an ONNX file, or its packages are missing. Nothing is published.
        RuntimeError: the new version does not answer what the old one answers, to 1e-5. Nothing is
            published.
    """
    if onnx:
        check_format("onnx")
    source = version_directory(path)
    loaded = tf.saved_model.load(str(source))
    requests = [request for request in read_warmup(source) if request[0] in loaded.signatures]
    if not requests:
        raise UserError(
            f"{source}: there are no warm-up requests in assets.extra to check the answers with"
        )
    left: dict[str, str] = {}

    def write(directory: Path) -> None:
        if freeze:
            _write_frozen(source, loaded.signatures, requests, directory)
        _copy_rest(source, directory)
        served = tf.saved_model.load(str(directory))
        _check(loaded.signatures, served.signatures, requests)
        if onnx:
            left.update(_write_onnx(directory, served.signatures, requests))

    return write_version(source.parent if export_dir is None else export_dir, write), left


def frozen(signature: Any, asked: Sequence[onnx_files.Arrays] = ()) -> Callable:
    """A signature whose weights are constants, as a function of the same arguments, in order.

    Args:
        signature: of a loaded SavedModel.
        asked: inputs. Where folding changes an answer to them (a convolution that others read,
            too), batch normalization stays where it is.

    Raises:
        UserError: the graph cannot be frozen.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    specs = specs_of(signature)
    names = sorted(signature.structured_outputs)

    @tf.function(autograph=False, input_signature=specs)
    def flat(*arguments):
        said = signature(**{spec.name: x for spec, x in zip(specs, arguments, strict=True)})
        return [tf.identity(said[name]) for name in names]

    def named(function: Callable) -> Callable:
        def call(*arguments):
            said = function(*arguments)
            said = said if isinstance(said, list | tuple) else [said]
            return dict(zip(names, said, strict=True))

        return tf.function(call, autograph=False, input_signature=specs)

    try:
        # Loops stay loops: of the jumps that they would become nothing else can be made.
        constant = convert_variables_to_constants_v2(
            flat.get_concrete_function(), lower_control_flow=False
        )
    except Exception as error:  # of whatever kind: it depends on what is in the graph
        raise UserError(f"the graph cannot be frozen: {error}") from error
    if len(constant.inputs) != len(specs):
        raise UserError("the graph cannot be frozen: it holds tables or other resources")
    try:
        folded = named(_folded(constant))
        for inputs in asked:
            said = folded(*(tf.constant(inputs[spec.name]) for spec in specs))
            onnx_files.difference(
                ask_tensorflow(signature, inputs), {name: x.numpy() for name, x in said.items()}
            )
    except (Differs, ValueError, KeyError, tf.errors.OpError):
        return named(constant)
    return folded


def onnx_of(signature: Any) -> bytes:
    """A signature as an ONNX file, without its answers that are texts.

    Raises:
        UserError: it takes texts, or draws random numbers.
        Exception: whatever the converter raises.
    """
    import tf2onnx

    specs = specs_of(signature)
    texts = [spec.name for spec in specs if spec.dtype == tf.string]
    if texts:
        raise UserError(f"takes texts ({', '.join(texts)})")
    if _draws(signature):
        raise UserError(
            "draws random numbers from a seed, for which there is no operation: draw z outside"
        )
    given = {spec.name for spec in specs}

    @tf.function(autograph=False, input_signature=specs)
    def numeric(*arguments):
        said = signature(**{spec.name: x for spec, x in zip(specs, arguments, strict=True)})
        return {
            onnx_files.name_in_file(name, given): value
            for name, value in said.items() if value.dtype != tf.string
        }  # fmt: skip

    with quietly():
        proto, _ = tf2onnx.convert.from_function(numeric, specs, opset=OPSET)
    return proto.SerializeToString()


def _draws(signature: Any) -> bool:
    whole = signature.graph.as_graph_def()
    nodes = [*whole.node, *(node for f in whole.library.function for node in f.node_def)]
    return any("Random" in node.op for node in nodes)


def ask_onnx(
    file: Path | bytes, signature: Any, labels: Sequence[str], runtime: str = "onnx"
) -> onnx_files.Ask:
    """The file of a signature as a function of arrays, see `onnx_files.open_onnx`."""
    inputs = [spec.name for spec in specs_of(signature)]
    outputs = sorted(signature.structured_outputs)
    return onnx_files.open_onnx(file, inputs, outputs, labels, runtime)


def specs_of(signature: Any) -> list[tf.TensorSpec]:
    """The arguments of a signature, by name."""
    specs = signature.structured_input_signature[1]
    return [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in sorted(specs.items())]


def ask_tensorflow(signature: Any, inputs: onnx_files.Arrays) -> dict[str, Any]:
    """What a signature answers, as arrays."""
    said = signature(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: tensor.numpy() for name, tensor in said.items()}


def _folded(constant: Any) -> Any:
    """The same graph with batch normalization in the weights of the convolutions before it."""
    from tensorflow.python.tools import optimize_for_inference_lib as rewriting

    names = [tensor.name for tensor in (*constant.inputs, *constant.outputs)]
    before = _computed(constant.graph.as_graph_def(), names)
    rewritten = rewriting.fold_batch_norms(before)
    rewritten.library.CopyFrom(before.library)
    rewritten.versions.CopyFrom(before.versions)
    imported = tf.compat.v1.wrap_function(
        lambda: tf.graph_util.import_graph_def(rewritten, name=""), []
    )
    element = imported.graph.as_graph_element
    return imported.prune(
        [element(tensor.name) for tensor in constant.inputs],
        [element(tensor.name) for tensor in constant.outputs],
    )


def _computed(whole: Any, names: list[str]) -> Any:
    """A graph in which that is computed that depends on no input.

    Batch normalization that is made of single operations, as Keras has it, becomes a product with a
    constant, which goes into the weights before it.
    """
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.optimizers.append("constfold")
    options.min_graph_nodes = -1
    meta = meta_graph_pb2.MetaGraphDef()
    meta.graph_def.CopyFrom(whole)
    meta.collection_def["train_op"].node_list.value.extend(names)
    return tf_optimizer.OptimizeGraph(config, meta)


def _write_frozen(source: Path, signatures: Any, requests: list[Request], directory: Path) -> None:
    constant = {
        name: frozen(signature, onnx_files.stated_inputs(requests, name))
        for name, signature in signatures.items()
    }
    graph.save(directory, constant, onnx_files.read_labels(source))


def _copy_rest(source: Path, directory: Path) -> None:
    """Copies what the new version does not have yet: card, assets, requests; or all of it."""
    written = (directory / "saved_model.pb").exists()
    for file in sorted(source.rglob("*")):
        place = file.relative_to(source)
        if file.is_dir() or (written and place.parts[0] in _GRAPH) or (directory / place).exists():
            continue
        (directory / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, directory / place)


def _check(before: Any, after: Any, requests: list[Request]) -> None:
    for name in before:
        for inputs in onnx_files.stated_inputs(requests, name):
            try:
                onnx_files.difference(
                    ask_tensorflow(before[name], inputs), ask_tensorflow(after[name], inputs)
                )
            except Differs as error:
                raise RuntimeError(f"{name} of the new version: {error}") from error


def _write_onnx(directory: Path, signatures: Any, requests: list[Request]) -> dict[str, str]:
    """Writes the files that agree; of the other signatures the reason."""
    labels = onnx_files.read_labels(directory)
    folder, left = directory / onnx_files.FOLDER, {}
    shutil.rmtree(folder, ignore_errors=True)  # of the version before
    folder.mkdir(parents=True)
    for name, signature in signatures.items():
        path = onnx_files.onnx_file(directory, name)
        asked = onnx_files.stated_inputs(requests, name)
        try:
            if not asked:
                raise Differs("there is no warm-up request to check it with")
            path.write_bytes(onnx_of(signature))
            ask = ask_onnx(path, signature, labels)
            for given in asked:
                onnx_files.difference(ask_tensorflow(signature, given), ask(given))
        except Exception as error:  # whatever a converter raises is its reason
            left[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            if "INVALID_GRAPH" in left[name]:  # ONNX Runtime, of what the converter has left over
                left[name] = "holds operations that the converter cannot translate"
            path.unlink(missing_ok=True)
    if len(left) == len(signatures):
        reasons = "; ".join(f"{name} {reason}" for name, reason in left.items())
        raise UserError(f"{directory.parent}: no signature can be had as ONNX: {reasons}")
    return left
