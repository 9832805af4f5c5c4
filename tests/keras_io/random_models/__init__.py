"""Random valid Keras classifiers, and what is compared of each with Keras itself."""
