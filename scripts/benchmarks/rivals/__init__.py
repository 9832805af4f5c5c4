"""What signs_lightning is measured against: each a script of its own that trains one of the three
models and marks its epochs.
"""
