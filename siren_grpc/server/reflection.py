"""Server reflection, v1 and v1alpha: what `grpcurl` and `buf curl` call without the proto."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

_V1_SERVICE = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: grpc.aio.Server, service_names: Sequence[str]) -> None:
    """Describe services under both reflection protocols.

    grpcio-reflection speaks v1alpha; v1 has the same messages under another service name, and
    newer tools ask for it first.
    """
    _describe_v1()
    names = (*service_names, reflection.SERVICE_NAME, _V1_SERVICE)
    reflection.enable_server_reflection(names, server)
    servicer = reflection.aio.ReflectionServicer(names)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(_V1_SERVICE, {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handler,))


def _describe_v1() -> None:
    """Let v1 be described, too: it is v1alpha under another package's name."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(_V1_SERVICE)
        return
    except KeyError:
        pass
    alpha, v1 = "grpc.reflection.v1alpha", "grpc.reflection.v1"
    text = reflection_pb2.DESCRIPTOR.serialized_pb
    file = FileDescriptorProto.FromString(text)
    file.name, file.package = "grpc/reflection/v1/reflection.proto", v1
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(alpha, v1)
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(alpha, v1)
            method.output_type = method.output_type.replace(alpha, v1)
    pool.Add(file)
