#pragma once

// The small grammars of the command line's flags, apart from the library that parses the command line, so that tests
// reach them.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "shardscout/workload_spec.h"

namespace shardscout::cli {

/// "2", "2s" and "50ms" in seconds; nullopt for "none". SpecError at `flag` for anything else.
std::optional<double> ParseTarget(std::string_view text, const std::string& flag);

/// "1%" and "0.01" as 0.01. SpecError at `flag` for anything else, and for what is not above 0.
double ParseShare(std::string_view text, const std::string& flag);

/// "throughput_per_device" and the others. SpecError with the nearest for another name.
Objective ParseObjective(const std::string& text);

/// "tensor_parallel_size=8" as the variable and its value, neither looked at yet. SpecError where there is no variable.
std::pair<std::string, std::string> ParseFix(const std::string& text);

}  // namespace shardscout::cli
