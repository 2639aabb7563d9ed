from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
ENCODING_FLOAT16: Encoding
ENCODING_FLOAT32: Encoding
ENCODING_FLOAT_LIST: Encoding
ENCODING_UNSPECIFIED: Encoding
PRIORITY_BULK: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_UNSPECIFIED: Priority

class BatchingInfo(_message.Message):
    __slots__ = ["buckets", "cap", "cap_set_by"]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    CAP_FIELD_NUMBER: _ClassVar[int]
    CAP_SET_BY_FIELD_NUMBER: _ClassVar[int]
    buckets: _containers.RepeatedScalarFieldContainer[int]
    cap: int
    cap_set_by: str
    def __init__(self, buckets: _Optional[_Iterable[int]] = ..., cap: _Optional[int] = ..., cap_set_by: _Optional[str] = ...) -> None: ...

class DeviceInfo(_message.Message):
    __slots__ = ["batching", "device", "memory", "serving"]
    BATCHING_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    batching: BatchingInfo
    device: str
    memory: MemoryInfo
    serving: bool
    def __init__(self, device: _Optional[str] = ..., serving: bool = ..., batching: _Optional[_Union[BatchingInfo, _Mapping]] = ..., memory: _Optional[_Union[MemoryInfo, _Mapping]] = ...) -> None: ...

class EmbedBatchRequest(_message.Message):
    __slots__ = ["encoding", "expect_fingerprint", "inputs", "normalize", "priority"]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    encoding: Encoding
    expect_fingerprint: str
    inputs: _containers.RepeatedCompositeFieldContainer[Input]
    normalize: bool
    priority: Priority
    def __init__(self, inputs: _Optional[_Iterable[_Union[Input, _Mapping]]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., normalize: bool = ..., priority: _Optional[_Union[Priority, str]] = ..., expect_fingerprint: _Optional[str] = ...) -> None: ...

class EmbedBatchResponse(_message.Message):
    __slots__ = ["data", "dimension", "encoding", "errors", "model_fingerprint", "timing", "vectors"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    dimension: int
    encoding: Encoding
    errors: _containers.RepeatedCompositeFieldContainer[InputError]
    model_fingerprint: str
    timing: Timing
    vectors: _containers.RepeatedCompositeFieldContainer[FloatVector]
    def __init__(self, dimension: _Optional[int] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., data: _Optional[bytes] = ..., vectors: _Optional[_Iterable[_Union[FloatVector, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[InputError, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., model_fingerprint: _Optional[str] = ...) -> None: ...

class EmbedStreamRequest(_message.Message):
    __slots__ = ["encoding", "expect_fingerprint", "input", "normalize", "priority"]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    encoding: Encoding
    expect_fingerprint: str
    input: Input
    normalize: bool
    priority: Priority
    def __init__(self, input: _Optional[_Union[Input, _Mapping]] = ..., encoding: _Optional[_Union[Encoding, str]] = ..., normalize: bool = ..., priority: _Optional[_Union[Priority, str]] = ..., expect_fingerprint: _Optional[str] = ...) -> None: ...

class EmbedStreamResponse(_message.Message):
    __slots__ = ["data", "dimension", "error", "id", "index", "model_fingerprint", "timing", "vector"]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    dimension: int
    error: InputError
    id: str
    index: int
    model_fingerprint: str
    timing: Timing
    vector: FloatVector
    def __init__(self, index: _Optional[int] = ..., id: _Optional[str] = ..., dimension: _Optional[int] = ..., data: _Optional[bytes] = ..., vector: _Optional[_Union[FloatVector, _Mapping]] = ..., error: _Optional[_Union[InputError, _Mapping]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., model_fingerprint: _Optional[str] = ...) -> None: ...

class FloatVector(_message.Message):
    __slots__ = ["values"]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ["accepted_formats", "batching", "device", "devices", "dtype", "limits", "memory", "model", "state", "uptime_seconds", "versions"]
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    ACCEPTED_FORMATS_FIELD_NUMBER: _ClassVar[int]
    BATCHING_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DRAINING: GetServerInfoResponse.State
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    FAILED: GetServerInfoResponse.State
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LOADING: GetServerInfoResponse.State
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OFFLOADED: GetServerInfoResponse.State
    READY: GetServerInfoResponse.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_UNSPECIFIED: GetServerInfoResponse.State
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    accepted_formats: _containers.RepeatedScalarFieldContainer[str]
    batching: BatchingInfo
    device: str
    devices: _containers.RepeatedCompositeFieldContainer[DeviceInfo]
    dtype: str
    limits: Limits
    memory: MemoryInfo
    model: ModelInfo
    state: GetServerInfoResponse.State
    uptime_seconds: float
    versions: Versions
    def __init__(self, model: _Optional[_Union[ModelInfo, _Mapping]] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., accepted_formats: _Optional[_Iterable[str]] = ..., batching: _Optional[_Union[BatchingInfo, _Mapping]] = ..., memory: _Optional[_Union[MemoryInfo, _Mapping]] = ..., state: _Optional[_Union[GetServerInfoResponse.State, str]] = ..., versions: _Optional[_Union[Versions, _Mapping]] = ..., uptime_seconds: _Optional[float] = ..., devices: _Optional[_Iterable[_Union[DeviceInfo, _Mapping]]] = ...) -> None: ...

class Input(_message.Message):
    __slots__ = ["id", "image", "raw_image", "text"]
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    RAW_IMAGE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    id: str
    image: bytes
    raw_image: RawImage
    text: str
    def __init__(self, image: _Optional[bytes] = ..., raw_image: _Optional[_Union[RawImage, _Mapping]] = ..., text: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class InputError(_message.Message):
    __slots__ = ["code", "index", "message", "reason"]
    CODE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    code: int
    index: int
    message: str
    reason: str
    def __init__(self, index: _Optional[int] = ..., code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ["max_image_bytes", "max_inputs_per_request", "max_message_bytes", "max_pixels", "queue_bytes", "queue_images"]
    MAX_IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUTS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUE_IMAGES_FIELD_NUMBER: _ClassVar[int]
    max_image_bytes: int
    max_inputs_per_request: int
    max_message_bytes: int
    max_pixels: int
    queue_bytes: int
    queue_images: int
    def __init__(self, max_message_bytes: _Optional[int] = ..., max_inputs_per_request: _Optional[int] = ..., max_image_bytes: _Optional[int] = ..., max_pixels: _Optional[int] = ..., queue_images: _Optional[int] = ..., queue_bytes: _Optional[int] = ...) -> None: ...

class MemoryInfo(_message.Message):
    __slots__ = ["allocated_bytes", "baseline_bytes", "driver_bytes", "limit_bytes", "peak_bytes", "process_footprint_bytes", "reserved_bytes"]
    ALLOCATED_BYTES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DRIVER_BYTES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FOOTPRINT_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    allocated_bytes: int
    baseline_bytes: int
    driver_bytes: int
    limit_bytes: int
    peak_bytes: int
    process_footprint_bytes: int
    reserved_bytes: int
    def __init__(self, baseline_bytes: _Optional[int] = ..., allocated_bytes: _Optional[int] = ..., reserved_bytes: _Optional[int] = ..., driver_bytes: _Optional[int] = ..., peak_bytes: _Optional[int] = ..., limit_bytes: _Optional[int] = ..., process_footprint_bytes: _Optional[int] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ["architecture", "dimension", "fingerprint", "image_height", "image_width", "interpolation", "logit_bias", "logit_scale", "mean", "name", "resize_mode", "similarity", "std", "text_context_length", "text_fingerprint", "text_lowercases", "towers"]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    INTERPOLATION_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    LOGIT_SCALE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESIZE_MODE_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    TEXT_CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    TEXT_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TEXT_LOWERCASES_FIELD_NUMBER: _ClassVar[int]
    TOWERS_FIELD_NUMBER: _ClassVar[int]
    architecture: str
    dimension: int
    fingerprint: str
    image_height: int
    image_width: int
    interpolation: str
    logit_bias: float
    logit_scale: float
    mean: _containers.RepeatedScalarFieldContainer[float]
    name: str
    resize_mode: str
    similarity: str
    std: _containers.RepeatedScalarFieldContainer[float]
    text_context_length: int
    text_fingerprint: str
    text_lowercases: bool
    towers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., architecture: _Optional[str] = ..., fingerprint: _Optional[str] = ..., dimension: _Optional[int] = ..., image_height: _Optional[int] = ..., image_width: _Optional[int] = ..., resize_mode: _Optional[str] = ..., interpolation: _Optional[str] = ..., mean: _Optional[_Iterable[float]] = ..., std: _Optional[_Iterable[float]] = ..., towers: _Optional[_Iterable[str]] = ..., text_context_length: _Optional[int] = ..., text_lowercases: bool = ..., logit_scale: _Optional[float] = ..., logit_bias: _Optional[float] = ..., similarity: _Optional[str] = ..., text_fingerprint: _Optional[str] = ...) -> None: ...

class RawImage(_message.Message):
    __slots__ = ["height", "rgb", "width"]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    height: int
    rgb: bytes
    width: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ..., rgb: _Optional[bytes] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ["batches", "decode_ns", "execute_ns", "largest_batch", "queue_ns", "total_ns"]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    DECODE_NS_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_NS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_BATCH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_NS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_NS_FIELD_NUMBER: _ClassVar[int]
    batches: int
    decode_ns: int
    execute_ns: int
    largest_batch: int
    queue_ns: int
    total_ns: int
    def __init__(self, decode_ns: _Optional[int] = ..., queue_ns: _Optional[int] = ..., execute_ns: _Optional[int] = ..., total_ns: _Optional[int] = ..., largest_batch: _Optional[int] = ..., batches: _Optional[int] = ...) -> None: ...

class Versions(_message.Message):
    __slots__ = ["grpc", "libtorch", "libvips", "server"]
    GRPC_FIELD_NUMBER: _ClassVar[int]
    LIBTORCH_FIELD_NUMBER: _ClassVar[int]
    LIBVIPS_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    grpc: str
    libtorch: str
    libvips: str
    server: str
    def __init__(self, server: _Optional[str] = ..., libtorch: _Optional[str] = ..., libvips: _Optional[str] = ..., grpc: _Optional[str] = ...) -> None: ...

class Encoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
