"""A module that every script of this image may import: `from own_tools import greet`."""


def greet(name):
    return f"Hello, {name}, from a module of our own!"
