"""What of libraries and records has no effect on a model and its training."""

from __future__ import annotations

# Whole modules, up to the next dot.
_MODULES = (
    "matplotlib", "seaborn", "plotly", "IPython", "ipywidgets", "pylab", "bokeh", "time", "timeit",
    "warnings", "logging", "gc", "sys", "pprint", "shutil", "zipfile", "tarfile", "subprocess",
    "sklearn.metrics", "google.colab", "wandb", "mlflow", "livelossplot", "visualkeras", "mlxtend",
    "scikitplot", "psutil", "platform", "datetime", "graphviz", "pydot", "traceback", "textwrap",
    "tensorflow.config", "tensorflow.compat.v1.logging", "tensorflow.logging", "tensorflow.version",
    "tensorflow.debugging", "tensorflow.autograph.set_verbosity", "tensorflow.test",
    "tensorflow.get_logger", "tensorflow.saved_model", "tensorflow.lite", "tensorflow.profiler",
    "tensorboard", "tensorflow.summary", "os.system", "os.makedirs", "os.mkdir", "os.environ",
    "os.chdir", "os.remove", "os.rmdir", "os.rename", "os.path.exists", "os.path.isfile",
    "os.path.isdir", "os.getcwd", "os.walk", "os.stat", "os.path.getsize", "os.path.getctime",
    "os.path.getmtime", "os.getpid", "os.cpu_count", "os.symlink", "os.unlink", "json.dump",
    "pickle.dump", "joblib.dump", "builtins.print", "builtins.input", "builtins.open",
    "builtins.help", "builtins.display", "builtins.exit", "builtins.quit",
    "builtins.dir", "builtins.id", "builtins.hash",
    "tensorflow.print", "tensorflow.random.set_seed", "tensorflow.set_random_seed",
    "tensorflow.random.set_random_seed", "keras.utils.set_random_seed", "numpy.random.seed",
    "random.seed", "numpy.set_printoptions", "numpy.save", "numpy.savez", "numpy.savetxt",
    "numpy.savez_compressed", "pandas.set_option", "pandas.options", "tensorflow.Session",
    "tensorflow.ConfigProto", "tensorflow.GPUOptions", "tensorflow.InteractiveSession",
    "tensorflow.global_variables_initializer", "tensorflow.reset_default_graph",
    "tensorflow.get_default_graph", "tensorflow.Graph", "tensorflow.device",
    "tensorflow.name_scope",
    "tensorflow.get_default_session", "tensorflow.executing_eagerly",
    "tensorflow.enable_eager_execution", "tensorflow.disable_v2_behavior",
    "tensorflow.enable_v2_behavior", "tensorflow.disable_eager_execution",
    "tensorflow.distribute", "tensorflow.tpu", "tensorflow.contrib.tpu", "keras.utils.plot_model",
    "keras.utils.model_to_dot", "keras.utils.print_summary", "keras.utils.Progbar",
    "keras.applications.imagenet_utils.decode_predictions", "keras.utils.array_to_img",
    "keras.utils.save_img", "keras.preprocessing.image.save_img", "keras.models.save_model",
    "keras.backend.set_session", "keras.backend.get_session", "keras.backend.name_scope",
    "keras.backend.get_value", "keras.utils.get_file", "tensorflowjs",
    "keras.utils.get_source_inputs",
    "cv2.imshow", "cv2.waitKey", "cv2.destroyAllWindows", "cv2.imwrite", "cv2.putText",
    "cv2.rectangle", "keras.callbacks.History", "argparse.Namespace", "tabulate", "prettytable",
    "kaggle", "gdown", "requests", "urllib", "opendatasets", "lime", "shap", "tf_explain", "vis",
    "tensorflow.io.gfile", "getpass", "socket",
    "uuid", "os.name", "os.sep", "multiprocessing.cpu_count", "statsmodels", "colorama",
    "termcolor",
    "splitfolders", "patoolib", "missingno", "tensorflow.sysconfig", "tensorflow.train.Saver",
    "tensorflow.__version__", "keras.__version__", "numpy.__version__", "io.StringIO", "tqdm.write",
    "tensorflow.Summary", "os.get_terminal_size", "locale", "signal", "atexit", "faulthandler",
    "PIL.ImageFile.LOAD_TRUNCATED_IMAGES", "PIL.Image.MAX_IMAGE_PIXELS",
    "ssl._create_default_https_context", "ssl._create_unverified_context",
)  # fmt: skip
_NAMES = frozenset(_MODULES)

# They reach names and modules that the call does not mention.
_REACH_EVERYTHING = frozenset(
    [
    "builtins.exec", "builtins.eval", "builtins.execfile", "builtins.globals", "builtins.locals",
    "builtins.delattr", "sys.modules", "sys.argv", "sys._getframe", "sys.settrace",
    "sys.setprofile", "importlib.reload", "gc.get_objects", "gc.get_referrers",
    "inspect.currentframe",
    "inspect.stack", "ctypes", "runpy", "code", "codeop", "unittest.mock",
    "types.FunctionType", "types.CodeType", "builtins.reload", "imp.reload",
]
)  # fmt: skip
_CHANGING_METHODS = frozenset({"__setattr__", "__delattr__", "__setitem__", "__delitem__"})


def reaches_everything(name: str) -> bool:
    """Return whether a call of this name may change any name, module or model."""
    parts = name.split(".")
    if "__dict__" in parts[:-1] or parts[-1] in _CHANGING_METHODS:
        return True
    return any(".".join(parts[:k]) in _REACH_EVERYTHING for k in range(1, len(parts) + 1))


# Methods of records, whatever they return.
METHODS = frozenset(
    [
    "summary", "predict", "predict_on_batch", "predict_generator", "predict_classes",
    "predict_proba", "evaluate", "evaluate_generator", "save", "save_weights", "to_json",
    "to_yaml", "count_params", "get_config", "show", "plot", "print", "head", "tail",
    "describe", "info", "value_counts", "hist", "display", "write", "close", "flush", "savefig",
    "imshow", "test_on_batch", "get_weights", "export", "numpy", "take", "isnull", "__str__",
    "__repr__", "set_title", "set_xlabel", "set_ylabel", "axis", "legend", "grid",
    "bar", "barh", "scatter", "set_xticks", "set_yticks", "set_xticklabels", "set_yticklabels",
    "set_ylim", "set_xlim", "text", "annotate", "add_subplot", "subplots_adjust",
    "tight_layout", "colorbar", "title", "xlabel", "ylabel", "suptitle", "set_axis_off",
    "matshow", "figure", "subplot",
]
)  # fmt: skip


def has_no_effect(name: str) -> bool:
    """Return whether calling this name, or using its value, changes no model and no training."""
    while name:
        if name in _NAMES:
            return True
        name = name.rpartition(".")[0]
    return name in _NAMES


# Decorators that leave the function what it is.
HARMLESS_DECORATORS = frozenset(
    [
    "tensorflow.function", "functools.wraps",
    "typing.overload", "keras.utils.register_keras_serializable",
    "keras.saving.register_keras_serializable", "abc.abstractmethod", "typing.no_type_check",
    "tensorflow.autograph.experimental.do_not_convert",
    "tensorflow.Module.with_name_scope", "atexit.register", "functools.total_ordering",
    "keras.export.keras_export",
]
)  # fmt: skip
