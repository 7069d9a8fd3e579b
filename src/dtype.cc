#include "shardscout/dtype.h"

#include <array>
#include <cstddef>
#include <vector>

#include "shardscout/error.h"
#include "src/choices.h"

namespace shardscout {
namespace {

struct DTypeInfo {
  std::string_view name;
  int bits;
};

/// Indexed by DType.
constexpr std::array<DTypeInfo, kNumDTypes> kInfo = {
    {{"fp32", 32}, {"bf16", 16}, {"fp16", 16}, {"fp8", 8}, {"int8", 8}, {"int4", 4}, {"mxfp4", 4}, {"nvfp4", 4}}};

struct Alias {
  std::string_view name;
  DType dtype;
};

/// As torch_dtype spells them.
constexpr std::array<Alias, 5> kAliases = {{{"float32", DType::kFp32},
                                            {"bfloat16", DType::kBf16},
                                            {"float16", DType::kFp16},
                                            {"float8_e4m3fn", DType::kFp8},
                                            {"float8_e4m3", DType::kFp8}}};

const DTypeInfo& InfoOf(DType dtype) { return kInfo.at(static_cast<std::size_t>(dtype)); }

}  // namespace

int BitsPerElement(DType dtype) { return InfoOf(dtype).bits; }

std::string_view ToString(DType dtype) { return InfoOf(dtype).name; }

DType ParseDType(std::string_view text, std::string_view place) {
  for (std::size_t i = 0; i < kInfo.size(); ++i) {
    if (text == kInfo[i].name) return static_cast<DType>(i);
  }
  for (const Alias& alias : kAliases) {
    if (text == alias.name) return alias.dtype;
  }
  std::vector<std::string> names;
  names.reserve(kInfo.size());
  for (const DTypeInfo& info : kInfo) names.emplace_back(info.name);
  throw SpecError(place, "found \"" + std::string(text) + "\", expected one of " + internal::Choices(text, names));
}

}  // namespace shardscout
