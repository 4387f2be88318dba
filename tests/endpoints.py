"""A stand-in for model servers on loopback: it speaks every protocol, and makes the faults that it is told to make."""

import base64
import contextlib
import io
import json
import socket
import ssl
import sys
import threading
import time
import traceback
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
from PIL import Image

MODEL = {"name": "m", "versions": ["3"], "platform": "test"}


class Server:
    """Serves `answer(rows) -> values`, where rows are a frame or an array, as JSON of the protocol that asks.

    Attributes:
        faults: What becomes of the next requests about rows, in order: None, a status, or a word of `_Handler.fault`.
        rows: Rows of every request that reached the model or a fault, in order.
        headers: Headers of every request.
        bodies: Bodies of every request about rows.
        connections: Those that are open.
        opened: How many were opened.
    """

    def __init__(self, answer, *, metadata=None, token=None, most=None, echo=False, port=0, certificate=None):
        self.answer, self.metadata, self.token, self.most, self.echo = answer, metadata, token, most, echo
        self.faults, self.rows, self.headers, self.bodies, self.lock = [], [], [], [], threading.Lock()
        self.always = None
        self.connections, self.opened = set(), 0
        handler = type("Handler", (_Handler,), {"server_of": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self.http.handle_error = _told
        self.port, self.scheme = self.http.server_address[1], "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"
        self.http.daemon_threads = True
        self.http.block_on_close = False
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def fault(self):
        with self.lock:
            return self.faults.pop(0) if self.faults else self.always

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def kill(self):
        """What is under way gets no answer any more."""
        self.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _told(request, address):
    """Prints a mistake in a test; whoever hangs up, or does not trust the certificate, makes none."""
    if not isinstance(sys.exc_info()[1], OSError):
        traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of = None

    def setup(self):
        super().setup()
        with self.server_of.lock:
            self.server_of.connections.add(self.connection)
            self.server_of.opened += 1

    def finish(self):
        self.server_of.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *words):
        pass

    def do_GET(self):
        server = self.server_of
        server.headers.append(dict(self.headers))
        if self._denied():
            return
        if "/v1/models/" in self.path and not self.path.endswith("/metadata"):
            state = {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            self._send(200, {"model_version_status": [state]})
        elif server.metadata is not None:
            self._send(200, server.metadata)
        else:
            self._send(404, {"error": "not found"})

    def do_POST(self):
        server = self.server_of
        server.headers.append(dict(self.headers))
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if not raw:  # Whoever asked was cut off, or gave up.
            return
        server.bodies.append(raw)
        if self._denied():
            return
        body = json.loads(raw)
        rows, shape = _rows(self.path, body)
        with server.lock:
            server.rows.append(len(rows))
        fault = server.fault()
        if fault is None and server.most is not None and len(rows) > server.most:
            fault = 413
        if fault is not None and self._fault(fault):
            return
        values = server.answer(rows)
        values = values.tolist() if isinstance(values, np.ndarray) else values
        self._send(200, shape(values))

    def _denied(self):
        server = self.server_of
        if server.token is None or self.headers.get("Authorization") == server.token:
            return False
        self._send(401, {"error": f"{self.headers.get('Authorization')} is no good"})
        return True

    def _fault(self, fault):
        """Makes a fault; returns whether the request is done with."""
        if fault == "cut":
            self.close_connection = True
            self.connection.shutdown(2)
        elif fault == "short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"predictions": [')
            self.close_connection = True
        elif fault == "slow":
            time.sleep(0.5)
            return False
        elif fault == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.close_connection = True
            with contextlib.suppress(OSError):
                for _ in range(40):
                    self.wfile.write(b" ")
                    time.sleep(0.05)
        elif fault == "html":
            self._write(200, b"<!DOCTYPE html><title>Please log in</title>", "text/html")
        elif fault == "huge":
            self._write(200, b"[" + b" " * 3000 + b"]", "application/json")
        elif isinstance(fault, bytes):
            self._write(500, fault, "text/plain")
        elif isinstance(fault, dict):
            self._send(200, fault)
        elif isinstance(fault, tuple):
            status, headers = fault
            self._send(status, {"error": "as told"}, headers)
        else:
            echoed = f" {self.headers.get('Authorization')}" if self.server_of.echo else ""
            self._send(fault, {"error": f"as told{echoed}"})
        return True

    def _send(self, status, value, headers=()):
        self._write(status, json.dumps(value).encode(), "application/json", headers)

    def _write(self, status, body, kind, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


def _rows(path, body):
    """The rows of a request, and what makes JSON of the protocol out of values."""
    if path.endswith("/infer"):
        columns = {each["name"]: np.array(each["data"], dtype=object).reshape(each["shape"]) for each in body["inputs"]}
        kinds = {each["name"]: each["datatype"] for each in body["inputs"]}
        if len(columns) == 1 and "parameters" not in body:
            [(name, values)] = columns.items()
            rows = values if kinds[name] == "BYTES" else values.astype(float)
        else:
            rows = pd.DataFrame({name: _typed(values.reshape(-1), kinds[name]) for name, values in columns.items()})
        return rows, _infer
    if path.endswith(":predict"):
        if "instances" in body:
            first = body["instances"][0]
            rows = pd.DataFrame([{name: _only(cell) for name, cell in row.items()} for row in body["instances"]]) if (
                isinstance(first, dict)) else np.array(body["instances"])  # fmt: skip
            return rows, lambda values: {"predictions": values}
        inputs = body["inputs"]
        if isinstance(inputs, dict):
            inputs = pd.DataFrame({name: [_only(cell) for cell in cells] for name, cells in inputs.items()})
        return inputs if isinstance(inputs, pd.DataFrame) else np.array(inputs), lambda values: {"outputs": values}
    if path.endswith("/invocations"):
        if "dataframe_split" in body:
            rows = pd.DataFrame(body["dataframe_split"]["data"], columns=body["dataframe_split"]["columns"])
        else:
            rows = np.array(body["instances"])
        return rows, lambda values: {"predictions": values}
    if path.endswith("/classify"):  # A template: images, one at a time.
        image = Image.open(io.BytesIO(base64.b64decode(body["image"]["data"])))
        return np.asarray(image)[None], lambda values: {"result": {"class": values[0]}}
    if path.endswith("/texts"):
        return np.array(body["inputs"], dtype=object), lambda values: [
            [{"label": value, "score": 1.0}] for value in values
        ]
    return pd.DataFrame(body["rows"]), lambda values: {"results": [{"label": value} for value in values]}


def _only(cell):
    return cell[0] if isinstance(cell, list) else cell


def _typed(values, kind):
    values = pd.Series(list(values))
    return values if kind == "BYTES" else values.astype({"BOOL": bool, "INT64": "int64"}.get(kind, "float64"))


def _infer(values):
    array = np.array(values, dtype=object)
    text = isinstance(array.reshape(-1)[0], str)
    kind = "BYTES" if text else "FP64" if array.ndim > 1 else "INT64"
    output = {"name": "output", "shape": list(array.shape), "datatype": kind, "data": array.reshape(-1).tolist()}
    return {"model_name": "m", "model_version": "3", "outputs": [output]}


def http_date(seconds):
    return formatdate(time.time() + seconds, usegmt=True)
