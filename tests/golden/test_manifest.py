"""The manifest of docs/formats/manifest.md is read; what is on the page about it is true.

It is not written again byte for byte: another version of zstd may compress it otherwise.
"""

import subprocess
import sys
from pathlib import Path

from pgkeep.repository.manifest.codec import HEADER_SIZE, OF_BACKUP, decode, read_manifest_header
from pgkeep.repository.manifest.facts import Facts
from pgkeep.repository.manifest.tables import COLUMNS
from support.manifests import SEALER, all_columns, encoded, manifest_of
from support.pages import FORMATS, block, hex_example

SKETCH = "base/ base/1=1100kB global=8kB link>/etc"
PAGE = (FORMATS / "manifest.md").read_text()


def test_the_worked_example_is_read() -> None:
    manifest, wanted = (
        decode(hex_example("manifest.md", "Worked example"), SEALER, "it", OF_BACKUP),
        manifest_of(SKETCH),
    )
    assert manifest.facts == wanted.facts
    assert all_columns(manifest.tables) == all_columns(wanted.tables)


def test_the_writer_still_writes_such_a_manifest() -> None:
    example, written = hex_example("manifest.md", "Worked example"), encoded(manifest_of(SKETCH))
    assert written[:8] == example[:8]
    assert written[24:32] == example[24:32]  # the tables' plain length
    header = read_manifest_header(example, len(example), "it")
    assert header.blocks == 1
    assert (hex(header.facts_length), hex(header.tables_length)) == ("0x338", "0xd4")
    assert HEADER_SIZE + header.facts_length == 0x368


def test_the_example_without_pgkeep_reads_it(tmp_path: Path) -> None:
    (tmp_path / "manifest").write_bytes(hex_example("manifest.md", "Worked example"))
    source = block("manifest.md", "Reading one without pgkeep", "python")
    if sys.version_info >= (3, 14):
        source = source.replace("from backports import", "from compression import")
    run = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path / "manifest")],
        capture_output=True,
        text=True,
        check=True,
    )
    pack = "packs/00/000102030405060708090a0b0c0d0e0f"
    assert run.stdout.splitlines() == [
        "base 0 ",
        f"base/1 1126400 {pack} from byte 0",
        f"global 8192 {pack} from byte 2000",
        "link 0 ",
    ]


def test_the_page_lists_every_fact_and_every_column() -> None:
    assert [name for name in Facts.__struct_fields__ if f"`{name}`" not in PAGE] == []
    columns = [f"{table}.{column}" for table in COLUMNS for column in COLUMNS[table]]
    assert [name for name in columns if f"`{name}`" not in PAGE] == []
    kinds = {kind.replace("|", "\\|") for table in COLUMNS.values() for kind in table.values()}
    assert [kind for kind in kinds if f"`{kind}`" not in PAGE] == []
