"""What does a fresh machine need before voicestack runs on it? `make` asks; runs on a bare Python."""

from voicestack.bootstrap.llama import llama_server_path

__all__ = ["llama_server_path"]
