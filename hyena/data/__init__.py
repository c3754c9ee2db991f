"""Data without torch: files, tokenizers, FASTA, corpora and windows of tokens, all in numpy.

The way from disk to batch: `load_corpus(paths, load_tokenizer("dna"))`, `.split(0.1)`, then `training_batch` and
`evaluation_windows` on the `.tokens`. Nothing here knows a model or a device, and nothing is downloaded.
"""

from hyena.data.corpus import Corpus, load_corpus
from hyena.data.fasta import Record, is_fasta, read_fasta, to_acgtn
from hyena.data.files import open_bytes, read_bytes
from hyena.data.loader import evaluation_windows, training_batch
from hyena.data.streaming import stream_decoder
from hyena.data.tokenizers import ByteTokenizer, DNATokenizer, FileTokenizer, Tokenizer, load_tokenizer

__all__ = [
    "ByteTokenizer",
    "Corpus",
    "DNATokenizer",
    "FileTokenizer",
    "Record",
    "Tokenizer",
    "evaluation_windows",
    "is_fasta",
    "load_corpus",
    "load_tokenizer",
    "open_bytes",
    "read_bytes",
    "read_fasta",
    "stream_decoder",
    "to_acgtn",
    "training_batch",
]
