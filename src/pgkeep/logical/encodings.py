"""PostgreSQL's encodings as Python knows them, for names that people read. Pure."""

from typing import Final

# pg_wchar.h and encnames.c. What Python has no codec for is read as UTF-8, odd bytes marked.
_CODECS: Final = {
    "BIG5": "big5", "EUC_CN": "gb2312", "EUC_JP": "euc_jp", "EUC_JIS_2004": "euc_jis_2004",
    "EUC_KR": "euc_kr", "GB18030": "gb18030", "GBK": "gbk", "ISO_8859_5": "iso8859-5",
    "ISO_8859_6": "iso8859-6", "ISO_8859_7": "iso8859-7", "ISO_8859_8": "iso8859-8",
    "JOHAB": "johab", "KOI8R": "koi8-r", "KOI8U": "koi8-u", "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2", "LATIN3": "iso8859-3", "LATIN4": "iso8859-4", "LATIN5": "iso8859-9",
    "LATIN6": "iso8859-10", "LATIN7": "iso8859-13", "LATIN8": "iso8859-14",
    "LATIN9": "iso8859-15", "LATIN10": "iso8859-16", "SHIFT_JIS_2004": "shift_jis_2004",
    "SJIS": "shift_jis", "SQL_ASCII": "utf-8", "UHC": "cp949", "UTF8": "utf-8",
    "WIN1250": "cp1250", "WIN1251": "cp1251", "WIN1252": "cp1252", "WIN1253": "cp1253",
    "WIN1254": "cp1254", "WIN1255": "cp1255", "WIN1256": "cp1256", "WIN1257": "cp1257",
    "WIN1258": "cp1258", "WIN866": "cp866", "WIN874": "cp874",
}  # fmt: skip


def readable(text: str, encoding: str) -> str:
    """Return a name of an archive, in whose bytes surrogates stand for what is no UTF-8."""
    raw = text.encode("utf-8", "surrogateescape")
    return raw.decode(_CODECS.get(encoding, "utf-8"), "backslashreplace")


def archived(text: str, encoding: str) -> str:
    """Return what people typed as an archive has it. Raise UnicodeEncodeError if it cannot."""
    return text.encode(_CODECS.get(encoding, "utf-8")).decode("utf-8", "surrogateescape")
