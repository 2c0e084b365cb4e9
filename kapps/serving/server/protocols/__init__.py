"""Requests as bytes -> arrays, and arrays -> answers as bytes; none of it knows TensorFlow.

What a signature takes is checked here, before a kernel sees it.
"""
