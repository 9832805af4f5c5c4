"""Python source of a model, written from the model itself."""
