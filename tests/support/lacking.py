"""What clones of S3 lack, told to a FaultProxy that stands before a server that has it all."""

import re
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime

from support.fault_proxy import Fault, Pass, Reply, Request


def clock_off(by: timedelta) -> Fault:
    """Tell other times of objects."""

    def fault(_request: Request, passing: Pass) -> Reply:
        reply = passing()
        headers = [
            (name, format_datetime(parsedate_to_datetime(value) + by, usegmt=True))
            if name.lower() == "last-modified"
            else (name, value)
            for name, value in reply.headers
        ]
        return Reply(reply.status, headers, reply.body)

    return fault


def paged(size: int, *, only_one: bool = False) -> Fault:
    """List so many objects an answer; with `only_one`, say of the first page that it was all."""

    def fault(request: Request, passing: Pass) -> Reply:
        request.target += f"&max-keys={size}"
        reply = passing()
        body = reply.body
        if only_one:
            body = re.sub(rb"<IsTruncated>true<", b"<IsTruncated>false<", body)
            body = re.sub(rb"<NextContinuationToken>[^<]*</NextContinuationToken>", b"", body)
        return Reply(reply.status, reply.headers, body)

    return fault
