#pragma once

#include <string>

#include "src/cli/option_table.h"

namespace shardscout::cli {

/// Completions as scripts of the shells. Names (presets, searchers, exporters) are asked of the program when they are
/// completed, so that a script does not age with them.
std::string BashCompletion(const OptionTable& table);
std::string ZshCompletion(const OptionTable& table);
std::string FishCompletion(const OptionTable& table);

}  // namespace shardscout::cli
