"""The canonical spelling of the names of libraries, whichever release or path they came from."""

from __future__ import annotations

import re
import sys

from signs_lightning.translate.values import LibraryName

# Whole prefixes, in order; what is replaced is looked at again.
_PREFIXES = {
    "tensorflow.compat.v1": "tensorflow",
    "tensorflow.compat.v2": "tensorflow",
    "tensorflow.contrib.keras.python.keras": "keras",
    "tensorflow.contrib.keras.api.keras": "keras",
    "tensorflow.contrib.keras": "keras",
    "tensorflow.python.keras": "keras",
    "tensorflow.python.framework.ops": "tensorflow",
    "tensorflow.python": "tensorflow",
    "tensorflow_core": "tensorflow",
    "tensorflow.keras": "keras",
    "tf_keras": "keras",
    "keras.src": "keras",
    "keras.api": "keras",
    "keras._tf_keras": "keras",
    "keras.keras": "keras",
    "keras_applications": "keras.applications",
    "keras_preprocessing": "keras.preprocessing",
    "keras.layers.experimental.preprocessing": "keras.layers",
    "keras.layers.experimental": "keras.layers",
    "keras.layers.preprocessing": "keras.layers",
    "keras.legacy.layers": "keras.layers",
    "keras.legacy.interfaces": "keras.layers",
    "keras.engine.input_layer": "keras.layers",
    "keras.engine.topology": "keras.layers",
    "keras.engine.base_layer": "keras.layers",
    "keras.engine.training": "keras.models",
    "keras.engine.sequential": "keras.models",
    "keras.engine.functional": "keras.models",
    "keras.engine": "keras.layers",
    "keras.models.sequential": "keras.models",
    "keras.models.model": "keras.models",
    "keras.models.functional": "keras.models",
    "keras.initializations": "keras.initializers",
    "keras.objectives": "keras.losses",
    "tensorflow.optimizers": "keras.optimizers",
    "keras.ops.image": "tensorflow.image",
    "keras.utils.np_utils": "keras.utils",
    "keras.utils.vis_utils": "keras.utils",
    "keras.utils.visualize_util": "keras.utils",
    "keras.utils.data_utils": "keras.utils",
    "keras.utils.generic_utils": "keras.utils",
    "keras.utils.layer_utils": "keras.utils",
    "keras.utils.training_utils": "keras.utils",
    "keras.utils.io_utils": "keras.utils",
    "keras.utils.all_utils": "keras.utils",
    "keras.preprocessing.image_dataset": "keras.utils",
    "numpy.core": "numpy",
    "sklearn.cross_validation": "sklearn.model_selection",
    "sklearn.externals.joblib": "joblib",
}
# Module of `keras` to where its public names are, whatever file they are in.
_FLAT = (
    "layers", "models", "callbacks", "losses", "metrics", "initializers", "regularizers",
    "constraints", "activations", "datasets",
)  # fmt: skip
_NAMES = {
    "keras.Input": "keras.layers.Input",
    "keras.models.Input": "keras.layers.Input",
    "keras.InputLayer": "keras.layers.InputLayer",
    "keras.Model": "keras.models.Model",
    "keras.Sequential": "keras.models.Sequential",
    "keras.layers.Model": "keras.models.Model",
    "keras.layers.Sequential": "keras.models.Sequential",
    "keras.layers.Network": "keras.models.Model",
    "keras.models.Functional": "keras.models.Model",
    "keras.Layer": "keras.layers.Layer",
    "keras.layers.Container": "keras.models.Model",
    "keras.Loss": "keras.losses.Loss",
    "keras.Metric": "keras.metrics.Metric",
    "keras.Optimizer": "keras.optimizers.Optimizer",
    "keras.preprocessing.image_dataset_from_directory": "keras.utils.image_dataset_from_directory",
    "keras.preprocessing.image.image_dataset_from_directory": (
        "keras.utils.image_dataset_from_directory"
    ),
    "keras.preprocessing.image.load_img": "keras.utils.load_img",
    "keras.preprocessing.image.img_to_array": "keras.utils.img_to_array",
    "keras.preprocessing.image.array_to_img": "keras.utils.array_to_img",
    "tensorflow.estimator.train_and_evaluate": "tensorflow.estimator.train_and_evaluate",
}
_CLASS_IN_FILE = re.compile(r"^(keras\.applications)\.[a-z_0-9]+\.([A-Z]\w*)$")
_OPTIMIZER_FILE = re.compile(
    r"^keras\.optimizers\.(?:optimizer_v[12]\.)?"
    r"(?:adam|sgd|rmsprop|nadam|adagrad|adadelta|adamax|gradient_descent|adam_v2|ftrl|adamw"
    r"|rmsprop_v2|gradient_descent_v2|adamax_v2|nadam_v2)\.([A-Z]\w*)$"
)
_SCHEDULE_FILE = re.compile(r"^keras\.optimizers\.schedules\.learning_rate_schedule\.([A-Z]\w*)$")
# TensorFlow 1 has functions of other arguments there, and no classes.
_CLASS_OF_TENSORFLOW = re.compile(r"^tensorflow\.((?:losses|metrics)\.[A-Z]\w*)$")

# Packages that are not beside a notebook; their missing names are not a missing file.
PACKAGES = frozenset(
    [
    "keras", "tensorflow", "numpy", "h5py", "pandas", "matplotlib", "seaborn", "sklearn",
    "skimage", "scipy", "cv2", "PIL", "pylab", "IPython", "ipywidgets", "tqdm",
    "tensorflow_datasets", "tensorflow_addons", "tensorflow_hub", "tensorboard", "wandb",
    "mlflow", "google", "kaggle", "kaggle_datasets", "imutils", "imageio", "plotly", "joblib",
    "yaml", "requests", "pydot", "graphviz", "albumentations", "imgaug", "keras_tuner",
    "kerastuner", "keras_cv", "autokeras", "torch", "torchvision", "theano", "scikitplot",
    "mlxtend", "livelossplot", "visualkeras", "efficientnet", "classification_models",
    "segmentation_models", "psutil", "future", "six", "builtins", "natsort", "nltk", "gdown",
    "optuna", "hyperopt", "talos", "lime", "shap", "cntk", "keras_contrib", "keras_tqdm",
    "tables", "pycocotools", "pydicom", "SimpleITK", "nibabel", "patoolib", "simplejson",
    "dill", "cloudpickle", "sklearn_pandas", "missingno", "bokeh", "networkx", "statsmodels",
    "xgboost", "lightgbm", "tensorflowjs", "onnx", "keras_radam",
    "tensorflow_model_optimization", "pytz", "dateutil", "lxml", "bs4", "colorama", "termcolor",
    "splitfolders", "opendatasets", "kagglehub", "jax", "flax", "gradio", "streamlit", "flask",
    "tabulate", "prettytable", "innvestigate", "vis", "keras_vis", "tf_explain", "skopt",
    "hdf5storage", "pathlib2", "mpl_toolkits", "astropy", "rasterio",
]
)  # fmt: skip


# What a name that is not bound is taken for.
ALIASES = {
    "tf": "tensorflow", "np": "numpy", "plt": "matplotlib.pyplot", "pd": "pandas", "os": "os",
    "sns": "seaborn", "cv2": "cv2", "keras": "keras",
}  # fmt: skip


def canonical(name: str) -> str:
    """Return the canonical spelling of a dotted name, such as "keras.layers.Conv2D"."""
    changed = True
    while changed:
        changed = False
        for old, new in _PREFIXES.items():
            if name == old or name.startswith(old + "."):
                name, changed = new + name[len(old) :], True
    parts = name.split(".")
    # keras.layers.convolutional.Conv2D: the file of a public class or function says nothing.
    if len(parts) > 3 and parts[0] == "keras" and parts[1] in _FLAT and parts[1] != "datasets":
        name = f"keras.{parts[1]}.{parts[-1]}" if parts[2][:1].islower() else name
    for pattern in (_CLASS_IN_FILE, _OPTIMIZER_FILE, _SCHEDULE_FILE):
        if found := pattern.match(name):
            prefix = {
                _CLASS_IN_FILE: "keras.applications",
                _OPTIMIZER_FILE: "keras.optimizers",
                _SCHEDULE_FILE: "keras.optimizers.schedules",
            }[pattern]
            name = f"{prefix}.{found[found.re.groups]}"
    name = _CLASS_OF_TENSORFLOW.sub(r"keras.\1", name)
    return _NAMES.get(name, name)


def is_installed_package(module: str) -> bool:
    """Return whether a module is one of Python's or of a published package."""
    top = module.split(".", 1)[0]
    return top in PACKAGES or top in sys.stdlib_module_names


# What `from MODULE import *` gives, where several of them are used together.
_OWNERS = {
    "keras.models": "Model Sequential load_model model_from_json clone_model save_model "
    "model_from_yaml",
    "keras.optimizers": "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion Muon Nadam "
    "RMSprop SGD Optimizer schedules TFOptimizer",
    "keras.callbacks": "BackupAndRestore CSVLogger Callback EarlyStopping History LambdaCallback "
    "LearningRateScheduler ModelCheckpoint ProgbarLogger ReduceLROnPlateau RemoteMonitor "
    "TensorBoard TerminateOnNaN BaseLogger",
    "keras.regularizers": "l1 l2 l1_l2 L1 L2 L1L2 Regularizer",
    "keras.losses": "binary_crossentropy categorical_crossentropy sparse_categorical_crossentropy "
    "mean_squared_error mean_absolute_error BinaryCrossentropy CategoricalCrossentropy "
    "SparseCategoricalCrossentropy MeanSquaredError",
    "keras.metrics": "categorical_accuracy binary_accuracy sparse_categorical_accuracy "
    "top_k_categorical_accuracy AUC Precision Recall CategoricalAccuracy BinaryAccuracy "
    "SparseCategoricalAccuracy Accuracy TopKCategoricalAccuracy",
    "keras.initializers": "glorot_uniform glorot_normal he_normal he_uniform random_uniform "
    "random_normal constant lecun_normal lecun_uniform orthogonal GlorotUniform GlorotNormal "
    "HeNormal HeUniform RandomNormal RandomUniform TruncatedNormal VarianceScaling Constant Zeros "
    "Ones Orthogonal LecunNormal LecunUniform",
    "keras.utils": "to_categorical plot_model np_utils image_dataset_from_directory Sequence "
    "get_file multi_gpu_model load_img img_to_array",
    "keras.preprocessing.image": "ImageDataGenerator load_img img_to_array array_to_img",
    "keras.datasets": "boston_housing california_housing cifar10 cifar100 fashion_mnist imdb mnist "
    "reuters",
    "keras.constraints": "max_norm maxnorm min_max_norm non_neg unit_norm unitnorm Constraint "
    "MaxNorm MinMaxNorm NonNeg UnitNorm",
    "keras": "layers models optimizers callbacks losses metrics initializers regularizers utils "
    "applications preprocessing backend datasets activations constraints Model Sequential Input",
    "tensorflow": "keras",
}
_OWNER_NAMES = {module: frozenset(names.split()) for module, names in _OWNERS.items()}
_ELSEWHERE = frozenset().union(*_OWNER_NAMES.values()) - {"Input"}
_CLASS = re.compile(r"^[A-Z](?:[A-Za-z]*[a-z][A-Za-z]*|[A-Z]+)(?:[1-3]D[A-Za-z]*)?$")
_MERGES = frozenset(
    ["add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract", "merge"]
)


def star_name(module: str, name: str) -> LibraryName | None:
    """Return what `from module import *` binds to a name, or None if it does not bind it."""
    if module == "keras.layers":
        is_layer = name in _MERGES or (bool(_CLASS.match(name)) and name not in _ELSEWHERE)
        return LibraryName(canonical(f"{module}.{name}")) if is_layer else None
    if module in _OWNER_NAMES:
        is_known = name in _OWNER_NAMES[module]
        return LibraryName(canonical(f"{module}.{name}")) if is_known else None
    if module.startswith("keras.applications"):
        is_model = bool(_CLASS.match(name)) or name in ("preprocess_input", "decode_predictions")
        is_model = is_model or bool(re.match(r"^[A-Z][A-Za-z]+\d+(V\d)?$", name))
        return LibraryName(canonical(f"{module}.{name}")) if is_model else None
    return LibraryName(canonical(f"{module}.{name}"))
