"""Other formats: ONNX and LiteRT, quantised if asked for."""
