//! The text of `torch_binding.cpp`.

use super::CallersStream;
use super::signature::{Parameter, Signature};
use crate::escape;

/// Gives the tensors and numbers of a call to the kernel's file, and is the module that Python loads.
pub(super) fn text(signature: &Signature, symbol: &str, definition: &str, stream: CallersStream) -> String {
    let (include, asked) = match stream {
        CallersStream::Current => ("#include <c10/cuda/CUDAStream.h>\n", CURRENT),
        CallersStream::Default => ("", DEFAULT),
    };
    let described = |parameters: &[Parameter]| {
        let lines = parameters.iter().map(|one| format!("//   {}\n", comment(&one.described)));
        lines.collect::<String>()
    };
    let parameters: Vec<String> = signature.all().map(declared).collect();
    let arguments: Vec<String> =
        signature.all().map(|one| format!("      argument({}),\n", one.name)).collect();
    format!(
        "// Lets torch call `{symbol}` for the definition {definition}.\n\
         // Written by Proofmark from the definition's inputs and outputs; the kernel's own files are as they\n\
         // were, but for the headers of TVM-FFI that they include.\n\
         {include}#include <torch/extension.h>\n\n#include <optional>\n\n#include \"proofmark_argument.h\"\n\n\
         void proofmark_entry_{symbol}(const proofmark::Argument* arguments, int count);\n\n\
         {asked}\n{CONVERSIONS}\n\
         // Inputs:\n{inputs}// Outputs, written in place:\n{outputs}\
         void {symbol}(\n    {parameters}) {{\n  const proofmark::Argument arguments[] = {{\n{arguments}  }};\n  \
         proofmark_entry_{symbol}(arguments, {count});\n}}\n\n}}  // namespace\n\n\
         PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {{ module.def(\"{symbol}\", &{symbol}); }}\n",
        definition = comment(definition),
        inputs = described(&signature.inputs),
        outputs = described(&signature.outputs),
        parameters = parameters.join(",\n    "),
        arguments = arguments.concat(),
        count = parameters.len(),
    )
}

/// A text that stays inside of a line's comment.
fn comment(text: &str) -> String {
    escape::line(text).replace('\\', "/")
}

fn declared(parameter: &Parameter) -> String {
    let Parameter { name, shape, dtype, optional, .. } = parameter;
    let plain = match (shape, dtype.is_float()) {
        (Some(_), _) => "const at::Tensor&",
        (None, true) => "double",
        (None, false) if *dtype == crate::interop::flashinfer::Dtype::Bool => "bool",
        (None, false) => "int64_t",
    };
    match (optional, shape) {
        (true, Some(_)) => format!("const std::optional<at::Tensor>& {name}"),
        (true, None) => format!("std::optional<{plain}> {name}"),
        (false, _) => format!("{plain} {name}"),
    }
}

/// The stream that torch works on.
const CURRENT: &str = "\
// Where the kernel asks for the caller's stream: the one that torch works on.
extern \"C\" void* TVMFFIEnvGetStream(int32_t /*device_type*/, int32_t device) {
  return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device)).stream();
}
";

/// The default stream, spelled without the word where a board refuses it.
const DEFAULT: &str = "\
// Where the kernel asks for the caller's stream: the default one, on which this board works.
extern \"C\" void* TVMFFIEnvGetStream(int32_t /*device_type*/, int32_t /*device*/) { return nullptr; }
";

/// From torch to what `proofmark_argument.h` declares.
const CONVERSIONS: &str = "\
namespace {

using proofmark::Argument;

void set_type(Argument& argument, at::ScalarType type) {
  const auto set = [&](int code, int bits, int lanes = 1) {
    argument.type_code = static_cast<uint8_t>(code);
    argument.type_bits = static_cast<uint8_t>(bits);
    argument.type_lanes = static_cast<uint16_t>(lanes);
  };
  switch (type) {
    case at::ScalarType::Double: return set(2, 64);
    case at::ScalarType::Float: return set(2, 32);
    case at::ScalarType::Half: return set(2, 16);
    case at::ScalarType::BFloat16: return set(4, 16);
    case at::ScalarType::Float8_e4m3fn: return set(10, 8);
    case at::ScalarType::Float8_e5m2: return set(12, 8);
    case at::ScalarType::Float8_e8m0fnu: return set(14, 8);
    case at::ScalarType::Float4_e2m1fn_x2: return set(17, 4, 2);
    case at::ScalarType::Long: return set(0, 64);
    case at::ScalarType::Int: return set(0, 32);
    case at::ScalarType::Short: return set(0, 16);
    case at::ScalarType::Char: return set(0, 8);
    case at::ScalarType::Byte: return set(1, 8);
    case at::ScalarType::Bool: return set(6, 8);
    default: TORCH_CHECK(false, \"a dtype that no kernel here takes: \", type);
  }
}

Argument argument(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_cuda(), \"expected a CUDA tensor\");
  Argument found;
  found.kind = Argument::kTensor;
  found.data = tensor.data_ptr();
  found.rank = static_cast<int32_t>(tensor.dim());
  found.shape = tensor.sizes().data();
  found.strides = tensor.strides().data();
  found.device = tensor.get_device();
  set_type(found, tensor.scalar_type());
  return found;
}

Argument argument(double number) {
  Argument found;
  found.kind = Argument::kNumber;
  found.number = number;
  return found;
}

Argument argument(int64_t whole) {
  Argument found;
  found.kind = Argument::kWhole;
  found.whole = whole;
  return found;
}

Argument argument(bool truth) { return argument(static_cast<int64_t>(truth)); }

template <typename T>
Argument argument(const std::optional<T>& value) {
  return value.has_value() ? argument(*value) : Argument();
}
";
