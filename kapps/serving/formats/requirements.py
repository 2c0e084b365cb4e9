"""What a format needs, known without importing it."""

import importlib.util

from kapps.errors import UserError

FORMATS = {"onnx": ("tf2onnx", "onnxruntime"), "litert": (), "savedmodel": ()}
QUANTIZED = ("none", "float16", "int8")


def check_format(name: str) -> None:
    """Finds an unknown format, or one whose packages are missing, at once.

    Raises:
        UserError: naming the known formats, or the package to install.
    """
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}: it is one of {', '.join(FORMATS)}")
    missing = [p for p in FORMATS[name] if importlib.util.find_spec(p) is None]
    if missing:
        raise UserError(
            f"format {name} needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        )


def check_quantize(format: str, quantize: str) -> None:
    """Finds an unknown format or quantization, or one that the other does not have, at once.

    Raises:
        UserError: naming the known ones.
    """
    check_format(format)
    if quantize not in QUANTIZED:
        raise UserError(f"unknown quantization {quantize!r}: it is one of {', '.join(QUANTIZED)}")
    if quantize != "none" and format != "litert":
        raise UserError(f"--quantize {quantize} is for --format litert, not for {format}")
