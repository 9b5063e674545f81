"""Small JSON documents that are sealed where the repository is encrypted.

Sealed, a document shows only what its object's name tells anyway; the rest is a sealed block.
"""

from base64 import b64decode, b64encode
from typing import Any, TypeVar

from msgspec import ValidationError, convert

from pgkeep.repository.marker import decode_document, encode_document
from pgkeep.repository.repository import Repository
from pgkeep.repository.seal import Damaged

_Noun = TypeVar("_Noun")


def encode_sealed(
    repository: Repository, kind: int, facts: dict[str, Any], shown: dict[str, Any]
) -> bytes:
    """Return a document as it is stored; `shown` is what everybody may read of a sealed one."""
    document = encode_document(facts)
    if repository.key is None:
        return document
    sealed = b64encode(repository.sealer().seal(kind, document).data).decode()
    return encode_document({**shown, "sealed": sealed})


def decode_sealed(
    repository: Repository, kind: int, content: bytes, where: str, noun: type[_Noun]
) -> _Noun:
    """Return what a document tells. Raise Damaged, FormatTooNew or WrongKey."""
    facts = decode_document(content, where)
    sealed = facts.get("sealed")
    try:
        if isinstance(sealed, str):
            block = b64decode(sealed, validate=True)
            facts = decode_document(repository.sealer().unseal(kind, block, where), where)
        elif repository.key is not None:
            # Whoever can write to the repository could otherwise slip in one of his own.
            raise Damaged(where, "it is not encrypted, but this repository is")
        return convert(facts, noun)
    except ValidationError as error:
        raise Damaged(where, f"a fact is missing or wrong ({error})") from error
    except ValueError as error:  # of base64
        raise Damaged(where, f"its sealed part cannot be read ({error})") from error
