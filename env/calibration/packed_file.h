#pragma once

#include <string>

namespace shardscout::env {

/// The whole text of a file; one whose name ends in ".gz" is unpacked by the system's gzip. A SpecError where it cannot
/// be read or unpacked, or has more than 256 MiB.
std::string ReadPackedFile(const std::string& path);

}  // namespace shardscout::env
