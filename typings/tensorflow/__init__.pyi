# Instead of the stubs that pyright brings: those are of TensorFlow 2.18, and in part.
from typing import Any

def __getattr__(name: str) -> Any: ...
