"""Errors as S3 gives them."""

import errno
import sys
import traceback

from secstorage.s3.api import markup
from secstorage.s3.error import S3Error
from secstorage.s3.http.request import Request
from secstorage.s3.http.response import NO_BODY, Response

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def of_exception(error: Exception) -> S3Error:
    """What a client is told of it."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return S3Error("StorageFull", close=True)
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return S3Error("MethodNotAllowed", "The storage is read-only.", close=True)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return S3Error("KeyTooLongError", close=True)
    traceback.print_exception(error, file=sys.stderr)
    return S3Error("InternalError", close=True)


def _document(error: S3Error, request: Request | None) -> bytes:
    parts = [markup.element("Code", error.code), markup.element("Message", error.message)]
    parts += [markup.element(name, value) for name, value in error.elements.items()]
    if request is not None:
        parts.append(markup.element("Resource", request.path))
        parts.append(markup.element("RequestId", request.id))
    return f"{markup.DECLARATION}{markup.group('Error', parts)}".encode()


def body_of(error: Exception, request: Request) -> bytes:
    """The document, where the status has gone already."""
    return _document(of_exception(error), request)


def refuse(error: S3Error, request: Request | None) -> Response:
    headers = dict(error.headers)
    if error.status in NO_BODY:
        return Response(error.status, headers, close=error.close)
    headers["Content-Type"] = "application/xml"
    return Response(error.status, headers, _document(error, request), close=error.close)
