"""A trained model as a file for other programs, and an ONNX file read back."""
