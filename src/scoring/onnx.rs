//! ONNX Runtime through `ort`.
