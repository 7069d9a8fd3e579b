#pragma once

#include <string_view>

/// Of these headers, as macros for a consumer's preprocessor; CMakeLists.txt reads the project's version from here.
/// Until 1.0 a new minor number may change the interface, a new patch number does not.
#define SHARDSCOUT_VERSION_MAJOR 0
#define SHARDSCOUT_VERSION_MINOR 1
#define SHARDSCOUT_VERSION_PATCH 0

/// As one number that grows with the version: `SHARDSCOUT_VERSION_NUMBER >= SHARDSCOUT_VERSION_OF(0, 2, 0)`.
#define SHARDSCOUT_VERSION_OF(major, minor, patch) ((major)*1000000 + (minor)*1000 + (patch))
#define SHARDSCOUT_VERSION_NUMBER \
  SHARDSCOUT_VERSION_OF(SHARDSCOUT_VERSION_MAJOR, SHARDSCOUT_VERSION_MINOR, SHARDSCOUT_VERSION_PATCH)

namespace shardscout {

/// Of the library that is linked, "0.1.0": a consumer may hold it against the headers' that it was compiled with.
std::string_view Version();

}  // namespace shardscout
