#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shardscout {

/// Number formats of weights, activations and caches. Spelled in JSON as bf16, fp16, fp32, fp8, int8, int4, mxfp4,
/// nvfp4. MXFP4 has an 8-bit exponent for 32 elements, NVFP4 an fp8 scale for 16.
enum class DType : std::uint8_t { kFp32, kBf16, kFp16, kFp8, kInt8, kInt4, kMxfp4, kNvfp4 };

inline constexpr int kNumDTypes = 8;

/// Bits of one element, without block scales (those are counted by the model spec): 32, 16, 16, 8, 8, 4, 4, 4.
int BitsPerElement(DType dtype);

/// BitsPerElement / 8; a fraction for 4-bit types.
inline double BytesPerElement(DType dtype) { return BitsPerElement(dtype) / 8.0; }

std::string_view ToString(DType dtype);

/// Also takes Hugging Face's names ("bfloat16", "float8_e4m3fn"). Throws SpecError at `place` for an unknown one.
DType ParseDType(std::string_view text, std::string_view place);

}  // namespace shardscout
