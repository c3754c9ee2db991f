"""Data without torch: files, tokenizers, FASTA, corpora and windows of tokens, all in numpy.

The way from disk to batch: `corpora(DataConfig(files=...), load_tokenizer("dna"))`, then `training_batch` and
`evaluation_windows` on the `.tokens`; `prepare` keeps tokens on disk. Nothing here knows a model or a device, and nothing is
downloaded.
"""

from hyena.data.corpora import corpora, hold_out_records, load_corpus
from hyena.data.corpus import Contents, Corpus
from hyena.data.dna import to_acgtn
from hyena.data.fasta import Record, is_fasta, read_fasta
from hyena.data.files import open_bytes, read_bytes
from hyena.data.loader import evaluation_windows, training_batch
from hyena.data.shards import open_tokens, prepare
from hyena.data.streaming import stream_decoder
from hyena.data.synthetic import recall_batch
from hyena.data.tokenizers import ByteTokenizer, DNATokenizer, FileTokenizer, Tokenizer, load_tokenizer
from hyena.data.tokens import Tokens

__all__ = [
    "ByteTokenizer",
    "Contents",
    "Corpus",
    "DNATokenizer",
    "FileTokenizer",
    "Record",
    "Tokenizer",
    "Tokens",
    "corpora",
    "evaluation_windows",
    "hold_out_records",
    "is_fasta",
    "load_corpus",
    "load_tokenizer",
    "open_bytes",
    "open_tokens",
    "prepare",
    "read_bytes",
    "read_fasta",
    "recall_batch",
    "stream_decoder",
    "to_acgtn",
    "training_batch",
]
