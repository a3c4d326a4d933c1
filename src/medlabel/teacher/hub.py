"""What published encoders need beside their weights: the hub, and the package transformers."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medlabel.errors import MedlabelError
from medlabel.teacher import encoder

logger = logging.getLogger("medlabel")

SECONDS_TO_ANSWER = 10.0


def endpoint() -> str:
    """Return the hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def heed_missing_network() -> None:
    """Let the hub's client use its cache at once where no network answers.

    It would retry each file for half a minute before it looks into the cache. Its own switch,
    HF_HUB_OFFLINE, is read only while it is imported.
    """
    import requests
    from huggingface_hub import constants

    try:
        requests.head(endpoint(), timeout=SECONDS_TO_ANSWER)
    except requests.RequestException:
        logger.warning("%s does not answer: looking for the files in its cache", endpoint())
        constants.HF_HUB_OFFLINE = True


def require_transformers(what: str) -> None:
    """Ask for the package that some text towers need.

    Parameters
    ----------
    what
        The key or file, and what of it the package reads: the beginning of the message.

    Raises
    ------
    MedlabelError
        When it is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise MedlabelError(
            f"{what} by the package transformers, which is not installed: run `pip install "
            f"'medlabel[hub]'`, or use a model whose text tower is open_clip's own."
        )


def with_words(model_cfg: Mapping[str, Any]) -> tuple[Any, Any]:
    """Build a CLIP whose text tower is one of transformers, with random weights.

    Parameters
    ----------
    model_cfg
        open_clip's, whose `text_cfg` names a hub id or a folder, and a context length.

    Returns
    -------
    tuple
        open_clip's network and its tokenizer.

    Raises
    ------
    MedlabelError
        When the package transformers, the text tower's configuration or its tokenizer is missing.
    """
    import open_clip

    text = model_cfg["text_cfg"]
    words = text["hf_model_name"]
    require_transformers(f"words: {words} is read")
    if not Path(words).is_dir():
        heed_missing_network()
    try:
        network = open_clip.CustomTextCLIP(
            **{**model_cfg, "text_cfg": {**text, "hf_model_pretrained": False}}
        )
        tokenizer = open_clip.tokenizer.HFTokenizer(words, text["context_length"])
    except encoder.UNREADABLE as error:
        raise MedlabelError(
            f"words: {words!r} given, whose configuration and tokenizer could not be had, tried "
            f"{endpoint()} ({encoder.one_line(error)[:200]}); give a folder that holds them, or a "
            f"hub id where there is a network."
        ) from error
    return network, tokenizer
