"""What a run trains on and what it validates on: two corpora that never overlap."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from hyena.configs.data import DataConfig, Policy
from hyena.configs.files import nearest
from hyena.data.corpus import LISTED, Contents, Corpus, Span, join, read_corpus
from hyena.data.dna import check_policy
from hyena.data.reader import Report
from hyena.data.shards import open_prepared, open_tokens, prepare, read_index
from hyena.data.sources import find_sources, identity, is_prepared
from hyena.data.tokenizers import DNATokenizer, Tokenizer
from hyena.data.tokens import Tokens
from hyena.errors import HyenaError

Paths = Sequence[str | Path]
# Shorter records, such as reads and small transcripts, can be alike in files that have nothing else in common.
_LONG = 1000


def load_corpus(paths: Paths | str | Path, tokenizer: Tokenizer, policy: Policy | None = None) -> Corpus:
    """Read files and folders, plain or compressed, into one corpus in memory, in the order given.

    Between two documents (text files, lines of .jsonl, FASTA records) stands [SEP] for the DNA tokenizer, the end-of-text
    token of a tokenizer file that has one, else a line end where the document has none. Of FASTA only the sequences are
    taken; DNA and FASTA letters are read by `policy`. A directory written by `prepare` is used in place. HyenaError, naming
    the file, for one that cannot be read or encoded or holds no token.
    """
    policy = policy or Policy()
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    find_sources(given)  # nothing twice, before anything is read
    return _gather(given, tokenizer, policy, lambda run, _: read_corpus(run, tokenizer, policy))


def corpora(
    config: DataConfig,
    tokenizer: Tokenizer,
    directory: str | Path | None = None,
    report: Report | None = None,
    *,
    verify: bool = False,
) -> tuple[Corpus, Corpus]:
    """(training, held_out) of a configuration.

    directory: where the tokens are kept on disk, mapped into memory; None: in memory. What the directory holds already is
    opened without reading the sources, which may be gone then. Prepared directories among the files are used in place. Of
    several processes one should call this before the others. report(bytes_done, bytes_total) is called for `files` and then
    for `valid_files`, where they are read. verify: read prepared directories once and compare them with their digests.

    held_out is valid_files, the records valid_records, or the last valid_fraction of the tokens; no token of it is in
    training. HyenaError for what cannot be read; a file that is given twice, or in both by path or by content; records that
    do not exist; options without a meaning for the tokenizer; and a directory with the tokens of other files, another
    tokenizer, another policy or sources of another size.
    """
    if config.recall is not None:
        raise HyenaError("data.recall has no files; its batches come from recall_batch")
    check_policy(config.policy, tokenizer)
    if config.reverse_complement and not isinstance(tokenizer, DNATokenizer):
        raise HyenaError(f"reverse_complement needs the dna tokenizer and this is {tokenizer.spec!r}; leave it out")
    kept = None if directory is None else Path(directory)
    _check_paths(config, kept)

    def read(paths: Paths, name: str) -> Corpus:
        def store(run: Paths, number: int) -> Corpus:
            if kept is None:
                return read_corpus(run, tokenizer, config.policy)
            return _kept(kept / f"{name}-{number}", run, tokenizer, config.policy, report)

        return _gather(paths, tokenizer, config.policy, store, verify)

    training = read(config.files, "training")
    _check_twice(training.contents)
    if config.valid_files:
        held_out = read(config.valid_files, "valid")
        _check_contents(training.contents, held_out.contents)
        return training, held_out
    if config.valid_records:
        return hold_out_records(training, config.valid_records)
    return training.split(config.valid_fraction)


def hold_out_records(corpus: Corpus, names: Sequence[str]) -> tuple[Corpus, Corpus]:
    """(all but the FASTA records of these names, those records), both with their borders between documents; nothing is copied.

    HyenaError for a name that no record has, and where nothing is left to train on.
    """
    contents = corpus.contents
    if contents is None or len(contents.documents) < contents.count:
        raise HyenaError(
            f"{corpus.source} has more than {LISTED} documents, too many to hold some out by name; "
            "put the records of valid_records in a file of their own and name it in valid_files"
        )
    spans = contents.documents
    known = {span.name for span in spans if span.fasta}
    for name in names:
        if name not in known:
            raise HyenaError(
                f"valid_records names {name!r} and no FASTA record of {corpus.source} is called so{nearest(name, known)}"
            )
    held = [span.fasta and span.name in set(names) for span in spans]
    out = {span.digest: span.name for span, h in zip(spans, held, strict=True) if h and span.digest and span.tokens >= _LONG}
    for span, h in zip(spans, held, strict=True):
        if not h and span.digest in out:
            raise HyenaError(
                f"record {span.name!r} of {corpus.source} holds the same as {out[span.digest]!r} of valid_records: "
                "hold out both"
            )
    tokens = corpus.tokens if isinstance(corpus.tokens, Tokens) else Tokens([corpus.tokens], contents.digest)
    training, held_out = (_documents(tokens, spans, [h is value for h in held]) for value in (False, True))
    if training is None or min(len(training), len(held_out or ())) < 2:
        raise HyenaError(f"holding out {', '.join(names)} of {corpus.source} leaves fewer than 2 tokens in a part; name fewer")
    notes = corpus.notes
    return Corpus(training, corpus.tokenizer, corpus.source, notes), Corpus(held_out, corpus.tokenizer, corpus.source, notes)


def _documents(tokens: Tokens, spans: Sequence[Span], taken: Sequence[bool]) -> Tokens | None:
    """The documents that are taken, each with the border behind it but the last; None where none is."""
    ranges: list[tuple[int, int]] = []
    for i, span in enumerate(spans):
        if taken[i]:
            end = spans[i + 1].start if i + 1 < len(spans) else span.start + span.tokens
            adjacent = bool(ranges) and ranges[-1][1] == span.start
            ranges[-1:] = [(ranges[-1][0], end)] if adjacent else [*ranges[-1:], (span.start, end)]
            last = span
    if not ranges:
        return None
    ranges[-1] = ranges[-1][0], last.start + last.tokens
    return Tokens.join([tokens.part(*places) for places in ranges])


def _gather(
    paths: Paths, tokenizer: Tokenizer, policy: Policy, store: Callable[[Paths, int], Corpus], verify: bool = False
) -> Corpus:
    """One corpus of prepared directories, used in place, and of what store(paths, number) makes of the runs between them."""
    parts: list[Corpus] = []
    for number, (prepared, run) in enumerate(groupby(paths, key=lambda path: is_prepared(Path(path)))):
        if prepared:
            parts += [open_prepared(Path(path), tokenizer, policy, verify) for path in run]
        else:
            parts.append(store(list(run), number))
    return join(parts)


def _kept(place: Path, paths: Paths, tokenizer: Tokenizer, policy: Policy, report: Report | None) -> Corpus:
    """The tokens of files in a directory of ours: opened where they are there, else written."""
    if not is_prepared(place):
        return prepare(paths, tokenizer, place, policy, report)
    index = read_index(place)
    asked = {"files": [str(path) for path in paths], "policy": asdict(policy)}
    for name, value in (("files", index["paths"]), ("policy", index["policy"])):
        if value != asked[name]:
            raise HyenaError(f"{place} was prepared with the {name} {value}, not {asked[name]}; remove it to prepare it again")
    corpus = open_tokens(place, tokenizer)
    for path, size, _ in corpus.contents.sources if corpus.contents else ():
        if Path(path).exists() and (now := Path(path).stat().st_size) != size:
            raise HyenaError(
                f"{path} had {size} bytes when {place} was prepared and has {now} now; remove {place} to prepare it again"
            )
    return corpus


def _places(config: DataConfig, kept: Path) -> list[Path]:
    """The directories that `corpora` keeps tokens in: one for each run of files that are not prepared."""
    return [
        kept / f"{name}-{number}"
        for name, paths in (("training", config.files), ("valid", config.valid_files))
        for number, (prepared, _) in enumerate(groupby(paths, key=lambda path: is_prepared(Path(path))))
        if not prepared
    ]


def _check_paths(config: DataConfig, kept: Path | None) -> None:
    """Before anything is read: nothing twice among the files, nothing in both. Sources of tokens we hold may be gone."""
    if kept is not None and all(map(is_prepared, _places(config, kept))):
        return
    training = {identity(source.path): source.path for source in find_sources(config.files)[0]}
    for source in find_sources(config.valid_files)[0] if config.valid_files else ():
        if same := training.get(identity(source.path)):
            raise HyenaError(f"{same} of files is {source.path} of valid_files: validate on what is not trained on")


def _check_twice(contents: Contents | None) -> None:
    """After reading: no file stands twice in `files`, whatever its name and compression. What is held out of one copy would be
    trained on in the other.
    """
    known: dict[str, tuple[str, int]] = {}
    for path, size, digest in contents.sources if contents is not None else ():
        same, bytes_there = known.get(digest, ("", 0))
        # Short files, such as licences in a tree of folders, may well be alike.
        if digest and max(size, bytes_there) >= _LONG and digest in known:
            raise HyenaError(f"{same} and {path} of files hold the same: leave one of them out")
        known[digest] = path, size


def _check_contents(training: Contents | None, held_out: Contents | None) -> None:
    """After reading: no file and no long record of one has the same tokens as one of the other, and no corpus as the other."""
    if training is None or held_out is None:
        return
    known = {digest: path for path, _, digest in training.sources if digest}
    for path, _, digest in held_out.sources:
        if digest in known:
            raise HyenaError(
                f"{known[digest]} of files and {path} of valid_files hold the same: validate on what is not trained on"
            )
    records = {span.digest: span.name for span in training.documents if span.digest and span.tokens >= _LONG}
    for span in held_out.documents:
        if span.digest in records:
            raise HyenaError(
                f"record {records[span.digest]!r} of files and {span.name!r} of valid_files hold the same: "
                "validate on what is not trained on, such as with valid_records"
            )
    if training.digest == held_out.digest:
        raise HyenaError("files and valid_files hold the same tokens: validate on what is not trained on")
