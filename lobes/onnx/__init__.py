"""Networks as ONNX graphs: whole signals and streams, their export and how they are run."""
