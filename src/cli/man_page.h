#pragma once

#include <string>
#include <string_view>

#include "src/cli/option_table.h"

namespace shardscout::cli {

/// The manual page, shardscout(1), as troff source with the man macros. Options that several commands share are
/// described once and named at each of them. Of a footer, indented lines are shown as they are.
std::string ManPage(const OptionTable& table, std::string_view version);

}  // namespace shardscout::cli
