"""The arguments of Keras's initializers, regularizers, losses, optimizers and the like."""

from __future__ import annotations

from signs_lightning.translate.signatures import Signature, parse_signatures

# Those of Keras 3; a test compares them with it.
INITIALIZERS = """
Constant(value=0.0)
GlorotNormal(seed=None)
GlorotUniform(seed=None)
HeNormal(seed=None)
HeUniform(seed=None)
Identity(gain=1.0)
LecunNormal(seed=None)
LecunUniform(seed=None)
Ones()
Orthogonal(gain=1.0, seed=None)
RandomNormal(mean=0.0, stddev=0.05, seed=None)
RandomUniform(minval=-0.05, maxval=0.05, seed=None)
TruncatedNormal(mean=0.0, stddev=0.05, seed=None)
VarianceScaling(scale=1.0, mode='fan_in', distribution='truncated_normal', seed=None)
Zeros()
"""
REGULARIZERS = """
L1(l1=0.01)
L2(l2=0.01)
L1L2(l1=0.0, l2=0.0)
OrthogonalRegularizer(factor=0.01, mode='rows')
"""
CONSTRAINTS = """
MaxNorm(max_value=2, axis=0)
MinMaxNorm(min_value=0.0, max_value=1.0, rate=1.0, axis=0)
NonNeg()
UnitNorm(axis=0)
"""
SCHEDULES = """
CosineDecay(initial_learning_rate, decay_steps, alpha=0.0, warmup_target=None, warmup_steps=0)
CosineDecayRestarts(initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0)
ExponentialDecay(initial_learning_rate, decay_steps, decay_rate, staircase=False)
InverseTimeDecay(initial_learning_rate, decay_steps, decay_rate, staircase=False)
PiecewiseConstantDecay(boundaries, values)
PolynomialDecay(initial_learning_rate, decay_steps, end_learning_rate=0.0001, power=1.0,
    cycle=False)
"""
LOSSES = """
BinaryCrossentropy(from_logits=False, label_smoothing=0.0, axis=-1,
    reduction='sum_over_batch_size')
CategoricalCrossentropy(from_logits=False, label_smoothing=0.0, axis=-1,
    reduction='sum_over_batch_size')
SparseCategoricalCrossentropy(from_logits=False, ignore_class=None,
    reduction='sum_over_batch_size', axis=-1)
"""
ADAM = "learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07"
# Those that every optimizer has beside its own; since Keras 2.11, and before.
COMMON = """weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False,
    ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
    gradient_accumulation_steps=None"""
OLD_COMMON = "clipnorm=None, clipvalue=None, global_clipnorm=None"
OPTIMIZERS = f"""
Adam({ADAM}, amsgrad=False, {COMMON})
AdamW(learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-07,
    amsgrad=False, {COMMON.replace("weight_decay=None, ", "")})
SGD(learning_rate=0.01, momentum=0.0, nesterov=False, {COMMON})
RMSprop(learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False, {COMMON})
Adagrad(learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-07, {COMMON})
Adadelta(learning_rate=0.001, rho=0.95, epsilon=1e-07, {COMMON})
Adamax({ADAM}, {COMMON})
Nadam({ADAM}, {COMMON})
Lion(learning_rate=0.001, beta_1=0.9, beta_2=0.99, {COMMON})
"""
# tf.keras before 2.11, and its `optimizers.legacy`
OF_TF_KERAS = f"""
Adam({ADAM}, amsgrad=False, decay=0.0, {OLD_COMMON})
SGD(learning_rate=0.01, momentum=0.0, nesterov=False, decay=0.0, {OLD_COMMON})
RMSprop(learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False, decay=0.0,
    {OLD_COMMON})
Adagrad(learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-07, decay=0.0, {OLD_COMMON})
Adadelta(learning_rate=0.001, rho=0.95, epsilon=1e-07, decay=0.0, {OLD_COMMON})
Adamax({ADAM}, decay=0.0, {OLD_COMMON})
Nadam({ADAM}, decay=0.004, {OLD_COMMON})
"""
# Keras before it became a part of TensorFlow; Keras 1 has another epsilon
MULTI_BACKEND = f"""
SGD(learning_rate=0.01, momentum=0.0, decay=0.0, nesterov=False, {OLD_COMMON})
RMSprop(learning_rate=0.001, rho=0.9, epsilon=1e-07, decay=0.0, {OLD_COMMON})
Adagrad(learning_rate=0.01, epsilon=1e-07, decay=0.0, {OLD_COMMON})
Adadelta(learning_rate=1.0, rho=0.95, epsilon=1e-07, decay=0.0, {OLD_COMMON})
Adam({ADAM}, decay=0.0, amsgrad=False, {OLD_COMMON})
Adamax({ADAM.replace("0.001", "0.002")}, decay=0.0, {OLD_COMMON})
Nadam({ADAM.replace("0.001", "0.002")}, schedule_decay=0.004, {OLD_COMMON})
"""
# TensorFlow 1, in the words of Keras; only the epsilon of Adam is its own
OF_TENSORFLOW1 = """
AdamOptimizer(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
GradientDescentOptimizer(learning_rate)
MomentumOptimizer(learning_rate, momentum, use_locking=False, name='', nesterov=False)
"""
OBJECTS: dict[str, dict[str, Signature]] = {
    "initializers": parse_signatures(INITIALIZERS),
    "regularizers": parse_signatures(REGULARIZERS),
    "constraints": parse_signatures(CONSTRAINTS),
    "optimizers.schedules": parse_signatures(SCHEDULES),
    "losses": parse_signatures(LOSSES),
}
OPTIMIZER_KINDS: dict[str, dict[str, Signature]] = {
    "new": parse_signatures(OPTIMIZERS),
    "tf.keras": parse_signatures(OF_TF_KERAS),
    "multi-backend": parse_signatures(MULTI_BACKEND),
    "tf.train": parse_signatures(OF_TENSORFLOW1),
}
