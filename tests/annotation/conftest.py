"""The tiny encoder of the teacher's tests."""

from tests.teacher.conftest import loaded, make_encoder, tiny_encoder, tiny_settings

__all__ = ["loaded", "make_encoder", "tiny_encoder", "tiny_settings"]
