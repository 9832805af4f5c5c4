"""ONNX files: described, refused or run."""
