# Opens a socket at the end of a chain of calls.
import socket


def inner():
    socket.socket().close()


def outer():
    inner()


outer()
