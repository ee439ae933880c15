"""Read a folder of plain text, and train a tokenizer on it."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tracegen.base.errors import UserError

BOS = "<|bos|>"
BOS_ID = 0


def read_corpus(folder: Path) -> list[str]:
    """Return the texts of the `.txt` files under `folder`.

    Raises:
        UserError: the folder is missing, holds no text, or a file is not UTF-8 text.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of .txt files in UTF-8")
    texts = []
    for file in sorted(folder.rglob("*.txt")):
        try:
            texts.append(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{file}: byte {error.start} is not UTF-8 text; remove the file or convert it"
            ) from None
    if not any(text.strip() for text in texts):
        raise UserError(
            f"{folder}: no text in {len(texts)} .txt files; give at least one .txt file in UTF-8"
        )
    return texts


def train_tokenizer(texts: list[str], vocabulary: int) -> Tokenizer:
    """Return a byte-level BPE tokenizer in which every digit is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[BOS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)]
    )
    return tokenizer
