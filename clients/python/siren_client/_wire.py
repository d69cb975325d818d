"""The few standard messages the client reads beside its own: error details and health.

`google.rpc` comes with googleapis-common-protos and `grpc.health.v1` with
grpcio-health-checking. The client needs neither: on the wire a message is field
numbers and types, names do not travel. So the fields are declared here, under a
package of our own in a pool of our own, where they cannot meet the originals
when a program imports those too.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "siren_client.wire"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
}

# message -> field -> (number, type, is repeated)
_MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    # google/protobuf/any.proto, google/protobuf/duration.proto
    "Any": {"type_url": (1, "string", False), "value": (2, "bytes", False)},
    "Duration": {"seconds": (1, "int64", False), "nanos": (2, "int32", False)},
    # google/rpc/status.proto
    "Status": {
        "code": (1, "int32", False),
        "message": (2, "string", False),
        "details": (3, "Any", True),
    },
    # google/rpc/error_details.proto
    "ErrorInfo": {"reason": (1, "string", False), "domain": (2, "string", False)},
    "RetryInfo": {"retry_delay": (1, "Duration", False)},
    "FieldViolation": {"field": (1, "string", False), "description": (2, "string", False)},
    "BadRequest": {"field_violations": (1, "FieldViolation", True)},
    # grpc/health/v1/health.proto; an open enum is an int32 on the wire
    "HealthCheckRequest": {"service": (1, "string", False)},
    "HealthCheckResponse": {"status": (1, "int32", False)},
}


def _build_pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="siren_client/wire.proto", package=_PACKAGE, syntax="proto3"
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, type_name, is_repeated) in fields.items():
            field = message.field.add(
                name=field_name,
                number=number,
                label=_FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL,
            )
            if type_name in _SCALARS:
                field.type = _SCALARS[type_name]
            else:
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


_pool = _build_pool()


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


Status = _message_class("Status")
ErrorInfo = _message_class("ErrorInfo")
RetryInfo = _message_class("RetryInfo")
BadRequest = _message_class("BadRequest")
HealthCheckRequest = _message_class("HealthCheckRequest")
HealthCheckResponse = _message_class("HealthCheckResponse")
