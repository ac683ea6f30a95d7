"""A detector as one ONNX graph, with its calibration: for programs without PyTorch, or without Python."""
