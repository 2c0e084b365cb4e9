"""Other formats: ONNX and LiteRT, quantized if asked for."""
