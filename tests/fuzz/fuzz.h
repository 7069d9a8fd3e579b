#pragma once

// What the fuzz targets share. A target turns any bytes into the documents that a parser takes; the one way out beside
// success is the library's own error. Everything else (another exception, a failed check, what a sanitizer finds)
// ends the program, which the fuzzer reports with the input.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "shardscout/error.h"

/// Ends the program unless `condition` holds: what a target expects of accepted input.
#define FUZZ_EXPECT(condition)                                                         \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      std::cerr << __FILE__ << ":" << __LINE__ << ": expected " << #condition << "\n"; \
      std::abort();                                                                    \
    }                                                                                  \
  } while (false)

namespace shardscout::fuzz {

/// The file's name in errors.
inline constexpr std::string_view kPlace = "input.json";

inline std::string_view Text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A user reads it: it says where, and is one line.
inline void ExpectReadable(const SpecError& error) {
  const std::string_view what = error.what();
  FUZZ_EXPECT(what.size() > error.place().size());
  FUZZ_EXPECT(what.find('\n') == std::string_view::npos);
}

/// Whether `action` ended, rather than refused its input with the library's own error.
template <class Action>
bool Accepted(const Action& action) {
  try {
    action();
    return true;
  } catch (const SpecError& error) {
    ExpectReadable(error);
    return false;
  }
}

}  // namespace shardscout::fuzz
