"""Turns ids into text one at a time, for generation that is shown while it runs.

A character can be spread over several tokens; its pieces are held back until it is whole, so no half character is ever
shown. What is still held back at the end is not flushed: `tokenizer.decode` of all ids is the complete text.
"""

import codecs
from collections.abc import Callable, Sequence

from hyena.data.tokenizers import ByteTokenizer, DNATokenizer, Tokenizer

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def stream_decoder(tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> Callable[[int], str]:
    """A function from the next id to the text that it completes, possibly none; HyenaError for an id out of range.

    The pieces joined, behind the text of the prompt's ids, are the beginning of `tokenizer.decode` of all ids so far. Each
    `stream_decoder` starts anew.
    """
    if isinstance(tokenizer, DNATokenizer):
        return lambda token: tokenizer.decode([token])
    if isinstance(tokenizer, ByteTokenizer):
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return lambda token: decoder.decode(tokenizer.to_bytes([token]))
    return _window_decoder(tokenizer, prompt)


def _window_decoder(tokenizer: Tokenizer, prompt: Sequence[int]) -> Callable[[int], str]:
    """For any tokenizer: decode the last ids with and without the new one, and show the difference.

    The last ids shown stay in front as context, because many decoders write a token differently at the start of a text
    (they drop its space). The cost per id is that of a few ids, however long the text grows.
    """
    context: list[int] = list(prompt[-8:])
    pending: list[int] = []

    def next_text(token: int) -> str:
        nonlocal context, pending
        before = tokenizer.decode(context)
        after = tokenizer.decode([*context, *pending, token])
        pending.append(token)
        # A replacement character at the end is a character whose other bytes may still come.
        if len(after) <= len(before) or after.endswith(_REPLACEMENT):
            return ""
        context, pending = pending, []
        return after[len(before) :]

    return next_text
