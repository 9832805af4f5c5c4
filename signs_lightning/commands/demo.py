"""The demo verb: a web page that classifies pictures with a trained model."""

from __future__ import annotations

import errno
import getpass
import importlib.util
import ipaddress
import os
import re
import signal
import socket
import sys
import tempfile
from typing import NoReturn
from urllib.parse import urlsplit

from signs_lightning.commands.command_parser import CommandParser
from signs_lightning.commands.own_model_options import take_model_options
from signs_lightning.errors import InputError
from signs_lightning.keras_io.input_scales import SCALES
from signs_lightning.runtime.escaping import shorten
from signs_lightning.runtime.terminal import print_message

PATH = re.compile(r"(/[\w.~-]+)*/?", re.ASCII)  # of a page behind a proxy
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def main(verb: str, args: list[str]) -> int:
    """Run the page until Ctrl-C or SIGTERM; return the exit code.

    Raises:
        InputError: the model or the address cannot be used, or Gradio is not installed.
    """
    parser = CommandParser(
        verb,
        "A web page on this machine: drop a picture, see what the model makes of it.",
        "RUN [options]",
        ("files", "--host", "--port", "--auth", "--root_path", "--scale"),
        ("demo lightning_logs/quickstart/version_0", "demo model.keras --port 8000"),
    )
    parser.add_file("checkpoint, run folder, Keras file or exported .onnx")
    add = parser.add_argument
    add("--scale", choices=SCALES, help="of a Keras file, as in import-keras")
    parser.add_output_layer_option()
    parser.add_resize_options()
    host, port = "127.0.0.1", 7860
    add("--host", default=host, metavar="H", help=f"address, 0.0.0.0 for every network ({host})")
    add("--port", type=int, default=port, metavar="P", help=f"port, 0 for any free one ({port})")
    who = "ask visitors for these; the password is prompted for when left out"
    add("--auth", metavar="USER:PASSWORD", help=who)
    add(
        "--root_path", default="", metavar="P", help="where a proxy has it: /signs, https://…/signs"
    )
    parser.add_model_options()
    own, args = take_model_options(args)
    options = parser.parse_args(args)
    if importlib.util.find_spec("gradio") is None:
        raise InputError(
            "The web page needs Gradio, which is missing. Run "
            "`pip install 'signs-lightning[demo]'`."
        )
    root_path, public = _root_path(options.root_path)
    auth = None if options.auth is None else _credentials(options.auth)
    with (
        _listen(options.host, options.port) as listener,
        tempfile.TemporaryDirectory(prefix="signs_lightning_") as folder,
    ):
        signal.signal(signal.SIGTERM, _stop)  # so that the temporary folder is deleted
        try:
            from signs_lightning.demo.server import configure_gradio, serve

            configure_gradio(folder)  # before Gradio, an optional package, is imported
            from signs_lightning.checkpoints.load_model import load_model
            from signs_lightning.demo.gradio_page import build_page
            from signs_lightning.models.other_inputs import check_images_suffice

            of_keras = options.scale, options.output_layer
            model, data = load_model(options.ckpt_path, verb, *of_keras, own)
            check_images_suffice(model, verb)
            model.adopt_resizing(options.resize, options.fit, is_needed=True)
            page = build_page(model, data, folder)
            address = listener.getsockname()[0]
            hosts = ["localhost", address, f"[{address}]", options.host, *public]
            if not ipaddress.ip_address(address).is_loopback:
                hosts = ["*"]
                print_message(_warning(options.host, auth is not None), sys.stderr)
            serve(page, listener, auth, hosts, _url(listener, options.host), root_path)
        except KeyboardInterrupt:
            print(file=sys.stderr)  # ends the line on which the terminal shows ^C
    return INTERRUPTED


def _credentials(text: str) -> tuple[str, str]:
    """Return user and password of USER:PASSWORD; ask for a missing password."""
    user, colon, password = text.partition(":")
    if user and not colon and sys.stdin.isatty():
        password = getpass.getpass(f"Password for {user}: ")
    if not user or not password:
        raise InputError(
            "--auth is incomplete, expected USER:PASSWORD such as --auth guest:swordfish."
        )
    return user, password


def _root_path(text: str) -> tuple[str, list[str]]:
    """Return the path or address that a proxy has the page at, and the name of its host, if any."""
    address = urlsplit(text)
    is_path = not (address.query or address.fragment) and PATH.fullmatch(address.path)
    if not is_path or bool(address.netloc) != (address.scheme in ("http", "https")):
        raise InputError(
            f"--root_path is '{shorten(text)}', expected a path such as /signs, or an address such "
            "as https://example.org/signs."
        )
    return text.rstrip("/"), [address.hostname] if address.hostname else []


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}, expected a number from 0 to 65535.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(
            f"--host {host} is no address of a machine. Use 127.0.0.1 or 0.0.0.0."
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"Port {port} is taken by another program. Name another one with --port."
            ) from error
        raise InputError(
            f"The page cannot listen at {host}, port {port}: {os.strerror(error.errno or 0)}. "
            "Name others with --host and --port."
        ) from error


def _url(listener: socket.socket, host: str) -> str:
    name = "localhost" if ipaddress.ip_address(listener.getsockname()[0]).is_unspecified else host
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}"


def _warning(host: str, protected: bool) -> str:
    who = f"Every machine that reaches this one can open the page (--host {host})"
    if protected:
        return f"{who} with the password, which travels unencrypted."
    return f"{who}. Add --auth USER:PASSWORD, or drop --host to keep it to this machine."


def _stop(number: int, frame: object) -> NoReturn:
    """End the server as Ctrl-C does."""
    raise KeyboardInterrupt
